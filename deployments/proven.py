"""What proved good on an installation: the only contents that anything goes back to by itself."""

from __future__ import annotations

from datetime import datetime

from django.db.models import F, Max

from deployments import schema
from deployments.engine.status import Status
from deployments.models import Deployment, Installation
from releases import retention

REMEMBERED = 200
"""Good deployments of an installation that are looked through for a way back."""


def held_goods(installation: Installation) -> list[str]:
    """The same, for whoever plans with them: their bytes are there until the caller's transaction ends."""
    retention.hold(installation.application_id)
    return goods(installation)


def goods(installation: Installation) -> list[str]:
    """Contents that passed their window here and were not undone, withdrawn or removed since, newest first."""
    passed = Deployment.objects.filter(
        installation=installation, good_at__isnull=False, status=Status.DEPLOYED, version__withdrawn_at=None,
        version__artifact__removed_at=None,
    )  # fmt: skip
    # Plain columns: this is read at every look at the gates, and rows of two hundred deployments are not.
    columns = ("content", "deployed_at")
    proven = list(passed.order_by("-deployed_at").values_list(*columns)[:REMEMBERED])
    undone = _undone(installation, min((at for *_, at in proven if at), default=None))
    fine = [
        content for content, deployed_at in proven if (at := undone.get(content)) is None or (deployed_at or at) > at
    ]
    return list(dict.fromkeys(fine))


def within_reach(installation: Installation) -> list[str]:
    """Those that a host may go back to by itself: no schema change of one way was begun since they ran."""
    return schema.this_side(installation, goods(installation))


def held_within_reach(installation: Installation) -> list[str]:
    """The same, for whoever plans with them."""
    return schema.this_side(installation, held_goods(installation))


def _undone(installation: Installation, since: datetime | None) -> dict[str, datetime]:
    """When each content was last rolled back here to another one; what was undone before `since` counts no more."""
    rollbacks = Deployment.objects.filter(
        installation=installation, reverts__isnull=False, status__in=(Status.DEPLOYED, Status.ROLLED_BACK)
    )
    if since is not None:
        rollbacks = rollbacks.filter(deployed_at__gte=since)
    # A rollback to the same content, of a deployment over itself, took nothing away from it.
    to_another = rollbacks.filter(reverts__status=Status.ROLLED_BACK).exclude(content=F("reverts__content"))
    return dict(to_another.values_list("reverts__content").annotate(last=Max("deployed_at")))
