"""What `decide` reads: one deployment as frozen rows, nothing of Django, nothing of the clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from deployments.engine.status import Status, StepStatus, TargetState

READY = datetime(1970, 1, 1, tzinfo=UTC)
"""A `not_before` that never holds a step back."""


class OnFailure(StrEnum):
    """What a stage demands when more of its steps failed than it may bear."""

    ROLL_BACK = "roll_back"
    GO_ON = "go_on"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the plan. `kind` is for the effect; `decide` never reads it."""

    id: str
    stage: int
    kind: str
    target: str | None = None
    removes: tuple[str, ...] = ()
    status: StepStatus = StepStatus.PENDING
    reason: str = ""
    held: bool = False
    not_before: datetime = READY
    deadline_at: datetime | None = None
    lease_until: datetime | None = None
    fence: int = 0
    attempts: int = 0
    failures: int = 0
    failing_since: datetime | None = None

    def leased(self, now: datetime) -> bool:
        """A worker holds the step now."""
        return self.status is StepStatus.RUNNING and self.lease_until is not None and now < self.lease_until

    def lost(self, now: datetime) -> bool:
        """A worker held the step and its lease ran out."""
        return self.status is StepStatus.RUNNING and not self.leased(now)


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps that may run side by side, with their guards as numbers.

    min_serving: hosts that must go on serving while this stage takes hosts out.
    max_failures: hosts that may fail before the stage has failed.
    retries: failed tries a step may have beyond the first.
    patience: seconds of continuous failure that are borne in any case.
    """

    position: int
    name: str
    lane: str = "deploy"
    min_serving: int = 0
    max_failures: int = 0
    on_failure: OnFailure = OnFailure.ROLL_BACK
    retries: int = 2
    patience: float = 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """One host's part in one deployment, as last observed. resting: it has no traffic when this has ended well."""

    endpoint: str
    to_content: str
    from_content: str | None = None
    back_content: str | None = None
    claimed: bool = False
    serving: bool = False
    state: TargetState = TargetState.UNTOUCHED
    resting: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """What stands between a deployment and its start. Only people and time hold; a fact that broke ends it.

    plan_is_current: the plan was made for the present revision of environment and installation. note: what the wait for
    approvals says beside their number. look_at: when something of this holds no more, whatever it waits for.
    """

    approvals_needed: int = 0
    approvals: int = 0
    rejected: str = ""
    broken: str = ""
    held: str = ""
    behind: str = ""
    frozen_until: datetime | None = None
    frozen: str = ""
    plan_is_current: bool = True
    note: str = ""
    look_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """One attempt to bring one version to one installation."""

    id: str
    status: Status
    stages: tuple[Stage, ...] = ()
    steps: tuple[Step, ...] = ()
    targets: tuple[Target, ...] = ()
    paused: str = ""
    aborting: str = ""
    is_rollback: bool = False
    may_roll_back: bool = True
    start: Start = field(default_factory=Start)

    @property
    def owed(self) -> frozenset[str]:
        """Endpoints that could not be brought where they belong."""
        return frozenset(t.endpoint for t in self.targets if t.state is TargetState.OWED)

    @property
    def serving(self) -> frozenset[str]:
        """Endpoints that take traffic, as last observed."""
        return frozenset(t.endpoint for t in self.targets if t.serving)

    def stage_steps(self, stage: Stage) -> tuple[Step, ...]:
        """The steps of one stage, in order."""
        return tuple(s for s in self.steps if s.stage == stage.position)


def earliest(times: Iterable[datetime | None]) -> datetime | None:
    """The earliest of some times; None where none is set."""
    return min((t for t in times if t is not None), default=None)
