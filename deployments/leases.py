"""Waking and keeping: what is due, and the leases of what this process runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db import connection, transaction

from aureus import clock, lease
from deployments import identity
from deployments.models import Deployment, Step
from deployments.snapshot import WAITING
from health import canaries

HINT_AGAIN_AFTER = 3
"""Seconds before a deployment that is still due is hinted once more: one lost message costs no longer."""


def sweep(limit: int = 500) -> list[tuple[str, str]]:
    """The deployments that are due, as (id, lane), each marked so that it is not hinted again at once. Idempotent."""
    identity.notice()
    _wake_the_withdrawn()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE {Deployment._meta.db_table} SET hinted_at = clock_timestamp() WHERE id IN (
                SELECT id FROM {Deployment._meta.db_table}
                WHERE wake_at <= clock_timestamp()
                  AND (hinted_at IS NULL OR hinted_at < clock_timestamp() - make_interval(secs => {HINT_AGAIN_AFTER}))
                ORDER BY wake_at LIMIT %s FOR UPDATE SKIP LOCKED)
            RETURNING id::text, lane
            """,
            [limit],
        )
        return cursor.fetchall()


@transaction.atomic
def _wake_the_withdrawn() -> None:
    """Whoever waits with a version that was withdrawn since: versions know no deployments, so nobody has told them."""
    waiting = Deployment.objects.filter(status__in=WAITING, reverts=None, wake_at=None)
    withdrawn = waiting.filter(version__withdrawn_at__isnull=False).select_for_update(skip_locked=True, of=("self",))
    if found := list(withdrawn.values_list("pk", flat=True)):
        Deployment.objects.filter(pk__in=found).update(wake_at=clock.now(), hinted_at=None)


class Heartbeat(lease.Heartbeat):
    """Renews the leases of some steps, and notices what was lost.

    A step whose deadline passed, or that somebody else claimed, is lost: `lost(step)` then says so, and its effect
    stops before the next thing it would do. So does an effect of a deployment that is being aborted.
    """

    def __init__(self, fences: Mapping[int, int], every: float = lease.RENEW_EVERY) -> None:
        super().__init__(fences, every)
        self._lost: set[int] = set()

    def lost(self, step: int) -> bool:
        """The step is no longer ours, or must stop."""
        return step in self._lost

    def renew(self, mine: Mapping[int, int]) -> None:
        kept = lease.renew(Step._meta.db_table, mine)
        stopped = _aborting(mine)
        # Who is busy with a long step carries out no canary, and works all the same.
        canaries.answered(Step.objects.filter(pk__in=kept).values_list("stage__lane", flat=True))
        self._lost |= (set(mine) - set(kept)) | stopped


def _aborting(steps: Iterable[int]) -> set[int]:
    asked = Step.objects.filter(pk__in=list(steps)).exclude(deployment__abort_reason="")
    return set(asked.values_list("pk", flat=True))
