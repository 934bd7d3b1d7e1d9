"""One fault at one act, played to its end: what came of it, and every claim that did not hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from deployments import lifecycle
from deployments.models import Deployment
from tests.system import witness
from tests.system.bed import BedHost
from tests.system.faults import ACTIVATE, PREPARE, ROLLBACK
from tests.system.scene import ALICE, Lane
from tests.system.witness import Witness


@dataclass
class Outcome:
    """What was seen. `seconds`: until every attempt had ended; `converged`: until the fleet was one again."""

    fault: str
    act: str
    came: str = "was not played"
    seconds: float = 0.0
    converged: float = 0.0
    broken: list[str] = field(default_factory=list)


TABLE = pytest.StashKey[list[Outcome]]()
"""Where the outcomes are kept for the end of the test run."""


def table(outcomes: list[Outcome]) -> list[str]:
    """The lines that are printed at the end."""
    lines = ["| fault | act | what came of it | ended after | one fleet after |", "|---|---|---|---|---|"]
    for one in outcomes:
        wrong = "".join(f" **{what}**" for what in one.broken)
        lines.append(f"| {one.fault} | {one.act} | {one.came}{wrong} | {one.seconds:.0f} s | {one.converged:.0f} s |")
    return lines


def play(lane: Lane) -> list[Outcome]:
    """A lane's acts, one after the other, on the same hosts."""
    outcomes = [Outcome(lane.fault.name, act) for act in lane.fault.acts]
    try:
        lane.settled("1.0.0")
        for outcome in outcomes:
            _Case(lane, outcome).play()
    except Exception as error:
        for outcome in outcomes:
            if outcome.came == "was not played" or not outcome.converged:
                outcome.broken.append(f"{type(error).__name__}: {error}")
    return outcomes


class _Case:
    def __init__(self, lane: Lane, outcome: Outcome) -> None:
        self.lane = lane
        self.outcome = outcome
        self.witnesses: list[Witness] = []

    def play(self) -> None:
        acts = {PREPARE: self._prepare, ACTIVATE: self._activate, ROLLBACK: self._rollback}
        if self.outcome.act == ROLLBACK:
            self.lane.settled("1.3.0")
        before = self.lane.running
        old = "1.3.0" if self.outcome.act == ROLLBACK else before
        kept = [witness.bytes_of(host, self.lane.content(old)) for host in self.lane.hosts]
        self.witnesses = [Witness(host) for host in self.lane.hosts]
        for one in self.witnesses:
            one.start()
        try:
            acts[self.outcome.act]()
        finally:
            self.lane.fault.heal(self.lane.sick)
            for one in self.witnesses:
                one.stop()
        self._claims(old, kept)

    def _prepare(self) -> None:
        self._spring("prepare", lambda: self.lane.deploy("1.1.0"), self._prepared)

    def _prepared(self, deployment: Deployment) -> None:
        old, went_on = self.lane.running, deployment.status == "deployed"
        self.outcome.came = "went on"
        if not went_on:
            self.outcome.came = "stopped before anything was activated; again when it was over"
            self._claim(not deployment.rollbacks.exists(), "nothing had to be undone")
            self._claim(self._all_on(old), "every host is on the old release still")
            self._never_stopped_serving(old)
        self._heal()
        self.lane.settled("1.1.0") if not went_on else self.lane.good(deployment)

    def _activate(self) -> None:
        self._spring("activate", lambda: self.lane.deploy("1.2.0"), self._activated)

    def _activated(self, deployment: Deployment) -> None:
        owed = self._owed()
        if deployment.status == "deployed":
            self.outcome.came = "went on"
        else:
            self.outcome.came = f"rolled back{', the host owed' if owed else ''}"
            rollback = deployment.rollbacks.first()
            self._claim(rollback is not None and rollback.status == "deployed", "a rollback ended well")
            third = self.witnesses[2]
            self._claim(all(said == self.lane.running for _, said in third.answered), "the third host served the old")
        self._back_to_one(owed)
        if deployment.status == "deployed":
            self.lane.good(deployment)

    def _rollback(self) -> None:
        current = Deployment.objects.filter(
            installation__environment__name=self.lane.name, version__number="1.3.0", status="deployed"
        ).latest("created_at")

        def undo() -> Deployment:
            rollback, _ = lifecycle.roll_back(current.pk, actor=ALICE, reason="wrong prices")
            return self.lane.ended(rollback)

        self._spring("activate", undo, self._rolled_back)

    def _rolled_back(self, rollback: Deployment) -> None:
        owed = self._owed()
        self.outcome.came = f"completed{' without the host, which is owed' if owed else ''}"
        self._claim(rollback.status == "deployed", f"the rollback completed: {rollback.reason}")
        self._back_to_one(owed)
        self.lane.running = rollback.version.number

    def _spring(self, verb: str, do: Callable[[], Deployment], then: Callable[[Deployment], None]) -> None:
        """Lay the trap, let it happen, and say what came of it."""
        trap, began = self.lane.lay_trap(verb), time.monotonic()
        deployment = do()
        self.outcome.seconds = time.monotonic() - began
        self._claim(trap.sprung.is_set(), "the fault was let loose")
        if self.lane.fault.borne:
            self._claim(deployment.status == "deployed", f"it is borne: {deployment.reason}")
        then(deployment)
        self.outcome.converged = time.monotonic() - began

    def _owed(self) -> list[str]:
        return [e.name for e in self.lane.endpoints if e.owed]

    def _back_to_one(self, owed: list[str]) -> None:
        """Out of reach is listed as owed, and brought home when it is back."""
        astray = [h.name for h in self.lane.hosts if witness.content_of(h) != self._belongs()]
        self._claim(set(astray) <= set(owed), f"every host that is astray is owed: {astray} of {owed}")
        self._heal()
        moved = self.lane.converge()
        if owed:
            self._claim(moved, "what was owed was converged")
            self.outcome.came += ", then converged"

    def _belongs(self) -> str:
        current = lifecycle.current_of(self.lane.endpoints[0].installation)
        assert current is not None
        return current.version.content

    def _heal(self) -> None:
        self.lane.heal()
        _within(30, lambda: self.lane.reaches(self.lane.sick))

    def _all_on(self, number: str) -> bool:
        return {witness.content_of(host) for host in self.lane.hosts} == {self.lane.content(number)}

    def _never_stopped_serving(self, number: str) -> None:
        for one in self.witnesses:
            if one.host is not self.lane.sick or not self.lane.fault.stills:
                wrong = [said for _, said in one.answered if said != number]
                self._claim(not wrong, f"{one.host.name} served {number} all the time: {wrong[:3]}")

    def _claims(self, old: str, kept: list[str]) -> None:
        """What holds after every fault at every act."""
        number = self._belongs().rsplit("-", 1)[0]
        hosts, endpoints = self.lane.hosts, self.lane.endpoints
        self._claim(
            _within(30, lambda: all(witness.answer(h.address) == number for h in hosts)), "all serve one version"
        )
        self._claim(self._all_on(number), "the fleet is one")
        self._claim(all(e.recorded == self._belongs() and not e.owed for e in endpoints), "the record says so")
        now = [witness.bytes_of(host, self.lane.content(old)) for host in hosts]
        self._claim(now == kept, "the bytes of the release before are untouched")
        for one in self.witnesses:
            lost = [link for link in one.links if not link]
            self._claim(not lost, f"links of {one.host.name} always led to a complete release ({len(lost)} did not)")
        self._claim(_somebody_served(self.witnesses), "somebody served at every moment")
        for host in hosts:
            left = _in_the_end(host)
            self._claim(not left, f"no act is left on {host.name}: {left}")
            self._ledger(witness.ledger(host), host.name)

    def _ledger(self, lines: list[list[str]], name: str) -> None:
        fences = [int(fence) for _, fence, *_ in lines]
        self._claim(fences == sorted(fences), f"fences never fall on {name}")
        done = [line[0] for line in lines if line[2].startswith("activate") and line[4] == "done"]
        self._claim(len(done) == len(set(done)), f"no activation was done twice on {name}")

    def _claim(self, holds: object, what: str) -> None:
        if not holds:
            self.outcome.broken.append(f"not so: {what}")


def _within(seconds: float, claim: Callable[[], bool]) -> bool:
    ends = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > ends:
            return False
        time.sleep(0.2)
    return True


def _in_the_end(host: BedHost) -> list[str]:
    _within(15, lambda: not witness.acts_left(host))
    return witness.acts_left(host)


def _somebody_served(witnesses: list[Witness]) -> bool:
    state = {one.host.name: one.answered[0][1] for one in witnesses}
    for _, name, said in sorted((at, one.host.name, said) for one in witnesses for at, said in one.answered):
        state[name] = said
        if not any(state.values()):
            return False
    return True
