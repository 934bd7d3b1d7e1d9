"""The periodic look at every living host: what it runs, beside what our record says. Nothing is changed on a host.

What is seen becomes a row; `engine.truth` judges the rows; a change of state is an event, and by policy an incident.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timedelta

from django.db import connection, transaction

from aureus import clock, lease
from aureus.journal.actor import AUREUS
from aureus.journal.models import record
from aureus.journal.plain import plain
from deployments.drivers import HostError
from deployments.engine import truth
from deployments.engine.status import Status
from deployments.engine.truth import Judgement, Standing
from deployments.fleet import asserting, cooling, proving
from deployments.fleet_holds import hold_for_future_fence
from deployments.models import Deployment, Endpoint, Host, Incident, Sighting
from deployments.outside import Outside, address_of, site_of
from deployments.snapshot import policy_of

SIDE_BY_SIDE = 16
ROUND = 8.0
"""Seconds after which a round begins no further batch: the next one goes on."""
PATIENCE = 8.0
"""Seconds that one host may take to answer; connecting has a limit of its own."""
SPREAD = 0.1
"""Looks are spread by this share of the interval, so that a fleet is not asked in one breath for ever."""
SOON = 10
"""A look that says something new is repeated after this fraction of the interval."""
KEEP = 2 * truth.WINDOW
LOCK = 0x6C6F6F6B
"""One round at a time: hosts that hang must not take every worker that samples windows."""


def take_round(outside: Outside, every: float) -> int:
    """Prove what is unproven, look at balancers, stop sides that rested, then look at endpoints in turn; how many.

    every: seconds between two looks at one endpoint.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return 0
    try:
        proving.prove_due(outside, limit=1)
        asserting.assert_due(outside)
        cooling.cool_due(outside)
        return look_at_due(outside, every)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def look_at_due(outside: Outside, every: float) -> int:
    """Batch after batch while there is time; how many endpoints were looked at."""
    ends, looked = time.monotonic() + ROUND, 0
    while ids := claim_due(every):
        began = clock.now()
        endpoints = _endpoints(ids)
        for endpoint, seen in zip(endpoints, _look(endpoints, outside), strict=True):
            keep(endpoint, seen, began=began, every=every)
        looked += len(ids)
        if time.monotonic() > ends:
            break
    return looked


def claim_due(every: float, limit: int = SIDE_BY_SIDE) -> list[int]:
    """The endpoints to look at now, in one statement; each is due again after its interval, whatever becomes of this.

    Never one on a host where a deployment is under way: the engine looks there.
    """
    endpoint, deployment = Endpoint._meta.db_table, Deployment._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE {endpoint} SET look_at = clock_timestamp() + make_interval(
                secs => %(every)s * (1 + {SPREAD} * (2 * random() - 1))) WHERE id IN (
                SELECT endpoint.id FROM {endpoint} AS endpoint
                JOIN {Host._meta.db_table} AS host ON host.id = endpoint.host_id AND host.state = 'active'
                WHERE NOT endpoint.retired AND (endpoint.look_at IS NULL OR endpoint.look_at <= clock_timestamp())
                  AND NOT EXISTS (SELECT FROM {endpoint} AS beside JOIN {deployment} AS open
                    ON open.installation_id = beside.installation_id AND open.status = '{Status.IN_PROGRESS}'
                    WHERE beside.host_id = endpoint.host_id AND NOT beside.retired)
                ORDER BY endpoint.look_at NULLS FIRST LIMIT %(limit)s FOR UPDATE OF endpoint SKIP LOCKED)
            RETURNING id
            """,
            {"every": every, "limit": limit},
        )
        return sorted(one for (one,) in cursor)


def _endpoints(ids: Sequence[int]) -> list[Endpoint]:
    chosen = Endpoint.objects.filter(pk__in=ids).order_by("pk")
    return list(chosen.select_related("host__bastion", "installation__environment", "installation__application"))


def _look(endpoints: Sequence[Endpoint], outside: Outside) -> list[truth.Sighting]:
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="look") as pool:
        return list(pool.map(lambda one: look(one, outside), endpoints))


def look(endpoint: Endpoint, outside: Outside) -> truth.Sighting:
    """One look, without a database. It may take as long as connecting, PATIENCE and one health answer."""
    at = datetime.min
    try:
        facts = outside.hosts.facts(address_of(endpoint.host), site_of(endpoint), seconds=PATIENCE)
    except HostError as error:
        return truth.Sighting(at, reached=False, error=plain(error.sentence)[:500])
    installation = endpoint.installation
    proves = installation.version_proof == "health"
    field = installation.version_field if proves else ""
    health = outside.ask(endpoint.base_url + installation.health_path, None, field=field, timeout=3.0)
    return truth.Sighting(
        at,
        content=facts.current or "",
        fence=facts.fence,
        service=facts.service,
        started_at=facts.started_at,
        restarts=facts.restarts,
        healthy=health.healthy,
        # What is not healthy may answer for somebody else: only a good answer says what runs.
        version=plain(health.version) if health.healthy and health.version is not None else None,
    )


def keep(endpoint: Endpoint, seen: truth.Sighting, *, began: datetime, every: float) -> Judgement | None:
    """Write a look down and judge; None where a deployment has moved there meanwhile, and the look says nothing."""
    found = _keep(endpoint, seen, began, every)
    if found is not None and found.state is Standing.AHEAD:
        # Afterwards: verbs lock an installation before its endpoints, and two orders would be a deadlock.
        hold_for_future_fence(endpoint.installation, endpoint.name, seen.fence)
    return found


@transaction.atomic
def _keep(endpoint: Endpoint, seen: truth.Sighting, began: datetime, every: float) -> Judgement | None:
    now = clock.now()
    row = Endpoint.objects.select_for_update(of=("self",)).select_related("installation__environment", "host")
    endpoint = row.get(pk=endpoint.pk)
    if endpoint.retired or _moved(endpoint, began):
        return None
    Sighting.objects.filter(endpoint=endpoint, at__lt=now - KEEP).delete()
    Sighting.objects.create(endpoint=endpoint, **{**asdict(seen), "at": now})
    highest = lease.highest_fence()
    found = truth.judge(endpoint.recorded, endpoint.owed, _sightings(endpoint), highest)
    columns: dict[str, object] = {"why": found.why}
    if seen.reached:
        columns |= {"observed": seen.content, "observed_at": now, "healthy": seen.healthy}
    if found.confirm:
        columns["look_at"] = now + timedelta(seconds=every / SOON)
    if found.state != endpoint.state:
        columns |= {"state": found.state, "state_since": now}
    Endpoint.objects.filter(pk=endpoint.pk).update(**columns)
    if found.state != endpoint.state:
        _tell(endpoint, found)
    return found


def _moved(endpoint: Endpoint, began: datetime) -> bool:
    """Whether a deployment is, or was since then, at work on the endpoint's installation."""
    here = Deployment.objects.filter(installation=endpoint.installation_id)
    return here.filter(status=Status.IN_PROGRESS).exists() or here.filter(ended_at__gte=began).exists()


def _sightings(endpoint: Endpoint) -> list[truth.Sighting]:
    names = truth.Sighting.__dataclass_fields__
    return [truth.Sighting(**{name: getattr(row, name) for name in names}) for row in endpoint.sightings.all()]


def _tell(endpoint: Endpoint, found: Judgement) -> None:
    """An event for the change; the incident of the state before is over, and by policy there is a new one."""
    installation = endpoint.installation
    about = {"host": endpoint.name, "before": endpoint.state, "why": found.why[:500]}
    record(f"installation:{installation.pk}", f"endpoint.{found.state}", AUREUS, **about)
    Incident.objects.filter(endpoint=endpoint, resolved_at=None).update(
        resolved_at=clock.now(), resolved_by=AUREUS.name
    )
    if found.state in policy_of(installation).incidents:
        text = f"{endpoint.name} of {installation} is {found.state.replace('_', ' ')}: {found.why}"
        Incident.objects.create(endpoint=endpoint, severity=Incident.Severity.WARNING, text=text)
