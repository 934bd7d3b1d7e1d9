"""What the database would hold: deployments, endpoints, windows, and the workers' flights."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

from deployments.engine.facts import Deployment, Stage, Start, Step, Target
from deployments.engine.settle import Answer
from deployments.engine.stages import PlannedStep
from deployments.engine.status import OPEN, Outcome, Status

ORDER = {row: {f.name: n for n, f in enumerate(fields(row))} for row in (Step, Target, Stage)}
READ = {row: attrgetter(*order) for row, order in ORDER.items()}
WAITING = (Status.PENDING, Status.AWAITING_APPROVAL)
NO_START = Start()


def replace[Frozen: (Step, Target, Stage)](row: Frozen, **changed: Any) -> Frozen:
    """As that of dataclasses in half its time, of which a world would spend a fifth on it."""
    kind = type(row)
    values, order = list(READ[kind](row)), ORDER[kind]
    for name, value in changed.items():
        values[order[name]] = value
    return kind(*values)


@dataclass(slots=True)
class Endpoint:
    """Our record of one host."""

    name: str
    recorded: str | None = None
    serving: bool = False
    owed: str = ""
    retired: bool = False


@dataclass(slots=True, eq=False)
class Window:
    """A monitoring window. `step`: the watch step that waits for it; "" after `deployed`."""

    row: Row
    step: str
    content: str
    closed: str = ""
    held_since: int | None = None
    open_ended: bool = False


@dataclass(slots=True, eq=False)
class Flight:
    """A worker at one step. `fate`: where it is lost; `blind`: it reads no abort that was asked for after it began."""

    row: Row
    step: str
    fence: int
    answers_at: int
    crew: list[int]
    fate: str = ""
    blind: bool = False
    answer: Answer | None = None


@dataclass(slots=True, eq=False)
class Row:
    """One deployment. `steps` holds what is pending, running or failed, `past` what passed or was skipped."""

    id: str
    version: str
    strategy: str
    number: int
    status: Status = Status.PENDING
    outcome: Outcome | None = None
    reason: str = ""
    lane: str = "deploy"
    stages: tuple[Stage, ...] = ()
    steps: dict[str, Step] = field(default_factory=dict)
    past: dict[str, Step] = field(default_factory=dict)
    planned: dict[str, PlannedStep] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)
    seen: dict[str, str | None] = field(default_factory=dict)
    reverts: Row | None = None
    completes: Row | None = None
    revision: int = 0
    plans: int = 0
    plan_hash: str = ""
    votes: list[tuple[str, str]] = field(default_factory=list)
    rejected: str = ""
    wake_at: int | None = None
    swept_at: int | None = None
    paused: str = ""
    aborting: str = ""
    deployed: int = 0
    good: bool = False
    windows: dict[str, Window] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    rested: dict[str, int] = field(default_factory=dict)
    activated: set[str] = field(default_factory=set)
    releases: int = 0
    one_way: bool = False
    migrated: tuple[int, int] = (0, 0)

    @property
    def open(self) -> bool:
        """It has not ended."""
        return self.status in OPEN

    @property
    def is_rollback(self) -> bool:
        """It undoes another."""
        return self.reverts is not None

    def stage(self, position: int) -> Stage:
        """The stage there."""
        return self.stages[position]

    def facts(self, start: Start) -> Deployment:
        """What `decide` reads."""
        return Deployment(
            self.id,
            self.status,
            self.stages,
            tuple(self.steps.values()),
            tuple(self.targets.values()),
            self.paused,
            self.aborting,
            self.reverts is not None,
            self.completes is None and not (self.one_way and self.activated),
            start,
        )

    def claimed(self) -> list[Target]:
        """Its hosts that it has, or may have, changed."""
        return [t for t in self.targets.values() if t.claimed]
