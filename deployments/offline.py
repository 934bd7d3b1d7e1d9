"""Break glass: one rollback carried to its end by this process, with nothing but the database and the hosts."""

from __future__ import annotations

import time
from collections.abc import Callable

from deployments import execution, lifecycle
from deployments.models import Deployment, Installation, Step
from deployments.outside import Outside

TURN = 5.0
"""Seconds after which a turn hands back, so that what happened is told while it happens."""
PAUSE = 0.3
"""Seconds between two looks while a step waits."""


class NotEnded(Exception):
    """The time was over before the rollback was."""


def current() -> list[Deployment]:
    """What runs everywhere by our record, which is what can be undone."""
    places = Installation.objects.select_related("environment", "application").order_by("environment__order", "pk")
    found = (lifecycle.current_of(place) for place in places)
    return [deployment for deployment in found if deployment is not None]


def carry(rollback: Deployment, outside: Outside, tell: Callable[[Step], None], *, seconds: float) -> Deployment:
    """Carry a rollback until it has ended; each change of a step is told. Raises NotEnded.

    Workers that come back meanwhile do no harm: whoever claims a step has its lease, and the other waits for it.
    """
    ends = time.monotonic() + seconds
    told: dict[int, tuple[str, str]] = {}
    while True:
        execution.work_on(str(rollback.pk), "rollback", outside, _nobody, budget=TURN)
        for step in rollback.steps.order_by("pk"):
            if told.get(step.pk) != (step.status, step.reason) and (step.attempts or step.reason):
                told[step.pk] = (step.status, step.reason)
                tell(step)
        rollback.refresh_from_db()
        if rollback.ended_at is not None:
            return rollback
        if time.monotonic() > ends:
            raise NotEnded(f"it has not ended within {seconds:g} s: {rollback.reason}")
        time.sleep(PAUSE)


def _nobody(deployment_id: str, lane: str) -> None:
    """There is nobody to hint: this process looks again by itself."""
