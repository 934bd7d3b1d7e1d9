"""Random workflows, and runs of them played without a database: workers that die, calls that fail or never answer."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from health.runs.decide import Compensate, Finish, GiveUp, Run, Skip, Wait, decide
from health.runs.facts import OPEN, Cause, Part, RunFacts, RunStatus, TaskStatus
from health.runs.plan import Plan, Way, plan_of
from health.runs.settle import Answer, Result, after, given_up
from releases.spec import parse

BEGAN = datetime(2030, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=20)


def workflow(random_: random.Random, size: int) -> dict[str, Any]:
    """A spec of that many tasks: joins, decisions, retries, compensations, and calls that cannot repeat."""
    tasks: list[dict[str, Any]] = []
    for number in range(size):
        before = [f"t{n}" for n in range(max(0, number - 30), number)]
        needs = random_.sample(before, min(len(before), random_.choice((0, 1, 1, 2, 3))))
        task: dict[str, Any] = {"id": f"t{number}", "dependsOn": needs, "tool": "act"}
        task |= random_.choice(({}, {"type": "parallel"}, {"type": "decision"}, {}, {}))
        task |= random_.choice(({}, {"retry": {"maxAttempts": 3, "backoffMs": 500, "backoffMultiplier": 2}}))
        task |= random_.choice(({}, {"idempotencyKey": "k"}))
        task |= random_.choice(
            ({}, {"compensationAction": {"tool": "undo"}}, {"compensation": {"onFailure": "cleanup"}})
        )
        tasks.append(task)
    for task in tasks:
        after_it = [other["id"] for other in tasks if task["id"] in other["dependsOn"]]
        if task.get("type") == "decision" and after_it:
            task["branches"] = [{"when": {"field": "way", "equals": 1}, "then": after_it[::2]}]
            task["otherwise"] = after_it[1::2]
    return {"id": "w", "name": "W", "tasks": [*tasks, {"id": "cleanup", "tool": "undo"}]}


@dataclass
class Player:
    """One run. `begun` and `passed` are what the outside saw, in order."""

    spec: dict[str, Any]
    random: random.Random
    faults: float = 0.1
    cancel_at: int = 10**9
    now: datetime = BEGAN
    begun: list[tuple[Way, str]] = field(default_factory=list)
    passed: list[tuple[Way, str]] = field(default_factory=list)
    turns: int = 0

    def __post_init__(self) -> None:
        self.plan: Plan = plan_of(parse(self.spec))
        parts = (Part(name, Way.FORWARD, at, TaskStatus.PENDING, BEGAN) for at, name in enumerate(self.plan.order))
        self.facts = RunFacts(RunStatus.RUNNING, tuple(parts))
        self.why = ""

    def play(self) -> Player:
        while self.facts.status in OPEN:
            self.turns += 1
            assert self.turns < 100 * (len(self.spec["tasks"]) + 1), "the run does not end"
            if self.turns >= self.cancel_at and not self.facts.cancelled:
                self.facts = replace(self.facts, cancelled="a person")
            action = decide(self.plan, self.facts, self.now)
            assert action == decide(self.plan, self.facts, self.now)
            self.apply(action)
        return self

    def apply(self, action: object) -> None:
        match action:
            case Run(tasks):
                for way, name in tasks:
                    self.begin(way, name)
                self.answer_some()
            case Skip(tasks):
                self.write({(Way.FORWARD, name): self.ended(name, TaskStatus.SKIPPED) for name in tasks})
            case GiveUp(tasks, cause, _):
                self.write({key: given_up(self.part(*key), cause, self.now) for key in tasks})
            case Compensate(tasks, _):
                self.turn_back(tasks)
            case Finish(status, why):
                self.facts, self.why = replace(self.facts, status=status), why
            case Wait(until):
                if not self.answer_some():
                    assert until is not None and until > self.now, "it waits for nothing, or for what is over"
                    self.now = until

    def begin(self, way: Way, name: str) -> None:
        part = self.part(way, name)
        lost = part.status is TaskStatus.RUNNING
        self.begun.append((way, name))
        claimed = replace(part, status=TaskStatus.RUNNING, lease_until=self.now + LEASE, attempts=part.attempts + 1,
                          failures=part.failures + lost, doubtful=part.doubtful or lost)  # fmt: skip
        self.write({(way, name): claimed})

    def answer_some(self) -> bool:
        """Some of those under way answer, some of them badly; some never will. Whether any did."""
        self.now += timedelta(milliseconds=self.random.randint(1, 400))
        live = [p for p in self.facts.parts if p.status is TaskStatus.RUNNING and (p.lease_until or BEGAN) > self.now]
        answered = False
        for part in live:
            dies = self.random.random() < self.faults / 3
            if dies or self.random.random() < 0.3:
                continue
            answered = True
            self.write({(part.way, part.task): after(self.plan, part, self.said(part), self.now, self.random.random())})
        return answered

    def said(self, part: Part) -> Answer:
        if self.random.random() < self.faults / 3:
            return Answer(
                Result.FAILED, cause=self.random.choice((Cause.ERROR, Cause.TIMEOUT)), final=self.random.random() < 0.2
            )
        if self.random.random() < 0.05:
            return Answer(Result.LATER, until=self.now + timedelta(seconds=3))
        self.passed.append((part.way, part.task))
        return Answer(Result.PASSED, output={"way": self.random.randint(0, 1)})

    def turn_back(self, tasks: tuple[str, ...]) -> None:
        left = [p.task for p in self.facts.parts if p.status is TaskStatus.PENDING]
        self.write({(Way.FORWARD, name): self.ended(name, TaskStatus.SKIPPED) for name in left})
        back = tuple(Part(name, Way.BACK, at, TaskStatus.PENDING, self.now) for at, name in enumerate(tasks))
        self.facts = replace(self.facts, status=RunStatus.COMPENSATING, parts=(*self.facts.parts, *back))

    def ended(self, name: str, status: TaskStatus) -> Part:
        return replace(self.part(Way.FORWARD, name), status=status, ended_at=self.now)

    def part(self, way: Way, name: str) -> Part:
        [found] = [part for part in self.facts.parts if (part.way, part.task) == (way, name)]
        return found

    def write(self, changed: dict[tuple[Way, str], Part]) -> None:
        kept = tuple(changed.get((part.way, part.task), part) for part in self.facts.parts)
        self.facts = replace(self.facts, parts=kept)

    def times(self, way: Way) -> Counter[str]:
        """How often each was begun."""
        return Counter(name for on, name in self.begun if on is way)
