"""The removal of artifacts: whoever plans with bytes holds them, and what is marked as removed is then deleted.

Who makes a content needed holds its application's artifacts to the end of the transaction (shared), and looks at them
after that. Who removes one takes its application for itself, decides, and marks the row. So one of the two sees what
the other did. The bytes are deleted after the mark is committed, and again by the next run where that was cut off.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.db import connection, transaction

from aureus import clock
from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict
from releases.keeping import FEWEST_DAYS
from releases.models import Artifact, Version
from releases.store import ArtifactStore, StoreDown

log = structlog.get_logger(__name__)

LOCK = 0x6B656570


def hold(application_id: int) -> None:
    """Until this transaction ends nobody removes an artifact of the application. Look at them after this, not before.

    It waits for no more than one removal's decision: those who remove never wait themselves.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", [LOCK, application_id])


def take(application_ids: list[int]) -> bool:
    """Have the artifacts of these applications for oneself to the end of the transaction; whether nobody held them."""
    with connection.cursor() as cursor:
        for application_id in application_ids:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [LOCK, application_id])
            if not cursor.fetchone()[0]:
                return False
    return True


def why_gone(version: Version) -> str:
    """That a version's bytes were removed, and what to do; "" where they are there."""
    removed = Artifact.objects.filter(versions=version, removed_at__isnull=False)
    if (at := removed.values_list("removed_at", flat=True).first()) is None:
        return ""
    return (
        f"The artifact of {version.number} was removed at {at:%Y-%m-%d %H:%M} UTC, since nothing had needed it for "
        f"long: send it again with aureus version upload {version.pk} FILE."
    )


def demand(version: Version) -> None:
    """Hold the version's bytes to the end of the transaction. Raises Conflict where they were removed."""
    hold(version.application_id)
    if why := why_gone(version):
        raise Conflict(why, code="artifact_removed")


def mark(artifact: Artifact, actor: Actor) -> None:
    """From now on its bytes are not to be had. The caller has taken its applications, and holds its lock."""
    artifact.removed_at, artifact.deleted_at = clock.now(), None
    artifact.save(update_fields=["removed_at", "deleted_at"])
    for version in artifact.versions.all():
        record(version.stream, "version.artifact_removed", actor, sha256=artifact.sha256, size=artifact.size)


def unmark(artifact: Artifact) -> None:
    """Its bytes have come in again. The caller holds its lock."""
    if artifact.removed_at is not None:
        artifact.removed_at = artifact.deleted_at = None
        artifact.save(update_fields=["removed_at", "deleted_at"])


def expect(sha256: str) -> None:
    """Its bytes are on their way: they are as young as can be, and whatever lies there is not deleted meanwhile."""
    Artifact.objects.filter(sha256=sha256).update(at=clock.now(), deleted_at=None)


def delete_marked(store: ArtifactStore) -> tuple[int, str]:
    """Delete the bytes of whatever is marked and has not been deleted; (how many, why some are left or "")."""
    deleted, left = 0, ""
    waiting = Artifact.objects.filter(removed_at__isnull=False, deleted_at=None)
    for pk in list(waiting.order_by("pk").values_list("pk", flat=True)):
        try:
            deleted += _delete(pk, store)
        except StoreDown as error:
            left = f"the artifact store does not answer, and is asked again by the next run: {error.sentence}"
            log.warning("an artifact's bytes were not deleted", artifact=pk, why=error.sentence)
    return deleted, left


@transaction.atomic
def _delete(pk: int, store: ArtifactStore) -> bool:
    """Under the row's lock: what comes in again meanwhile waits, and then finds that it has to be kept anew."""
    now = clock.now()
    settled = Artifact.objects.filter(
        pk=pk, removed_at__isnull=False, deleted_at=None, at__lt=now - timedelta(days=FEWEST_DAYS)
    )
    artifact = settled.select_for_update(skip_locked=True).first()
    if artifact is None:
        return False
    store.delete(artifact.store_key)
    artifact.deleted_at = now
    artifact.save(update_fields=["deleted_at"])
    return True
