"""What proved good on an installation: the only contents that anything goes back to by itself."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db.models import F, Max

from deployments.engine.status import Status
from deployments.models import Deployment, Installation

REMEMBERED = 200
"""Good deployments of an installation that are looked through for a way back."""


def goods(installation: Installation) -> list[str]:
    """Contents that passed their window here and were not undone or withdrawn since, newest first."""
    passed = Deployment.objects.filter(
        installation=installation, good_at__isnull=False, status=Status.DEPLOYED, version__withdrawn_at=None
    )
    newest = passed.select_related("version").defer("version__spec", "intent").order_by("-deployed_at")
    proven = list(newest[:REMEMBERED])
    undone = _undone(installation, {d.version_id for d in proven})
    fine = [d for d in proven if (at := undone.get(d.version_id)) is None or (d.deployed_at or at) > at]
    return list(dict.fromkeys(d.version.content for d in fine))


def _undone(installation: Installation, versions: Collection[UUID]) -> dict[UUID, datetime]:
    """When each of these versions was last rolled back here to another one."""
    rollbacks = Deployment.objects.filter(
        installation=installation, reverts__version__in=versions, status__in=(Status.DEPLOYED, Status.ROLLED_BACK)
    )
    # A rollback to the same version, of a deployment over itself, took nothing away from it.
    to_another = rollbacks.filter(reverts__status=Status.ROLLED_BACK).exclude(version=F("reverts__version"))
    return dict(to_another.values_list("reverts__version").annotate(last=Max("deployed_at")))
