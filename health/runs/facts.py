"""What is recorded of a run: frozen rows, and what follows from them without a clock. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from health.runs.plan import Plan, Way


class RunStatus(StrEnum):
    """How a run stands. The last three are ends."""

    PENDING = "pending"
    RUNNING = "running"
    COMPENSATING = "compensating"
    PASSED = "passed"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = frozenset({RunStatus.PENDING, RunStatus.RUNNING, RunStatus.COMPENSATING})


class TaskStatus(StrEnum):
    """How a task of a run stands. The last three are ends."""

    PENDING = "pending"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Cause(StrEnum):
    """Why a try did not pass. After timeout and lost nobody knows whether it happened."""

    NONE = ""
    ERROR = "error"
    TIMEOUT = "timeout"
    LOST = "lost"


DOUBTFUL = frozenset({Cause.TIMEOUT, Cause.LOST})


@dataclass(frozen=True, slots=True)
class Part:
    """One task on one way of a run. Back: `position` is its place, the lowest first.

    doubtful: of some try nobody knows whether it happened. picked: of a decision that has passed.
    """

    task: str
    way: Way
    position: int
    status: TaskStatus
    not_before: datetime
    attempts: int = 0
    failures: int = 0
    lease_until: datetime | None = None
    deadline_at: datetime | None = None
    ended_at: datetime | None = None
    cause: Cause = Cause.NONE
    doubtful: bool = False
    picked: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        return self.status not in (TaskStatus.PENDING, TaskStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run with its parts. `cancelled`: why somebody wants it to end, or empty."""

    status: RunStatus
    parts: tuple[Part, ...]
    cancelled: str = ""

    @property
    def forward(self) -> dict[str, Part]:
        return {part.task: part for part in self.parts if part.way is Way.FORWARD}

    @property
    def back(self) -> list[Part]:
        return sorted((part for part in self.parts if part.way is Way.BACK), key=lambda part: part.position)


class Standing(StrEnum):
    """May a task that has not begun begin?"""

    WAIT = "wait"
    RUN = "run"
    SKIP = "skip"


def standing(
    name: str, plan: Plan, statuses: Mapping[str, TaskStatus], picked: Mapping[str, tuple[str, ...]]
) -> Standing:
    """Whether a task may begin, by how the tasks before it ended.

    It waits until all of them have ended. A task that decisions name runs only if one of them has picked it. Any other
    one runs if at least one of the tasks before it passed: a join goes on with the branches that were run.
    """
    needs = plan.tasks[name].depends_on
    ends = [statuses.get(need, TaskStatus.PENDING) for need in needs]
    if any(end in (TaskStatus.PENDING, TaskStatus.RUNNING) for end in ends):
        return Standing.WAIT
    if name in plan.named_by and not any(name in picked.get(by, ()) for by in plan.named_by[name]):
        return Standing.SKIP
    return Standing.RUN if not ends or TaskStatus.PASSED in ends else Standing.SKIP


def undo_of(plan: Plan, part: Part) -> str:
    """Which task's call takes this one back (its own id: its compensationAction); empty: nothing is to be taken back.

    A task that passed is taken back. One that failed is so only where it has a task for that (`onFailure`), since it
    said itself that it did not do it. One whose end nobody knows is treated as done.
    """
    task = plan.tasks[part.task]
    if not part.attempts or part.status is TaskStatus.RUNNING:
        return ""
    own = task.id if task.undo is not None else task.on_failure
    if part.status is TaskStatus.PASSED:
        return own
    if part.doubtful:
        return task.on_timeout or own
    return task.on_failure if part.failures else ""
