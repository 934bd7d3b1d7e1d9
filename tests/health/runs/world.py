"""Real rows, real HTTP, and workers that may be killed for good."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import connections

from aureus import clock
from aureus.journal.actor import Actor
from health.models import TaskRun, WorkflowRun
from health.runs import lifecycle
from health.runs.carrying import Boundary, work_on
from health.runs.facts import OPEN, TaskStatus
from health.runs.tools import NAMES, Addresses, tools
from releases import registry
from tests.health.web import Asked, Site, site

ALICE = Actor("alice")
_numbers = iter(range(1, 10_000))


def spec(*tasks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "shop", "name": "Shop", "tasks": list(tasks), **fields}


def started(workflow: dict[str, Any], **params: Any) -> WorkflowRun:
    """A run of a version of its own."""
    version, _ = registry.register(workflow, f"1.0.{next(_numbers)}", actor=ALICE, policy="permissive")
    return lifecycle.start(version.pk, params, tools=NAMES, actor=ALICE)


def step(run: WorkflowRun, *urls: str, **how: Any) -> int:
    """One worker carries the run as far as it goes now."""
    return work_on(str(run.pk), tools(Addresses.of(urls)), lambda _: None, **how)


def hurry(run: WorkflowRun) -> None:
    """Let the time pass that somebody waits for: pauses, and leases of workers that are no more."""
    past = clock.now() - timedelta(seconds=1)
    TaskRun.objects.filter(run=run, status=TaskStatus.PENDING).update(not_before=past)
    TaskRun.objects.filter(run=run, status=TaskStatus.RUNNING).update(lease_until=past)


def carried(run: WorkflowRun, *urls: str, rounds: int = 400, **how: Any) -> WorkflowRun:
    """Play workers until the run has ended."""
    for _ in range(rounds):
        step(run, *urls, **how)
        run.refresh_from_db()
        if run.status not in OPEN:
            return run
        hurry(run)
    raise AssertionError(f"the run does not end: {statuses(run)}")


def statuses(run: WorkflowRun) -> dict[str, str]:
    """By task; those on the way back with a minus before."""
    rows = TaskRun.objects.filter(run=run).order_by("-way", "position")
    return {("-" if row.way == "back" else "") + row.task: row.status for row in rows}


def killed(work: Callable[[], object]) -> bool:
    """Let `work` happen in a process of its own; whether that was killed. Anything else but its end is a failure."""
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"the worker ended with {code}"
    return code != 0


class Fates:
    """Kills the worker that asks at some of the boundaries."""

    def __init__(self, chance: random.Random, often: float) -> None:
        self.chance, self.often = chance, often

    def __call__(self, _: Boundary, __: str) -> None:
        if self.chance.random() < self.often:
            os.kill(os.getpid(), signal.SIGKILL)


class Ledger:
    """A server that carries out each key once, and that fails some calls before or after it did what it was asked."""

    def __init__(self, chance: random.Random, faults: float) -> None:
        self.chance, self.faults = chance, faults
        self.asked: Counter[str] = Counter()
        self.done: list[str] = []
        self._lock = threading.Lock()

    def answer(self, asked: Asked) -> tuple[int, Any]:
        with self._lock:
            key, fate = asked.headers["idempotency-key"], self.chance.random()
            self.asked[key] += 1
            if fate < self.faults / 2:
                return 503, "not now"
            if key not in self.done:
                self.done.append(key)
            if fate < self.faults:
                return 500, "done, and broken afterwards"
            return 200, json.dumps({"way": self.chance.randint(0, 1)})


@contextmanager
def ledger(chance: random.Random, faults: float) -> Iterator[tuple[Site, Ledger]]:
    book = Ledger(chance, faults)
    with site({"/act": book.answer, "/undo": book.answer, "/never": lambda _: (409, "no")}) as web:
        yield web, book
