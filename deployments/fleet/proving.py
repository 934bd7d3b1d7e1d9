"""After the database was restored: installations prove by their hosts that our record is the truth still.

Nothing is changed on a host. Where everything is as recorded the installation goes on by itself; what differs waits for
`aureus recover`.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from django.db import connection, transaction

from aureus.journal.actor import AUREUS
from aureus.journal.models import record
from deployments import identity
from deployments.drivers import HostError
from deployments.drivers.traffic import TrafficError
from deployments.engine.status import OPEN
from deployments.fleet import survey
from deployments.fleet.survey import Seen
from deployments.fleet_holds import hold_for_future_fence
from deployments.models import BalancerNode, Installation, Pool, Target
from deployments.outside import Outside

log = structlog.get_logger(__name__)

AGAIN = 20
"""Seconds until an installation that could not prove itself is looked at again."""
AT_ONCE = 5
"""Installations looked at in one turn."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why an installation cannot go on by itself: a sentence, and the host that saw a higher fence, if one did."""

    sentence: str
    ahead: Seen | None = None


def prove_due(outside: Outside, limit: int = AT_ONCE) -> list[Installation]:
    """Look at the unproven installations whose turn it is; those that may go on now."""
    return [one for one in _claim(limit) if prove(one, outside)]


def _claim(limit: int) -> list[Installation]:
    table = Installation._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE {table} SET prove_at = clock_timestamp() + make_interval(secs => {AGAIN}) WHERE id IN (
                SELECT id FROM {table} WHERE unproven <> '' AND prove_at <= clock_timestamp()
                ORDER BY prove_at LIMIT %s FOR UPDATE SKIP LOCKED)
            RETURNING id
            """,
            [limit],
        )
        ids = [one for (one,) in cursor]
    chosen = Installation.objects.filter(pk__in=ids)
    return list(chosen.select_related("environment", "application", "balancer").order_by("pk"))


def prove(installation: Installation, outside: Outside) -> bool:
    """Compare every host and balancer of an unproven installation with the record; whether it may go on."""
    doubt = _doubt(installation, outside)
    with transaction.atomic():
        row = Installation.objects.select_for_update().get(pk=installation.pk)
        if not row.unproven or row.unproven_fence != installation.unproven_fence:
            return not row.unproven  # a person, or another restore, was quicker
        if doubt is None:
            record(f"installation:{row.pk}", "installation.proven", AUREUS, was=row.unproven)
        elif doubt.ahead is not None:
            hold_for_future_fence(row, doubt.ahead.endpoint.name, doubt.ahead.fence)
        if doubt is not None:
            told = f"{identity.WHY}: {doubt.sentence}. {identity.NEXT}"
            Installation.objects.filter(pk=row.pk).update(unproven=told)
            return False
    with transaction.atomic():
        identity.believe(installation)
    log.info("every host is as recorded: it goes on", installation=str(installation))
    return True


def _doubt(installation: Installation, outside: Outside) -> Doubt | None:
    """The first thing that keeps an installation from going on by itself."""
    known = installation.unproven_fence or 0
    seen = survey.look(installation, outside.hosts)
    for one in seen:
        if one.runs is None:
            return Doubt(f"{one.endpoint.name} was not reached: {one.error}")
        if one.fence > known:
            why = f"{one.endpoint.name} saw fence {one.fence}, and this database gave none above {known}"
            return Doubt(why, one)
    may_run = _may_run(installation)
    for one in seen:
        if one.runs not in {one.endpoint.recorded, *may_run.get(one.endpoint.name, ())}:
            runs, recorded = one.runs or "nothing", one.endpoint.recorded or "nothing"
            return Doubt(f"{one.endpoint.name} runs {runs}, the record says {recorded}")
    return _doubt_of_balancer(installation, outside, known)


def _may_run(installation: Installation) -> dict[str, set[str]]:
    """What else a host may run where a deployment was under way: either side of what it was about to change."""
    claimed = Target.objects.filter(
        deployment__installation=installation, deployment__status__in=list(OPEN), claimed_at__isnull=False
    )
    found: dict[str, set[str]] = {}
    for target in claimed:
        found.setdefault(target.name, set()).update({target.from_content, target.to_content})
    return found


def _doubt_of_balancer(installation: Installation, outside: Outside, known: int) -> Doubt | None:
    nodes = BalancerNode.objects.filter(balancer=installation.balancer_id).select_related("host__bastion", "balancer")
    desired = Pool.objects.filter(installation=installation).first()
    for node, fence, error in survey.fences_of_balancers(nodes, outside.hosts):
        if error:
            return Doubt(f"the balancer {node} was not reached: {error}")
        if fence > known:
            return Doubt(f"the balancer {node} saw fence {fence}, and this database gave none above {known}")
        try:
            weights = outside.traffic(node, installation).read()
        except TrafficError as sentence:
            if sentence.code == "not_ours" and not (desired and any(desired.weights.values())):
                continue  # it never had traffic there, and none is desired
            return Doubt(f"the balancer {node} does not say its weights: {sentence}")
        except HostError as sentence:
            return Doubt(f"the balancer {node} was not reached: {sentence.sentence}")
        wanted = {name: weight for name, weight in (desired.weights if desired else {}).items() if weight}
        if {name: weight for name, weight in weights.items() if weight} != wanted:
            return Doubt(f"the balancer {node} routes by {weights}, the record says {desired and desired.weights}")
    return None
