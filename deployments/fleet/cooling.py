"""Of two sides the one that served is stopped when its warm time is over. A rollback after that starts it first."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from aureus import clock, lease
from aureus.journal.actor import AUREUS
from aureus.journal.models import record
from aureus.journal.plain import plain
from deployments import identity
from deployments.contents import current_of
from deployments.drivers import HostError
from deployments.engine.status import Status
from deployments.engine.strategies import SIDES
from deployments.models import Deployment, Endpoint, Installation, Pool
from deployments.outside import Outside, address_of, site_of
from deployments.snapshot import policy_of
from health.models import Window

AGAIN = timedelta(minutes=5)
"""Between two tries at a host that could not be asked, or whose command failed."""


def cool_due(outside: Outside) -> int:
    """Stop every side whose warm time is over; how many endpoints were stopped."""
    sided = Installation.objects.filter(endpoints__slot__in=SIDES, endpoints__serving=True, endpoints__retired=False)
    return sum(_cool(installation, outside) for installation in sided.select_related("environment").distinct())


def _cool(installation: Installation, outside: Outside) -> int:
    warm = policy_of(installation).warm
    if warm is None:
        return 0
    current = current_of(installation)
    if current is None or not _is_over(current, timedelta(seconds=warm)):
        return 0
    resting = _resting(installation, current)
    # Looked at once more under the fence: whatever begins after that acts under a higher one, and wins.
    fence = lease.next_fence() if resting else 0
    if not resting or current_of(installation) != current or not _is_over(current, timedelta(seconds=warm)):
        return 0
    return sum(_stop(endpoint, outside, fence) for endpoint in resting)


def _is_over(current: Deployment, warm: timedelta) -> bool:
    """The time has passed, nothing is under way, and no window is open that might still send traffic back."""
    if current.deployed_at is None or clock.now() < current.deployed_at + warm:
        return False
    busy = current.installation.deployments.filter(status=Status.IN_PROGRESS).exists()
    watched = Window.objects.filter(subject=current.id, closed_at=None).exists()
    return not busy and not watched and not identity.now_and_doubt(current.installation_id)[1]


def _resting(installation: Installation, current: Deployment) -> list[Endpoint]:
    """Those that rest by the plan, by the record and by the weights; once, unless they were started since."""
    names = set(current.targets.filter(resting=True).values_list("name", flat=True))
    pool = Pool.objects.filter(installation=installation).first()
    weights = pool.weights if pool else {}
    idle = installation.endpoints.filter(retired=False, serving=False, cooled_at=None).exclude(recorded="")
    found = idle.select_related("host__bastion", "installation")
    return [e for e in found if e.name in names and not weights.get(e.name) and not _tried(e)]


def _tried(endpoint: Endpoint) -> bool:
    tried = endpoint.cool_tried_at
    return tried is not None and clock.now() < tried + AGAIN


def _stop(endpoint: Endpoint, outside: Outside, fence: int) -> bool:
    """One service. A host that does not let us is tried again later; nobody is served from it."""
    why = ""
    try:
        outside.hosts.cool(address_of(endpoint.host), site_of(endpoint), fence=fence, key=f"cool-{endpoint.pk}-{fence}")
    except HostError as error:
        why = plain(error.sentence)[:500]
    with transaction.atomic():
        now = clock.now()
        done = {"cool_tried_at": now} if why else {"cooled_at": now, "cool_tried_at": None}
        Endpoint.objects.filter(pk=endpoint.pk).update(**done)
        if not why or endpoint.cool_tried_at is None:
            kind = "endpoint.not_cooled" if why else "endpoint.cooled"
            record(f"installation:{endpoint.installation_id}", kind, AUREUS, host=endpoint.name, why=why)
    return not why
