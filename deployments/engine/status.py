"""The statuses of deployments, steps and targets, and the one table of legal moves.

The database trigger is generated from TRANSITIONS and the simulator plays by it; a test compares both.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a deployment stands (the word a CI script polls for)."""

    PENDING = "pending"
    AWAITING_APPROVAL = "awaiting_approval"
    IN_PROGRESS = "in_progress"
    DEPLOYED = "deployed"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"


class Outcome(StrEnum):
    """Why a deployment failed."""

    ERROR = "error"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    STALE = "stale"
    ABORTED = "aborted"
    ABANDONED = "abandoned"


class StepStatus(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class TargetState(StrEnum):
    """What a deployment has made of one host."""

    UNTOUCHED = "untouched"
    CHANGED = "changed"
    ON_TO = "on_to"
    ON_BACK = "on_back"
    OWED = "owed"


OPEN = frozenset({Status.PENDING, Status.AWAITING_APPROVAL, Status.IN_PROGRESS})
OVER = frozenset({StepStatus.PASSED, StepStatus.FAILED, StepStatus.SKIPPED})

DEPLOYMENT_MOVES: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.AWAITING_APPROVAL, Status.IN_PROGRESS, Status.FAILED}),
    Status.AWAITING_APPROVAL: frozenset({Status.PENDING, Status.FAILED}),
    Status.IN_PROGRESS: frozenset({Status.DEPLOYED, Status.FAILED}),
    Status.DEPLOYED: frozenset({Status.ROLLED_BACK}),
    Status.ROLLED_BACK: frozenset(),
    Status.FAILED: frozenset(),
}
STEP_MOVES: dict[StepStatus, frozenset[StepStatus]] = {
    StepStatus.PENDING: frozenset({StepStatus.RUNNING, StepStatus.FAILED, StepStatus.SKIPPED}),
    StepStatus.RUNNING: frozenset({StepStatus.PENDING, StepStatus.PASSED, StepStatus.FAILED, StepStatus.SKIPPED}),
    StepStatus.PASSED: frozenset(),
    StepStatus.FAILED: frozenset(),
    StepStatus.SKIPPED: frozenset(),
}


def may_move(before: Status, after: Status) -> bool:
    """Say whether a deployment may go from one status to another."""
    return after in DEPLOYMENT_MOVES[before]


def may_step(before: StepStatus, after: StepStatus) -> bool:
    """Say whether a step may go from one status to another."""
    return after in STEP_MOVES[before]
