"""What is asked of Aureus meanwhile: in each environment one deployment after the other, some of them bad."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from aureus.demo.client import Refused
from tests.faults.scene import Scene
from tests.flows.rig import Fleet

PATIENCE = 300.0
"""Seconds for one deployment, its window and its rollback while everything breaks; what takes longer is counted."""
LONGEST = 4 * PATIENCE
"""Seconds after which an environment waits no more, and asks for nothing further."""
ENDED = """
    SELECT d.status, d.outcome, d.reason,
        (SELECT r.status FROM deployments_deployment r WHERE r.reverts_id = d.id ORDER BY r.created_at DESC LIMIT 1),
        EXISTS (SELECT 1 FROM health_window w WHERE w.subject = d.id AND w.kind = 'after' AND w.closed_at IS NULL),
        (SELECT w.verdict FROM health_window w WHERE w.subject = d.id AND w.kind = 'after' LIMIT 1)
    FROM deployments_deployment d WHERE d.id = %s
"""

OPEN_STILL = """
    SELECT EXISTS (SELECT 1 FROM health_window WHERE subject = %s AND kind = 'after' AND closed_at IS NULL
        AND closes_at > clock_timestamp() + interval '2 seconds')
"""


class Slow(Exception):
    """A deployment was open for too long; while everything breaks that is nobody's fault."""


@dataclass
class Asked:
    """One deployment, how it was made bad ("" for a good one), and how it ended."""

    environment: str
    number: str
    bad: str
    id: str = ""
    status: str = ""
    outcome: str = ""
    why: str = ""
    rollback: str = ""
    verdict: str = ""
    seconds: float = 0.0


@dataclass
class Story:
    """One environment's deployments, in a thread of its own."""

    scene: Scene
    fleet: Fleet
    environment: str
    count: int
    rng: random.Random
    say: Callable[[str], None]
    asked: list[Asked] = field(default_factory=list)
    good: str = ""
    """The version that hosts should run."""
    failed: str = ""
    slow: int = 0
    ends: float = math.inf
    """When, by the monotonic clock, no further deployment is asked for."""

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name=self.environment, daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        try:
            for number in range(1, self.count + 1):
                if time.monotonic() > self.ends:
                    return
                self._one(f"{number}.0.0")
        except Slow as error:
            self.say(str(error))  # what has not ended when it is quiet is found by the checks
        except Exception as error:
            self.failed = f"{type(error).__name__}: {error}"

    def _one(self, number: str) -> None:
        bad = self.rng.choice(("", "", "", "sick", "dies")) if self.good else ""
        asked = Asked(self.environment, number, bad)
        self.asked.append(asked)
        hosts = self.fleet.machines[self.environment]
        if bad == "sick":
            (self.rng.choice(hosts).root / "shared" / "sick").write_text(number)
        begun = time.monotonic()
        asked.id = self._ask(number)
        if bad == "dies":
            self._until(asked, lambda: asked.status != "in_progress" and asked.status != "pending")
            self._kill_apps(asked)
        self._until(asked, lambda: _is_over(asked))
        asked.seconds = time.monotonic() - begun
        kind = f" ({asked.bad})" if asked.bad else ""
        self.say(f"-- {asked.environment} {number}{kind}: {asked.status} {asked.outcome} after {asked.seconds:.0f} s")
        if asked.status == "deployed" and asked.verdict == "pass":
            self.good = number

    def _ask(self, number: str) -> str:
        """Register and deploy, as often as it takes to be answered; the key makes it one deployment."""
        key = str(uuid.uuid4())
        tasks = [{"id": "health", "tool": "http", "params": {"path": "/health"}}]
        spec = {"id": self.environment, "name": self.environment, "tasks": tasks}
        version = self._answered(lambda: self.scene.client.register(spec, number))
        body = {"versionId": version["id"], "environment": self.environment, "deployedBy": "load"}
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        said = json.dumps(body).encode()
        return str(self._answered(lambda: self.scene.client.ask("POST", "/deployments", said, headers))["id"])

    @staticmethod
    def _answered(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        ends = time.monotonic() + PATIENCE
        while True:
            try:
                return call()
            except (Refused, OSError) as error:
                if time.monotonic() > ends:
                    raise AssertionError(f"nobody answered for {PATIENCE:g} s: {error}") from None
                time.sleep(0.5)

    def _kill_apps(self, asked: Asked) -> None:
        """The version dies under its users while its window is open; one that is closing is left to pass."""
        try:
            [(open_,)] = self.scene.rows(OPEN_STILL, asked.id)
        except psycopg2.Error:
            open_ = False
        if asked.status != "deployed" or not open_:
            asked.bad = ""
            return
        for machine in self.fleet.machines[self.environment]:
            pid = machine.app_pid()
            if pid:
                os.kill(pid, signal.SIGKILL)

    def read_again(self) -> None:
        """How each of them stands now that it is quiet."""
        for asked in self.asked:
            for row in self.scene.rows(ENDED, asked.id) if asked.id else ():
                _read(asked, row)

    def _until(self, asked: Asked, holds: Callable[[], bool]) -> None:
        begun, patient = time.monotonic(), True
        while True:
            try:
                [row] = self.scene.rows(ENDED, asked.id)
            except psycopg2.Error:
                row = None
            if row:
                _read(asked, row)
                if holds():
                    return
            waited = time.monotonic() - begun
            if patient and waited > PATIENCE:
                self.slow, patient = self.slow + 1, False
            if waited > LONGEST:
                raise Slow(f"{asked} has not ended within {LONGEST:g} s")
            time.sleep(0.3)


def _read(asked: Asked, row: tuple[Any, ...]) -> None:
    asked.status, asked.outcome, asked.why, rollback, window, verdict = row
    asked.rollback, asked.verdict = rollback or "", "open" if window else verdict or ""


def _is_over(asked: Asked) -> bool:
    """Its attempt has ended, its window has closed, and so has its rollback."""
    if asked.rollback in ("pending", "awaiting_approval", "in_progress"):
        return False
    return asked.status in ("failed", "rolled_back") or (
        asked.status == "deployed" and asked.verdict not in ("", "open")
    )
