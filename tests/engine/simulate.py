"""Random worlds around the pure core: lost and repeated wake-ups, dead and late workers, hosts that vanish, people.

One seed is one world and can be played again: `python -m tests.engine.simulate --worlds 1 --seed N`.
The shell around the core (claim, settle, finish, start of a rollback) is played in memory by the engine's own
transition table; the verbs on PostgreSQL are tested against the same table.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from operator import attrgetter
from typing import Any

from deployments.engine import decide as core
from deployments.engine import plan as planning
from deployments.engine import weights as traffic
from deployments.engine.facts import Deployment, Stage, Start, Step, Target
from deployments.engine.settle import Answer, Observation, after, claimed, failed, given_up, passed, pending
from deployments.engine.status import (
    OPEN,
    Outcome,
    Status,
    StepStatus,
    TargetState,
    may_move,
    may_step,
)
from deployments.engine.strategies import Options
from deployments.engine.way_back import way_back

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = 20.0
QUIET_AFTER = 150.0
"""Seconds of a world after which no new fault and no new wish of a person is injected."""
LIMIT = 6_000.0
"""Seconds within which every deployment of a world must have ended."""

FAULTS = (
    "wake-up lost",
    "wake-up repeated",
    "worker died before the effect",
    "worker died after the effect",
    "worker woke after its lease",
    "host out of reach",
    "act failed",
    "balancer out of reach",
    "version unhealthy on a host",
    "version bad under traffic",
    "paused and resumed",
    "aborted",
    "rolled back by hand",
    "abandoned",
    "second deployment",
    "approval late",
    "freeze",
)


ORDER = {row: {f.name: n for n, f in enumerate(fields(row))} for row in (Deployment, Step, Target, Start)}
READ = {row: attrgetter(*order) for row, order in ORDER.items()}


def replace[Row: (Deployment, Step, Target, Start)](row: Row, **changed: Any) -> Row:
    """As that of dataclasses in half its time, of which a world would spend a fifth on it."""
    kind = type(row)
    values, order = list(READ[kind](row)), ORDER[kind]
    for name, value in changed.items():
        values[order[name]] = value
    return kind(*values)


class Violation(AssertionError):
    """An invariant of the design did not hold."""


@dataclass
class Host:
    """A machine as it really is."""

    name: str
    content: str | None = None
    fence: int = 0
    unreachable_until: float = 0.0


@dataclass
class Flight:
    """A worker at one step: its effect happens at `acts_at`, its answer arrives at `answers_at`."""

    deployment: str
    step: str
    fence: int
    acts_at: float
    answers_at: float
    dies: str = ""
    answer: Answer | None = None


@dataclass
class World:
    """One installation, its hosts, its balancer, and everything that was asked of it."""

    seed: int
    defences: frozenset[str] = frozenset({"host fence", "guarded settle", "every claimed target"})
    rng: random.Random = field(init=False)
    now: float = 0.0
    fence: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    deployments: dict[str, Deployment] = field(default_factory=dict)
    reverts: dict[str, str] = field(default_factory=dict)
    intents: dict[str, Options] = field(default_factory=dict)
    events: list[tuple[str, Status]] = field(default_factory=list)
    flights: list[Flight] = field(default_factory=list)
    goods: list[str] = field(default_factory=list)
    wake: dict[str, float | None] = field(default_factory=dict)
    balancer_fence: int = 0
    balancer_away_until: float = 0.0
    frozen_until: float = 0.0
    planned: dict[str, planning.PlannedStep] = field(default_factory=dict)
    _moment: tuple[float, datetime] = (0.0, EPOCH)
    _read: dict[str, tuple[object, Deployment]] = field(default_factory=dict)
    _rests: dict[str, Deployment] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = self.rng = random.Random(self.seed)
        count = rng.choice((1, 2, 3, 3, 4, 5))
        self.hosts = {f"h{i}": Host(f"h{i}") for i in range(1, count + 1)}
        self.balanced = rng.random() < 0.7
        self.smoke = rng.random() < 0.3
        self.site = planning.Site(
            tuple(self.hosts), balanced=self.balanced, smoke=self.smoke, healthy_within=20, drain_within=20
        )
        self.weights = dict.fromkeys(self.hosts, 0)
        self.rate = rng.choice((0.0, 0.02, 0.02, 0.1))
        self.unhealthy: set[tuple[str, str]] = set()
        self.bad: set[str] = set()
        self.approvals_needed = rng.choice((0, 0, 1))
        if rng.random() < 0.8:
            self._already_running("1.0.0")

    def _already_running(self, content: str) -> None:
        for host in self.hosts.values():
            host.content = content
        self.weights = dict.fromkeys(self.hosts, traffic.FULL)
        self.goods = [content]

    # ----------------------------------------------------------------- time and chance

    def at(self, seconds: float | None = None) -> datetime:
        if seconds is not None:
            return EPOCH + timedelta(seconds=seconds)
        if self._moment[0] != self.now:
            self._moment = (self.now, EPOCH + timedelta(seconds=self.now))
        return self._moment[1]

    def strikes(self, fault: str, chance: float) -> bool:
        """Whether a fault is injected here; none is after the world has gone quiet."""
        if self.now < QUIET_AFTER and self.rng.random() < chance:
            self.faults[fault] += 1
            return True
        return False

    def next_fence(self) -> int:
        self.fence += 1
        return self.fence

    # ----------------------------------------------------------------- rows and verbs

    def put(self, deployment: Deployment) -> None:
        """Write a deployment. The guards of the database: legal moves, one active, terminal is terminal."""
        before = self.deployments.get(deployment.id)
        if before is not None and before.status is not deployment.status:
            if not may_move(before.status, deployment.status):
                raise Violation(f"{deployment.id}: {before.status} -> {deployment.status}")
            self.events.append((deployment.id, deployment.status))
        if before is not None:
            for old, new in zip(before.steps, deployment.steps, strict=True):
                if old is not new and old.status is not new.status and not may_step(old.status, new.status):
                    raise Violation(f"step {new.id}: {old.status} -> {new.status}")
        self.deployments[deployment.id] = deployment
        if before is None or before.status is not deployment.status:
            active = [d.id for d in self.deployments.values() if d.status is Status.IN_PROGRESS]
            if len(active) > 1:
                raise Violation(f"two active deployments: {active}")

    def active(self) -> Deployment | None:
        return next((d for d in self.deployments.values() if d.status is Status.IN_PROGRESS), None)

    def rows(self, name: str, stages: tuple[planning.PlannedStage, ...]) -> tuple[tuple[Stage, ...], tuple[Step, ...]]:
        kept = tuple(
            Stage(n, s.name, s.lane, s.min_serving, s.max_failures, s.on_failure, s.retries, s.patience)
            for n, s in enumerate(stages)
        )
        steps = tuple(
            Step(f"{name}.{n}.{i}", n, p.kind, p.target, p.removes)
            for n, s in enumerate(stages)
            for i, p in enumerate(s.steps)
        )
        self.planned.update({f"{name}.{n}.{i}": p for n, s in enumerate(stages) for i, p in enumerate(s.steps)})
        return kept, steps

    def create(self, content: str) -> str:
        name = f"d{len(self.deployments) + 1}"
        rng = self.rng
        options = Options(
            batch=rng.choice(("1", "1", "2", "50%")), max_failures=rng.choice((0, 0, 1)), bake=rng.choice((0, 5, 10))
        )
        strategy = rng.choice(("rolling", "rolling", "rolling", "all-at-once"))
        self.intents[name] = options
        stages, steps = self.rows(name, planning.plan(self.site, strategy, options))
        targets = tuple(Target(h, content) for h in self.hosts)
        start = Start(approvals_needed=self.approvals_needed)
        self.put(Deployment(name, Status.PENDING, stages, steps, targets, start=start))
        self.events.append((name, Status.PENDING))
        self.wake[name] = self.now
        return name

    def begin(self, d: Deployment) -> Deployment:
        """Start it, with every target's way back fixed from what is observed."""
        goods = list(self.goods)
        if d.is_rollback:
            return replace(d, status=Status.IN_PROGRESS)
        targets = tuple(
            replace(
                t,
                from_content=self.hosts[t.endpoint].content,
                serving=self.serves(t.endpoint),
                back_content=way_back(goods, from_content=self.hosts[t.endpoint].content, to_content=t.to_content),
            )
            for t in d.targets
        )
        return replace(d, status=Status.IN_PROGRESS, targets=targets)

    def roll_back(self, origin: Deployment, also: Deployment | None = None) -> Deployment:
        """A deployment of its own that undoes another, started in the same transaction."""
        claimed_here = [t for t in origin.targets if t.claimed]
        if also is not None:
            seen = {t.endpoint for t in claimed_here}
            claimed_here += [t for t in also.targets if t.claimed and t.endpoint not in seen]
        if "every claimed target" not in self.defences:
            claimed_here = [t for t in claimed_here if t.state is not TargetState.UNTOUCHED]
        names = [t.endpoint for t in claimed_here]
        changed = set(names)
        untouched = any(h not in changed and self.weights_say(h) for h in self.hosts)
        name = f"r{len(self.deployments) + 1}"
        back = {t.endpoint: t.back_content for t in origin.targets}
        stages, steps = self.rows(
            name, planning.plan_rollback(self.site, names, untouched_serve=untouched) if names else ()
        )
        targets = tuple(
            Target(t.endpoint, back.get(t.endpoint) or t.from_content or "", claimed=True, serving=t.serving)
            for t in claimed_here
        )
        others = tuple(
            Target(h, self.hosts[h].content or "", serving=self.weights_say(h)) for h in self.hosts if h not in changed
        )
        rollback = Deployment(name, Status.PENDING, stages, steps, targets + others, is_rollback=True)
        self.reverts[name] = origin.id
        covered = {t.endpoint for t in origin.targets if t.claimed}
        if not covered <= {t.endpoint for t in targets}:
            raise Violation(f"{name} does not cover {sorted(covered - {t.endpoint for t in targets})}")
        self.put(rollback)
        self.events.append((name, Status.PENDING))
        self.put(replace(rollback, status=Status.IN_PROGRESS))
        self.wake[name] = self.now
        return rollback

    def weights_say(self, host: str) -> bool:
        return self.weights[host] > 0 if self.balanced else self.healthy(host)

    def serves(self, host: str) -> bool:
        return self.weights_say(host) and self.healthy(host)

    def healthy(self, host: str) -> bool:
        content = self.hosts[host].content
        return content is not None and (host, content) not in self.unhealthy

    def finish(self, d: Deployment, action: core.Finish) -> None:
        left = frozenset() if action.roll_back else core.left_behind(d)
        ended = StepStatus.SKIPPED
        steps = tuple(
            replace(s, status=ended, lease_until=None) if s.status in (StepStatus.PENDING, StepStatus.RUNNING) else s
            for s in d.steps
        )
        targets = tuple(replace(t, state=TargetState.OWED) if t.endpoint in left else t for t in d.targets)
        done = replace(d, status=action.status, steps=steps, targets=targets)
        self.put(done)
        self.wake.pop(d.id, None)
        if action.roll_back:
            self.roll_back(done)
        elif d.is_rollback:
            self._rollback_ended(d, action)
        elif action.status is Status.DEPLOYED:
            self.window(done)

    def _rollback_ended(self, d: Deployment, action: core.Finish) -> None:
        origin = self.deployments[self.reverts[d.id]]
        if action.status is Status.DEPLOYED and origin.status is Status.DEPLOYED:
            self.put(replace(origin, status=Status.ROLLED_BACK))

    def window(self, d: Deployment) -> None:
        """The open window after `deployed`, judged at once: a bad version is undone, another becomes good."""
        content = d.targets[0].to_content
        if content in self.bad:
            if any(t.claimed and t.back_content for t in d.targets):
                self.roll_back(d)
        elif content not in self.goods:
            self.goods.insert(0, content)

    # ----------------------------------------------------------------- one wake-up

    def facts(self, d: Deployment) -> Deployment:
        """What a worker reads of a deployment: the same object as long as nothing about it has changed."""
        start = d.start if d.status is Status.IN_PROGRESS else self.start(d)
        kept = self._read.get(d.id)
        if kept is not None and kept[0] is d and kept[1].start == start:
            return kept[1]
        facts = d if start is d.start else replace(d, start=start)
        self._read[d.id] = (d, facts)
        return facts

    def start(self, d: Deployment) -> Start:
        active = self.active()
        older = [
            o.id
            for o in self.deployments.values()
            if o.status in (Status.PENDING, Status.AWAITING_APPROVAL) and not o.is_rollback and o.id < d.id
        ]
        behind = f"behind {active.id}" if active else (f"behind {older[0]}" if older else "")
        frozen = self.at(self.frozen_until) if self.frozen_until > self.now else None
        return Start(d.start.approvals_needed, d.start.approvals, behind=behind, frozen_until=frozen, frozen="a freeze")

    def advance(self, name: str) -> None:
        """What a worker does with a hint: decide until there is something to wait for."""
        for _ in range(200):
            d = self.deployments[name]
            facts = self.facts(d)
            action = core.decide(facts, self.at())
            if self.seed % 8 == 0 and action != core.decide(facts, self.at()):
                raise Violation("the same facts gave two answers")
            match action:
                case core.Begin():
                    self.put(self.begin(d))
                case core.Replan():
                    raise Violation("nothing was edited")
                case core.Run(steps):
                    self.claim(d, steps)
                case core.GiveUp(steps, why):
                    self.give_up(d, steps, why)
                case core.Wait(until, why, status):
                    self.wait(d, until, why, status)
                    if until is None:
                        self._rests[name] = self.facts(self.deployments[name])
                    return
                case core.Finish():
                    if d.is_rollback and action.outcome is Outcome.REJECTED:
                        raise Violation("a rollback was blocked by people")
                    self.finish(d, action)
                    return
        raise Violation(f"{name} does not come to rest")

    def wait(self, d: Deployment, until: datetime | None, why: str, status: Status | None) -> None:
        if not why:
            raise Violation(f"{d.id} waits without a reason")
        if until is not None and until <= self.at():
            raise Violation(f"{d.id} waits for the past")
        if status is not None and status is not d.status:
            self.put(replace(d, status=status))
        self.wake[d.id] = None if until is None else (until - EPOCH).total_seconds()

    def claim(self, d: Deployment, chosen: tuple[str, ...]) -> None:
        steps, targets = list(d.steps), {t.endpoint: t for t in d.targets}
        stage_of = {s.position: s for s in d.stages}
        if not all(step in self.planned for step in chosen):
            raise Violation("a step that nobody planned")
        for index, step in enumerate(steps):
            if step.id not in chosen:
                continue
            if step.leased(self.at()):
                raise Violation(f"{step.id} was claimed twice")
            if d.paused and not d.aborting:
                raise Violation(f"{step.id} was claimed while paused")
            self._check_order(d, step)
            self._check_guard(targets, stage_of[step.stage], step)
            deadline = self.at(self.now + self.planned[step.id].within)
            steps[index] = claimed(
                step,
                fence=self.next_fence(),
                lease_until=self.at(self.now + LEASE),
                deadline_at=deadline,
                now=self.at(),
            )
            for endpoint in step.removes:  # out of the balancer is changed as well: a rollback has to put it back in
                targets[endpoint] = replace(targets[endpoint], serving=False, claimed=True)
            if step.kind == "activate" and step.target:
                targets[step.target] = replace(targets[step.target], claimed=True)
            self.fly(d, steps[index])
        order = [targets[t.endpoint] for t in d.targets]
        self.put(replace(d, steps=tuple(steps), targets=tuple(order)))

    def _check_order(self, d: Deployment, step: Step) -> None:
        if d.aborting:
            return
        owed = d.owed
        earlier = [s for s in d.steps if s.stage < step.stage and s.target not in owed]
        if any(s.status in (StepStatus.PENDING, StepStatus.RUNNING) for s in earlier):
            raise Violation(f"{step.id} before an earlier stage has ended")

    def _check_guard(self, targets: dict[str, Target], stage: Stage, step: Step) -> None:
        serving = {t.endpoint for t in targets.values() if t.serving}
        removed = serving & set(step.removes)
        if removed and len(serving - removed) < stage.min_serving:
            raise Violation(f"{step.id} leaves {len(serving - removed)} serving, its stage demands {stage.min_serving}")

    def fly(self, d: Deployment, step: Step) -> None:
        rng = self.rng
        takes = rng.choice((0.5, 1.0, 2.0, 5.0))
        flight = Flight(d.id, step.id, step.fence, self.now + takes / 2, self.now + takes)
        if self.strikes("worker died before the effect", self.rate):
            flight.dies = "before"
        elif self.strikes("worker died after the effect", self.rate):
            flight.dies = "after"
        elif self.strikes("worker woke after its lease", self.rate):
            flight.acts_at = self.now + LEASE + rng.uniform(1, 40)
            flight.answers_at = flight.acts_at + 1
        self.flights.append(flight)

    def give_up(self, d: Deployment, chosen: tuple[str, ...], why: str) -> None:
        stage_of = {s.position: s for s in d.stages}
        steps = tuple(given_up(s, stage_of[s.stage], why) if s.id in chosen else s for s in d.steps)
        self.owe(replace(d, steps=steps))

    def owe(self, d: Deployment) -> None:
        owed = core.newly_owed(d)
        if not owed:
            self.put(d)
            return
        targets = tuple(
            replace(t, state=TargetState.OWED, serving=False) if t.endpoint in owed else t for t in d.targets
        )
        self.put(replace(d, targets=targets))

    def settle(self, flight: Flight) -> None:
        """Record an answer WHERE id AND fence; a late one changes nothing."""
        d = self.deployments[flight.deployment]
        step = next(s for s in d.steps if s.id == flight.step)
        stale = step.fence != flight.fence or step.status is not StepStatus.RUNNING
        if stale and "guarded settle" in self.defences:
            return
        assert flight.answer is not None
        stage = next(s for s in d.stages if s.position == step.stage)
        done = after(step, stage, flight.answer, self.at())
        targets = {t.endpoint: t for t in d.targets}
        for seen in flight.answer.observed:
            targets[seen.endpoint] = self._observed(targets[seen.endpoint], seen)
        steps = tuple(done if s.id == step.id else s for s in d.steps)
        self.owe(replace(d, steps=steps, targets=tuple(targets[t.endpoint] for t in d.targets)))
        self.wake[d.id] = self.now
        if self.strikes("wake-up lost", self.rate):
            self.wake[d.id] = self.now + 1
        elif self.strikes("wake-up repeated", self.rate):
            self.advance(d.id)

    @staticmethod
    def _observed(target: Target, seen: Observation) -> Target:
        serving = target.serving if seen.serving is None else seen.serving
        state = target.state
        if seen.looked and state is not TargetState.OWED:
            on_to = seen.content == target.to_content and seen.healthy
            state = TargetState.ON_TO if on_to else (TargetState.CHANGED if target.claimed else state)
        return replace(target, serving=serving, state=state)

    # ----------------------------------------------------------------- effects on the world

    def effect(self, flight: Flight) -> Answer:
        d = self.deployments[flight.deployment]
        step = next(s for s in d.steps if s.id == flight.step)
        if d.aborting and d.status is Status.IN_PROGRESS:
            if step.target:
                host = self.hosts[step.target]
                if host.unreachable_until <= self.now:
                    host.fence = max(host.fence, flight.fence)
            return failed(f"stopped: {d.aborting}", permanent=True)
        if self.strikes("act failed", self.rate):
            return failed("the act failed")
        if step.target is not None:
            return self.on_host(d, step, flight)
        return self.on_fleet(d, step, flight)

    def on_host(self, d: Deployment, step: Step, flight: Flight) -> Answer:
        assert step.target is not None
        host = self.hosts[step.target]
        target = next(t for t in d.targets if t.endpoint == step.target)
        if host.unreachable_until > self.now:
            return failed(f"{host.name} is out of reach")
        if flight.fence < host.fence and "host fence" in self.defences:
            return failed("a higher fence was there", permanent=True)
        host.fence = max(host.fence, flight.fence)
        if step.kind == "activate":
            host.content = target.to_content
        if step.kind == "verify":
            return self.verified(host, target)
        return passed(observed=(self.seen(host.name),))

    def verified(self, host: Host, target: Target) -> Answer:
        if host.content == target.to_content and self.healthy(host.name):
            serving = None if self.balanced else True
            return passed(observed=(self.seen(host.name, serving),))
        return pending(f"{host.name} is not healthy yet", self.at(self.now + 3), observed=(self.seen(host.name),))

    def seen(self, name: str, serving: bool | None = None) -> Observation:
        return Observation(name, True, self.hosts[name].content, self.healthy(name), serving)

    def on_fleet(self, d: Deployment, step: Step, flight: Flight) -> Answer:
        if step.kind in ("take_out", "drain", "put_in", "shift"):
            if self.balancer_away_until > self.now:
                return failed("the balancer is out of reach")
            if flight.fence < self.balancer_fence and "host fence" in self.defences:
                return failed("a higher fence was at the balancer", permanent=True)
            self.balancer_fence = max(self.balancer_fence, flight.fence)
            return self.move(d, step)
        content = next((t.to_content for t in d.targets if t.claimed), "")
        if step.kind in ("watch", "smoke"):
            bad = content in self.bad
            return failed("too many errors", permanent=True) if bad else passed("no worse than before")
        return passed()

    def move(self, d: Deployment, step: Step) -> Answer:
        before = dict(self.weights)
        group = list(self.planned[step.id].input.get("endpoints", ()))
        want = {t.endpoint: t.to_content for t in d.targets}
        proven = [h for h in self.hosts if self.healthy(h) and self.hosts[h].content == want.get(h)]
        if step.kind == "drain":
            return passed()
        if step.kind == "take_out":
            try:
                self.weights = traffic.taken_out(before, group)
            except traffic.NobodyLeft as error:
                return failed(str(error), permanent=True)
        elif step.kind == "put_in":
            well = [h for h in group if h in proven and h not in d.owed]
            self.weights = traffic.put_in(before, well)
        elif (moved := traffic.towards(before, [h for h in proven if h not in d.owed])) is not None:
            self.weights = moved
        self._check_traffic(before, want)
        return passed(observed=tuple(Observation(h, serving=self.weights[h] > 0) for h in self.hosts))

    def _check_traffic(self, before: dict[str, int], want: dict[str, str]) -> None:
        if any(before.values()) and not any(self.weights.values()):
            raise Violation("nobody is left in the balancer")
        for name in self.hosts:
            if self.weights[name] > before[name] and not self.healthy(name):
                raise Violation(f"traffic to {name}, which was not proven healthy")

    # ----------------------------------------------------------------- people and chance

    def disturb(self) -> None:
        rng = self.rng
        if self.strikes("host out of reach", self.rate / 4):
            host = rng.choice(list(self.hosts.values()))
            host.unreachable_until = self.now + rng.choice((5, 30, 120, 900))
        if self.balanced and self.strikes("balancer out of reach", self.rate / 8):
            self.balancer_away_until = self.now + rng.choice((5, 30, 120))
        d = self.active()
        if d is None or d.is_rollback:
            if d is not None and self.strikes("abandoned", 0.002):
                self.finish(d, core.Finish(Status.FAILED, "abandoned by hand", Outcome.ABANDONED))
            return
        if not d.paused and self.strikes("paused and resumed", 0.02):
            self.put(replace(d, paused="alice"))
        elif d.paused and rng.random() < 0.2:
            self.put(replace(d, paused=""))
            self.wake[d.id] = self.now
        elif not d.aborting and self.strikes("aborted", 0.008):
            self.put(replace(d, aborting="bob aborted", paused=""))
            self.wake[d.id] = self.now

    def people(self) -> None:
        for d in [d for d in self.deployments.values() if d.status in OPEN]:
            if d.status is Status.AWAITING_APPROVAL and self.rng.random() < 0.5:
                approved = replace(d.start, approvals=d.start.approvals + 1)
                self.put(replace(d, status=Status.PENDING, start=approved))
                self.faults["approval late"] += 1
                self.wake[d.id] = self.now
            if d.paused and self.now >= QUIET_AFTER:
                self.put(replace(d, paused=""))
                self.wake[d.id] = self.now
        done = [d for d in self.deployments.values() if d.status is Status.DEPLOYED and not d.is_rollback]
        if done and self.strikes("rolled back by hand", 0.03):
            self.by_hand(done[-1])
        if len(self.deployments) < 4 and self.strikes("second deployment", 0.02):
            self.request()
        if self.strikes("freeze", 0.006):
            self.frozen_until = self.now + 30

    def by_hand(self, origin: Deployment) -> None:
        """A rollback during another active deployment ends that one and takes its place, in one transaction."""
        current = [d for d in self.deployments.values() if d.status is Status.DEPLOYED and not d.is_rollback]
        open_rollback = any(r for r, o in self.reverts.items() if o == origin.id)
        if origin is not current[-1] or open_rollback or not all(t.back_content for t in origin.targets):
            return
        active = self.active()
        if active is not None and active.is_rollback:
            return
        if active is not None:
            self.finish(active, core.Finish(Status.FAILED, "a rollback took its place", Outcome.SUPERSEDED))
            active = self.deployments[active.id]
        self.roll_back(origin, also=active)

    def request(self) -> None:
        version = f"1.{len(self.deployments) + 1}.0"
        name = self.create(version)
        if self.rng.random() < 0.25 and self.strikes("version bad under traffic", 1.0):
            self.bad.add(version)
        for host in self.hosts:
            if self.rng.random() < 0.08 and self.strikes("version unhealthy on a host", 1.0):
                self.unhealthy.add((host, version))
        self.wake[name] = self.now

    # ----------------------------------------------------------------- the run

    def play(self) -> None:
        self.request()
        while self.now < LIMIT:
            self.tick()
            if self.at_rest():
                break
            self.now = self.next_moment()
        self.check_end()

    def at_rest(self) -> bool:
        return (
            not self.flights
            and self.now >= QUIET_AFTER
            and all(d.status not in OPEN for d in self.deployments.values())
        )

    def next_moment(self) -> float:
        if self.now < QUIET_AFTER and any(d.status in OPEN for d in self.deployments.values()):
            return self.now + 1.0
        times = [f.acts_at if f.answer is None else f.answers_at for f in self.flights]
        times += [t for t in self.wake.values() if t is not None]
        times += [QUIET_AFTER] if self.now < QUIET_AFTER else []
        later = [t for t in times if t > self.now]
        return min(later) if later and self.now >= QUIET_AFTER else self.now + 5.0

    def tick(self) -> None:
        for flight in sorted(self.flights, key=lambda f: f.acts_at):
            if flight.answer is None and flight.acts_at <= self.now and flight.dies != "before":
                flight.answer = self.effect(flight)
            if flight.answers_at <= self.now and not flight.dies:
                self.flights.remove(flight)
                self.settle(flight)
            elif flight.answers_at <= self.now:
                self.flights.remove(flight)
        for name, due in list(self.wake.items()):
            if due is not None and due <= self.now and self.deployments[name].status in OPEN:
                self.advance(name)
        for name, d in list(
            self.deployments.items()
        ):  # the sweep: what waits for no time, once something about it changed
            if d.status in OPEN and self.wake.get(name) is None and self.facts(d) is not self._rests.get(name):
                self.advance(name)
        if self.now < QUIET_AFTER:
            self.disturb()
        self.people()

    def check_end(self) -> None:
        still = [d.id for d in self.deployments.values() if d.status in OPEN]
        if still:
            raise Violation(f"never ended: {still}")
        for d in self.deployments.values():
            if (d.id, d.status) not in self.events:
                raise Violation(f"{d.id} became {d.status} without an event")
        self._check_fleet()
        self._check_nobody_forgotten()

    def _check_nobody_forgotten(self) -> None:
        """A healthy host that is not owed has its traffic, unless nothing was ever proven there."""
        last = [self.deployments[name] for name, status in self.events if status is Status.IN_PROGRESS]
        if not self.balanced or not last or not any(self.weights.values()):
            return
        owed = {t.endpoint for d in last for t in d.targets if t.state is TargetState.OWED}
        for name in self.hosts:
            if self.healthy(name) and name not in owed and self.weights[name] == 0:
                raise Violation(f"{name} is healthy and was left out of the balancer")

    def _check_fleet(self) -> None:
        """After convergence every host is where the record says, or owed: no mixed fleet unnoticed."""
        belongs: dict[str, str | None] = {}
        order = [i for i, s in self.events if s in (Status.IN_PROGRESS,)]
        for name in order:
            for t in self.deployments[name].targets:
                if t.state is TargetState.OWED:
                    belongs[t.endpoint] = None
                elif t.claimed:
                    belongs[t.endpoint] = t.to_content
        for host in self.hosts.values():
            want = belongs.get(host.name)
            if want is not None and host.content != want:
                raise Violation(f"{host.name} runs {host.content}, the record says {want}")


def play(worlds: int, seed: int, defences: frozenset[str] | None = None) -> tuple[Counter[str], list[str]]:
    """Play worlds with consecutive seeds; what was injected, and the violations found."""
    faults: Counter[str] = Counter()
    found: list[str] = []
    for number in range(seed, seed + worlds):
        world = World(number) if defences is None else World(number, defences)
        try:
            world.play()
        except Violation as violation:
            found.append(f"seed {number}: {violation}")
        faults.update(world.faults)
    return faults, found


def play_side_by_side(worlds: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Play worlds on all processors."""
    share = -(-worlds // (os.cpu_count() or 1))
    starts = range(seed, seed + worlds, share)
    counts = [min(share, seed + worlds - first) for first in starts]
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=gc.disable) as pool:  # nothing is cyclic
        parts = list(pool.map(play, counts, starts))
    return sum((p[0] for p in parts), Counter()), [line for p in parts for line in p[1]]


def main() -> int:
    """Play and print; exit code 1 where an invariant was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    faults, found = play_side_by_side(wanted.worlds, wanted.seed)
    for fault in FAULTS:
        print(f"{faults[fault]:>9,}  {fault}")
    for line in found[:20]:
        print(line)
    print(f"{wanted.worlds:,} worlds from seed {wanted.seed}: {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
