"""A worker killed at any boundary of any kind of step: the deployment ends as it should, its effects applied once."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from aureus.journal.models import Event
from deployments import effects, execution, leases, lifecycle
from deployments.effects import Boundary
from deployments.engine.status import OPEN
from deployments.models import Deployment, Endpoint, Installation, Pool, Step
from health.models import Window
from health.sources.probe import HealthAnswer
from tests.deployments.conftest import ALICE, BOB, Fleet
from tests.deployments.killed import killed_at
from tests.deployments.test_watching import backdate, judged, probes

PAST = "2026-01-01T00:00:00Z"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@dataclass(frozen=True)
class Case:
    """What a deployment must have for a kind of step to be part of it."""

    declared: dict[str, Any] = field(default_factory=dict)
    balanced: bool = False
    undone: bool = False  # the step belongs to the rollback
    once: bool = False  # the effect is a command that may not run a second time
    hook: str = ""  # the command is this hook
    smoke: bool = False


CASES: dict[str, Case] = {
    "check": Case(),
    "prepare": Case(),
    "backup": Case(once=True),
    "migrate": Case(once=True),
    "hook": Case(once=True, hook="before_deployment"),
    "take_out": Case(balanced=True),
    "drain": Case(balanced=True),
    "activate": Case(),
    "verify": Case(),
    "put_in": Case(balanced=True),
    "weigh": Case({"strategy": "canary", "weights": [50, 100]}, balanced=True),
    "confirm": Case({"strategy": "canary", "weights": [50, 100], "pause_at": [50]}, balanced=True),
    "rest": Case({"spread": 0.1}),
    "watch": Case({"bake": 10.0}),
    "smoke": Case(smoke=True),
    "look": Case(undone=True),
    "shift": Case(balanced=True, undone=True),
    **{f"{kind} (back)": Case(balanced=True, undone=True) for kind in ("take_out", "drain", "put_in")},
    **{f"{kind} (back)": Case(undone=True) for kind in ("activate", "verify")},
    "hook (back)": Case(undone=True, hook="before_activate"),
}
"""Those that say `back` are steps of a rollback, which does some of them otherwise."""


class OwnPorts(Fleet):
    """Hosts that are told apart by their port, so that a real web server can stand for them all."""

    ports: dict[str, str] = {}

    def ask(self, url: str, expected: str | None, **named: object) -> HealthAnswer:
        port = url.rsplit(":", 1)[1].split("/")[0]
        return super().ask(f"http://{self.ports[port]}:{port}/" if port in self.ports else url, expected, **named)


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[dict[str, dict[Boundary, str]]]:
    """How each kind x boundary ended, printed when all have been played."""
    found: dict[str, dict[Boundary, str]] = {}
    yield found
    lines = ["", f"{'killed':16}" + "".join(f"{b:>16}" for b in Boundary)]
    lines += [f"{kind:16}" + "".join(f"{of.get(b, '-'):>16}" for b in Boundary) for kind, of in sorted(found.items())]
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n".join(lines))


@contextmanager
def web(count: int) -> Iterator[list[int]]:
    """Ports on which a process of its own answers 200 to everything: a thread would be lost in a fork."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    connections.close_all()
    if (pid := os.fork()) == 0:
        while True:
            for ready in select.select(listeners, [], [])[0]:
                with ready.accept()[0] as peer:
                    peer.recv(65536)
                    peer.sendall(OK)
    try:
        yield [listener.getsockname()[1] for listener in listeners]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for listener in listeners:
            listener.close()


def test_every_kind_of_step_is_killed_somewhere():
    kinds = {label.removesuffix(" (back)") for label in CASES}
    assert {*kinds, "switch"} == set(effects.RUN), "switch is killed in test_blue_green"


@pytest.mark.parametrize("kind", CASES)
def test_killed_at_any_boundary_it_ends_as_it_should_and_nothing_is_done_twice(transactional_db, kind, table, tmp_path):
    case = CASES[kind]
    world = World(kind.removesuffix(" (back)"), case, tmp_path)
    with web(2) as ports:
        world.begin(ports)
        for number, boundary in enumerate(Boundary, start=1):
            table.setdefault(kind, {})[boundary] = "FAILED"
            table[kind][boundary] = world.play(f"1.{number}.0", boundary)


def test_killed_again_while_it_stops_for_an_abort_it_goes_back_all_the_same(transactional_db, tmp_path):
    world = World("activate", Case(), tmp_path)
    world.begin([])
    for number, boundary in enumerate(Boundary, start=1):
        deployment = world.ask(f"1.{number}.0")
        assert killed_at(world.fleet, "activate", Boundary.AFTER_EFFECT)
        lifecycle.abort(deployment.pk, actor=BOB, reason="wrong version")
        world.end_leases()
        assert killed_at(world.fleet, "activate", boundary)
        world.end_leases()
        world.play_out(deployment, "failed")
        assert deployment.outcome == "aborted"
        assert deployment.rollbacks.get().status == "deployed"
        assert set(world.fleet.running(world.here).values()) == {"1.0.0"}
        assert world.restarts_of("staging-1") == 1 + 2 * number  # there and back again
        assert world.restarts_of("staging-2") == 1


@dataclass
class World:
    """One installation of two hosts, on which one deployment after another is killed."""

    kind: str
    case: Case
    folder: Path
    fleet: OwnPorts = field(default_factory=OwnPorts)
    restarts: Counter[str] = field(default_factory=Counter)

    def begin(self, ports: list[int]) -> None:
        self.fleet.root = str(self.folder)
        self.here = self.fleet.environment("staging", hosts=2, balanced=self.case.balanced, **self.case.declared)
        columns: dict[str, Any] = {}
        if self.case.hook:
            columns["options"] = {"hooks": {self.case.hook: f"echo ran >> {self.ran}"}}
        elif self.case.once:
            columns[f"{self.kind}_command"] = f"echo ran >> {self.ran}"
        if self.case.smoke:
            columns |= {"smoke": [{"name": "home", "endpoint": "/health"}], "url": "http://127.0.0.1:{port}"}
            for endpoint, port in zip(self.here.endpoints.select_related("host"), ports, strict=True):
                Endpoint.objects.filter(pk=endpoint.pk).update(port=port)
                self.fleet.ports[str(port)] = endpoint.host.name
        Installation.objects.filter(pk=self.here.pk).update(**columns)
        self.here.refresh_from_db()
        self.running = ""
        deployment = self.ask("1.0.0")
        self.play_out(deployment)
        self.settle("1.0.0", deployment, restarts=1)

    @property
    def ran(self) -> Path:
        return self.folder / "ran"

    def ask(self, number: str) -> Deployment:
        version = self.fleet.version(number)
        (self.folder / "releases" / version.content).mkdir(parents=True)
        self.ran.write_text("")
        return lifecycle.deploy(version.pk, "staging", actor=ALICE)

    def play(self, number: str, boundary: Boundary) -> str:
        """One deployment (and where the kind belongs there, its rollback) with a kill in it; how it ended."""
        subject = deployment = self.ask(number)
        restarts, should_run = 1, number
        if self.case.undone:
            self.play_out(deployment)
            subject, _ = lifecycle.roll_back(deployment.pk, actor=ALICE, reason="bad")
            restarts, should_run = 2, "1.0.0"
        assert killed_at(self.fleet, self.kind, boundary), "it never came to that boundary"
        self.end_leases()
        self.play_out(subject)
        self.settle(should_run, subject, restarts=restarts)
        # The hook of a host runs on both of them, on the way there and back.
        assert self.times_run() == (4 if self.case.hook and self.case.undone else self.case.once)
        deployment.refresh_from_db()
        assert deployment.status == ("rolled_back" if self.case.undone else "deployed")
        return deployment.status

    def times_run(self) -> int:
        return self.ran.read_text().count("ran")

    def restarts_of(self, name: str) -> int:
        return self.fleet.hosts.at(name).site(self.fleet.root).restarts

    @staticmethod
    def end_leases() -> None:
        """The killed process renews nothing: what would take 20 seconds has passed."""
        Step.objects.filter(status="running").update(lease_until=PAST)

    def play_rounds(self, rounds: int) -> None:
        """Sweeps, workers and probes."""
        for _ in range(rounds):
            self.fleet.hurry()
            woken = leases.sweep() + self.fleet.hints
            self.fleet.hints = []
            for deployment_id, lane in woken:
                execution.work_on(deployment_id, lane, self.fleet.outside, self.fleet.hint)
            for step in Step.objects.filter(kind="confirm", status="pending", held=True):
                lifecycle.resume(step.deployment_id, actor=BOB)
            watched = Step.objects.filter(kind="watch").values("window")
            for window in Window.objects.filter(kind="bake", closed_at=None, pk__in=watched):
                judged(backdate(window, 15, close=True), probes(window, healthy=True, count=15))

    def play_out(self, deployment: Deployment, status: str = "deployed") -> None:
        for _ in range(60):
            self.play_rounds(1)
            deployment.refresh_from_db()
            if deployment.status not in OPEN:
                break
        assert deployment.status == status, deployment.reason
        self.fleet.run(rounds=10)

    def settle(self, number: str, deployment: Deployment, *, restarts: int) -> None:
        """Nothing is open, every host is where the record says, and each act was done once."""
        Deployment.objects.filter(status="deployed").update(good_at=PAST)
        assert not Deployment.objects.filter(status__in=OPEN).exists()
        assert not Step.objects.filter(status__in=["running", "pending"]).exists()
        for endpoint in self.here.endpoints.select_related("host"):
            site = self.fleet.hosts.at(endpoint.host.name).site(self.here.root)
            assert (endpoint.recorded, endpoint.owed, endpoint.serving) == (site.slots["main"], "", True)
            assert endpoint.recorded.startswith(f"{number}-")
            # Saying again which slot is live changes nothing; bytes sent and restarts are what must not be doubled.
            acts = [(key, verb) for key, _, verb, _, result in site.ledger if result == "done"]
            once = Counter(act for act in acts if act[1].startswith(("prepare", "activate")))
            assert set(once.values()) == {1}
            assert site.restarts == self.restarts[endpoint.host.name] + restarts
            self.restarts[endpoint.host.name] = site.restarts
        self.judge_traffic()
        self.judge_events(deployment)
        self.running = number

    def judge_traffic(self) -> None:
        if self.case.balanced:
            weights = {"staging-1": 100, "staging-2": 100}
            assert self.fleet.traffic.read() == weights == Pool.objects.get().weights
            fences = [fence for fence, _ in self.fleet.traffic.changes]
            assert fences == sorted(fences)

    @staticmethod
    def judge_events(deployment: Deployment) -> None:
        """One word for each end, however often it was told."""
        told = Event.objects.filter(stream=deployment.stream)
        ends = [event.data["step"] for event in told.filter(kind__in=["step.passed", "step.failed"])]
        assert max(Counter(ends).values()) == 1
        assert told.filter(kind=f"deployment.{deployment.status}").count() == 1
