"""What a workflow is made of: its tasks, how each is tried, undone and chosen, and the bounds of all that. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_TASKS = 2_000
MAX_DEPENDENCIES = 20_000
MAX_ATTEMPTS = 10
MAX_BACKOFF_MS = 60_000
MAX_MULTIPLIER = 10
MAX_TIMEOUT_MS = 600_000
DEFAULT_TIMEOUT_MS = 10_000
MAX_ERRORS = 200
JITTER = 0.5
"""The part of a pause that `jitter: true` may take away."""


class SpecInvalid(ValueError):
    """The spec cannot be used; `errors` names each path and what is wrong there, the first 200 of them."""

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        self.errors = tuple(errors[:MAX_ERRORS])
        super().__init__("; ".join(f"{path}: {message}" for path, message in self.errors))


class Kind(StrEnum):
    """What a task is for."""

    ACTION = "action"
    """Calls its tool."""
    DECISION = "decision"
    """Its result picks which of its followers run."""
    PARALLEL = "parallel"
    """Opens its followers side by side; by itself it does nothing."""


class Risk(StrEnum):
    """How bad it is when the task goes wrong, from read-only to what cannot be taken back."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a task is tried (the first time too), and the pauses between: milliseconds, growing by `multiplier`.

    jitter: the part of each pause, from 0 to 1, that chance may take away.
    """

    attempts: int = 1
    backoff_ms: int = 0
    multiplier: float = 1
    longest_ms: int = MAX_BACKOFF_MS
    jitter: float = 0

    def pause(self, failures: int, chance: float) -> float:
        """Seconds to wait after so many failed tries. `chance` is a number from 0 to 1, drawn by the caller."""
        grown = min(self.backoff_ms * self.multiplier ** max(failures - 1, 0), self.longest_ms)
        return grown / 1000 * (1 - self.jitter * chance)


@dataclass(frozen=True, slots=True)
class Undo:
    """The call that takes back what a task did."""

    tool: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Branch:
    """These followers of a decision run when its result's `field` (dotted; empty: all of it) stands the test."""

    field: str
    test: str
    value: Any
    then: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a workflow. Times are milliseconds.

    on_failure, on_timeout: another task that takes back what this one did; such a task runs for nothing else.
    branches, otherwise: of a decision; followers that neither names run whatever was decided.
    """

    id: str
    tool: str
    params: Mapping[str, Any] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    kind: Kind = Kind.ACTION
    retry: Retry = Retry()
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    idempotency_key: str = ""
    undo: Undo | None = None
    on_failure: str = ""
    on_timeout: str = ""
    risk: Risk | None = None
    permissions: tuple[str, ...] = ()
    approved_followers: tuple[str, ...] = ()
    branches: tuple[Branch, ...] = ()
    otherwise: tuple[str, ...] = ()

    @property
    def undoable(self) -> bool:
        """What it did can be taken back."""
        return self.undo is not None or bool(self.on_failure)

    @property
    def acts(self) -> bool:
        """It calls something outside, and so may do harm."""
        return self.kind is Kind.ACTION or self.tool != "noop"

    @property
    def picks(self) -> frozenset[str]:
        """The followers that run only when this decision picks them."""
        return frozenset(self.otherwise).union(*(branch.then for branch in self.branches))


@dataclass(frozen=True, slots=True)
class Workflow:
    """A spec as it was read. One from `spec.parse` is sound: unique ids, known dependencies, no cycle."""

    id: str
    name: str
    version: str
    tasks: tuple[Task, ...]

    @property
    def compensations(self) -> frozenset[str]:
        """The tasks that run only to take back what another did."""
        return frozenset(name for task in self.tasks for name in (task.on_failure, task.on_timeout) if name)

    @property
    def forward(self) -> tuple[Task, ...]:
        """The tasks of the way forward."""
        apart = self.compensations
        return tuple(task for task in self.tasks if task.id not in apart)


def followers(tasks: Iterable[Task]) -> dict[str, list[str]]:
    """For each task that is depended on: who depends on it, each once."""
    found: dict[str, list[str]] = {}
    for task in tasks:
        for name in dict.fromkeys(task.depends_on):
            found.setdefault(name, []).append(task.id)
    return found
