"""Is this the database that gave the acts on the hosts? A restored one knows less than they do.

`aureus_identity()` changes with every restore of a dump and with every copy of a cluster. When it does, every
installation is unproven: nothing of it is decided or claimed until its hosts were compared with the record.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.db import connection, transaction

from aureus import clock, lease
from aureus.journal.actor import AUREUS
from aureus.journal.models import record
from aureus.journal.refusals import Conflict
from deployments.engine.status import OPEN
from deployments.models import Deployment, Identity, Incident, Installation

log = structlog.get_logger(__name__)

WHY = "This database was restored or copied, and its record is not compared with the hosts yet"
NEXT = "It goes on by itself when every host and balancer proves to be as recorded; else run aureus recover"
LOOK_AGAIN = timedelta(seconds=10)
LOCK = 0x69646E74
TABLE = Identity._meta.db_table

# Read once per wake-up in place of the clock alone, so that a step's hop has no query more for it. Only what can change
# under a running worker is compared here: aureus_identity() would cost as much as the rest of the hop.
NOW = f"""
    SELECT clock_timestamp(), installation.unproven,
           NOT EXISTS (SELECT FROM {TABLE} AS kept, {TABLE} AS mark
                       WHERE kept.seal <> '' AND mark.seal = '' AND kept.seal = mark.xmin::text)
    FROM {Installation._meta.db_table} AS installation WHERE installation.id = %s
"""
SAME = f"{TABLE}.seal = present.seal AND {TABLE}.known = present.known AND present.seal <> ''"
PRESENT = f"SELECT aureus_identity(), coalesce((SELECT xmin::text FROM {TABLE} WHERE seal = '' LIMIT 1), '')"


def now_and_doubt(installation_id: int) -> tuple[datetime, str]:
    """The database's time, and why no host of this installation may be changed; "" where they may."""
    with connection.cursor() as cursor:
        cursor.execute(NOW, [installation_id])
        now, unproven, other = cursor.fetchone()
    return now, unproven or (f"{WHY}. {NEXT}" if other else "")


def demand(installation: Installation) -> None:
    """Raises Conflict where no host of this installation may be changed now."""
    if why := now_and_doubt(installation.pk)[1]:
        raise Conflict(f"{installation} is not to be changed: {why}", code="unproven")


def notice() -> bool:
    """Compare this database with the one we knew; whether it is another. Idempotent, and one query where it is not.

    Called at each start and with each sweep, before anything is woken.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS (SELECT FROM {TABLE}, ({PRESENT}) AS present (known, seal) WHERE {SAME})")
        if cursor.fetchone()[0]:
            return False
    with transaction.atomic():
        return _changed()


def _changed() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    kept = Identity.objects.select_for_update().exclude(seal="").order_by("pk").first()
    with connection.cursor() as cursor:
        cursor.execute(PRESENT)
        known, seal = cursor.fetchone()
    if kept is None or not seal:
        return False  # a restore is under way and has not brought these rows yet: every wake-up doubts until then
    if (kept.known, kept.seal) == (known, seal):
        return False  # another process was first
    now = clock.now()
    Identity.objects.filter(pk=kept.pk).update(known=known, seal=seal, changed_at=now)
    about = {"before": f"{kept.known}, mark {kept.seal}", "after": f"{known}, mark {seal}"}
    record("fleet", "database.changed", AUREUS, **about)
    log.warning("the database is another one: every installation is unproven", **about)
    doubt(WHY)
    return True


def doubt(why: str) -> None:
    """Every installation is unproven from now on. The caller's transaction."""
    fence, now = lease.highest_fence(), clock.now()
    if not Incident.objects.filter(text=WHY, resolved_at=None).exists() and Installation.objects.exists():
        Incident.objects.create(severity=Incident.Severity.CRITICAL, text=WHY)
    for installation in Installation.objects.select_for_update().order_by("pk"):
        Installation.objects.filter(pk=installation.pk).update(prove_at=now)
        if not installation.unproven:
            told = f"{why}. {NEXT}"
            Installation.objects.filter(pk=installation.pk).update(unproven=told, unproven_fence=fence)
            record(f"installation:{installation.pk}", "installation.unproven", AUREUS, why=why, fence=fence)


def believe(installation: Installation) -> None:
    """Its record is the truth again: whatever waits there goes on. The caller's transaction, and the caller's event."""
    here = Deployment.objects.filter(installation=installation, status__in=list(OPEN))
    list(here.select_for_update().order_by("pk").values_list("pk"))
    # Deployments before their installation, as everywhere: two orders would be a deadlock.
    Installation.objects.filter(pk=installation.pk).update(unproven="", unproven_fence=None, prove_at=None)
    here.update(wake_at=clock.now(), hinted_at=None)
    if not Installation.objects.exclude(unproven="").exists():
        told = Incident.objects.filter(text=WHY, resolved_at=None)
        told.update(resolved_at=clock.now(), resolved_by=AUREUS.name)
