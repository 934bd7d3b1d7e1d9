"""One installation, its clock, its chance, and everything that was asked of it. One seed is one world."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from deployments.engine import weights as traffic
from deployments.engine.facts import Step, Target
from deployments.engine.stages import HOOKS
from deployments.engine.status import Status, TargetState
from deployments.engine.strategies import Options
from deployments.engine.way_back import way_back
from tests.engine.simulator.hosts import Balancer, Host
from tests.engine.simulator.rows import Endpoint, Flight, Row, Window

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
QUIET_AFTER = 150_000
"""Milliseconds of a world after which no new fault is injected and people only help it to its end."""
LIMIT = 40_000_000
"""Milliseconds within which every deployment of a world must have ended."""

DEFENCES = frozenset(
    {
        "host fence",
        "traffic fence",
        "lease",
        "guarded settle",
        "sweep",
        "every claimed target",
        "look before change",
        "serving guard",
        "last serving host",
        "proof of health",
        "live before said",
        "owed stays out",
        "only what changed",
        "approval of one plan",
        "event with its status",
        "rollback begun at once",
        "held for people",
        "canary share",
        "once by one name",
        "one-way schema",
    }
)

RATES = {
    "wake-up lost": 0.15,
    "wake-up repeated": 0.15,
    "wake-up late": 0.15,
    "two workers decided at once": 0.1,
    "worker died before the effect": 0.04,
    "worker died after the effect": 0.04,
    "zombie acted after its lease": 0.04,
    "answer after its lease": 0.04,
    "answer after the end": 0.02,
    "host hung": 0.03,
    "act failed": 0.06,
    "restart took long": 0.15,
    "restart failed": 0.08,
    "version unhealthy on a host": 0.2,
    "version bad under traffic": 0.35,
    "verdict late": 0.3,
    "verdict repeated": 0.3,
    "verdict inconclusive": 0.3,
}
"""Chance of a fault each time it may strike, in a world of middling luck that has it."""


class Violation(AssertionError):
    """An invariant of the design did not hold."""


@dataclass(slots=True)
class News:
    """What one event did, for the invariants to look at."""

    touched: list[Row] = field(default_factory=list)
    moves: list[tuple[Row, Status, Status]] = field(default_factory=list)
    waits: list[tuple[Row, datetime | None, str]] = field(default_factory=list)
    claims: list[tuple[Row, Step, dict[str, Target]]] = field(default_factory=list)
    acts: list[tuple[Flight, str, bool]] = field(default_factory=list)
    shifts: list[tuple[Row, dict[str, int], dict[str, int]]] = field(default_factory=list)
    shares: list[tuple[Row, int, dict[str, int]]] = field(default_factory=list)
    changes: list[tuple[Flight, str, bool]] = field(default_factory=list)
    switches: list[tuple[Row, str | None, str]] = field(default_factory=list)
    rollbacks: list[Row] = field(default_factory=list)
    undoes: list[tuple[Row, list[Row]]] = field(default_factory=list)
    wakes: list[Row] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Memory:
    """What the simulator remembers by itself, apart from all rows: the rows are what is judged by it."""

    touched: dict[str, dict[str, None]] = field(default_factory=dict)
    holders: dict[str, tuple[int, int]] = field(default_factory=dict)
    fences: dict[str, int] = field(default_factory=dict)
    looked: set[tuple[str, str]] = field(default_factory=set)
    ended: dict[str, Status] = field(default_factory=dict)
    said: dict[str, Status] = field(default_factory=dict)
    approved: dict[str, int] = field(default_factory=dict)
    once: Counter[str] = field(default_factory=Counter)
    released: Counter[str] = field(default_factory=Counter)
    guards: dict[str, dict[int, int]] = field(default_factory=dict)
    schema: str = ""
    since: set[str] = field(default_factory=set)
    accepted: set[str] = field(default_factory=set)


class World:
    """Time is in whole milliseconds. `swarm` says which faults this world has, and how often."""

    def __init__(self, seed: int, defences: frozenset[str] = DEFENCES) -> None:
        self.seed, self.defences = seed, defences
        rng = self.rng = random.Random(seed)
        self.now, self.serial, self.fence, self.deployed = 0, 0, 0, 1
        self.moment = EPOCH
        self.queue: list[tuple[int, int, str, tuple[Any, ...]]] = []
        self.faults: Counter[str] = Counter()
        luck = rng.choice((0.2, 0.6, 1.0, 1.6))
        self.chances = {fault: rate * luck for fault, rate in RATES.items() if rng.random() < 0.5}
        self.rows: dict[str, Row] = {}
        self.active: Row | None = None
        self.windows: list[Window] = []
        self.outside: list[str] = []
        self.gap, self.convergences = 0, 0
        self.trace: list[tuple[int, str, str]] = []
        self.news, self.memory = News(), Memory()
        self.sides: dict[str, str] = {}
        self._fleet(rng)
        self._policy(rng)

    def _fleet(self, rng: random.Random) -> None:
        names = [f"h{i}" for i in range(1, rng.choice((1, 2, 2, 3, 3, 4)) + 1)]
        running = "1.0.0" if rng.random() < 0.85 else None
        self.balanced = rng.random() < 0.7
        self.hosts = {n: Host(n, "host fence" in self.defences, running, running) for n in names}
        self.endpoints = {n: Endpoint(n, running, running is not None) for n in names}
        if self.balanced and len(names) > 1 and rng.random() < 0.3:
            self.sides = {n: ("blue", "green")[i % 2] for i, n in enumerate(names)}
        serving = [n for n in names if running and self.sides.get(n) != "green"]
        for name in names:
            self.endpoints[name].serving = name in serving
        weights = {n: traffic.FULL if n in serving else 0 for n in names}
        self.balancer = Balancer(weights, dict(weights), "traffic fence" in self.defences)
        if running is not None:
            self._already_deployed(running)

    def _already_deployed(self, content: str) -> None:
        row = self.rows["d0"] = Row("d0", content, "rolling", 0, Status.DEPLOYED, deployed=1, good=True)
        row.targets = {
            n: Target(n, content, None, None, True, e.serving, TargetState.ON_TO, self.sides.get(n) == "green")
            for n, e in self.endpoints.items()
        }
        self.memory.said["d0"] = self.memory.ended["d0"] = Status.DEPLOYED

    def _policy(self, rng: random.Random) -> None:
        self.revision = 1
        self.options = self.some_options()
        self.once = rng.choice(((), (), ("backup",), ("migrate",), ("backup", "migrate")))
        self.smoke = rng.random() < 0.25
        self.approvals = rng.choice((0, 0, 1, 2))
        self.newest_wins = rng.random() < 0.5
        self.freezes: list[tuple[int, int]] = []
        self.held = ""
        self.withdrawn: set[str] = set()
        self.bad: set[str] = set()
        self._schema()

    def _schema(self) -> None:
        """Drawn apart, so that worlds without schema changes and hooks stay the worlds that they were."""
        rng = self.apart = random.Random(f"schema {self.seed}")
        self.changes_schema = "migrate" in self.once and rng.random() < 0.4
        self.one_way: set[str] = set()
        self.hooks = tuple(hook for hook in HOOKS if rng.random() < 0.5) if rng.random() < 0.15 else ()

    def some_options(self) -> Options:
        """What an installation may tune, drawn anew."""
        rng = self.rng
        batch, borne, bake = rng.choice(("1", "1", "2", "50%")), rng.choice((0, 0, 1)), rng.choice((0, 0, 10))
        weights = rng.choice(((5, 25, 50, 100), (50, 100), (20, 100), (100,)))
        return Options(batch, borne, bake, rng.choice((0, 0, 5)), weights, rng.choice(((), (), weights[:1])))

    # ----------------------------------------------------------------- time and chance

    def at(self, when: int) -> datetime:
        """The database's clock at a millisecond of this world."""
        return EPOCH + when * MILLISECOND

    def later(self, delay: int, event: str, *about: Any) -> None:
        """Let an event of the table in `play` happen after so many milliseconds."""
        self.serial += 1
        heapq.heappush(self.queue, (self.now + max(delay, 0), self.serial, event, about))

    def has(self, fault: str) -> bool:
        """Whether this world has a fault at all."""
        return fault in self.chances

    def strikes(self, fault: str) -> bool:
        """Whether a fault is injected here; none is after the world has gone quiet."""
        chance = self.chances.get(fault)
        if chance is None or self.now >= QUIET_AFTER or self.rng.random() >= chance:
            return False
        self.faults[fault] += 1
        return True

    def count(self, fault: str) -> None:
        """A fault was injected that chance did not draw here."""
        self.faults[fault] += 1

    def next_fence(self) -> int:
        """The one sequence of fences."""
        self.fence += 1
        return self.fence

    def say(self, row: Row, what: str) -> None:
        """One line of the trace, by which two runs of a seed are compared."""
        self.trace.append((self.now, row.id, what))

    # ----------------------------------------------------------------- what the rows say together

    def living(self) -> list[Endpoint]:
        """Endpoints that were not retired, in the order of the plan."""
        return [e for e in self.endpoints.values() if not e.retired]

    def waiting(self) -> list[Row]:
        """Deployments that have not started."""
        return [r for r in self.rows.values() if r.status is Status.PENDING or r.status is Status.AWAITING_APPROVAL]

    def current(self) -> Row | None:
        """The deployment whose version runs by our record."""
        living = [r for r in self.rows.values() if r.status is Status.DEPLOYED and r.completes is None]
        return max(living, key=lambda r: (r.deployed, r.number), default=None)

    def goods(self) -> list[str]:
        """Contents that passed their window and were not undone or withdrawn since, newest first."""
        proven = sorted((r for r in self.rows.values() if r.good), key=lambda r: -r.deployed)
        found: dict[str, None] = {}
        for row in proven:
            if row.status is Status.DEPLOYED and row.version not in self.withdrawn and not self._undone(row):
                found[row.version] = None
        return list(found)

    def _undone(self, row: Row) -> bool:
        return any(
            r.reverts is not None
            and r.reverts.version == row.version
            and r.version != row.version
            and r.reverts.status is Status.ROLLED_BACK
            and r.deployed >= row.deployed
            for r in self.rows.values()
        )

    def crossed(self, contents: Iterable[str | None]) -> set[str]:
        """Those that ran before the newest schema change of one way that was begun, and not since."""
        begun = [r for r in self.rows.values() if r.migrated > (0, 0) and r.version in self.one_way]
        if not begun or "one-way schema" not in self.defences:
            return set()
        barrier = max(begun, key=lambda r: r.migrated)
        since = {r.version for r in self.rows.values() if r.deployed > barrier.migrated[1]}
        return {content for content in contents if content} - since - {barrier.version}

    def back_for(self, running: str | None, to: str) -> str | None:
        """Where a host that runs this would go back to by itself."""
        proven = self.goods()
        over = self.crossed(proven) if self.one_way else set()
        return way_back([c for c in proven if c not in over], from_content=running, to_content=to)
