"""The verb for after the database was restored to the past: hosts are ahead of our record, and may be believed."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection, transaction

from aureus import lease
from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, Invalid, NotFound
from deployments import identity, lifecycle
from deployments.contents import brought
from deployments.drivers import HostError
from deployments.engine.status import OPEN
from deployments.fleet import survey
from deployments.fleet.survey import Seen
from deployments.models import BalancerNode, Deployment, Endpoint, Environment, Installation, Pool
from deployments.outside import Outside
from releases.spec import number_of

MARGIN = 1000
"""Drawn at once while the sequence is raised, fences stay above all that was seen by this much."""


@dataclass(frozen=True, slots=True)
class Place:
    """One installation: what its hosts run, what the database believes is open there, and the balancer's weights."""

    installation: Installation
    seen: tuple[Seen, ...]
    open: tuple[Deployment, ...]
    weights: dict[str, int] | None
    unknown: frozenset[str]

    @property
    def differs(self) -> list[Seen]:
        """Hosts that run something else than our record says."""
        return [one for one in self.seen if one.runs is not None and one.runs != one.endpoint.recorded]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found. `fence`: the highest that any host or balancer saw; `known`: the highest that we gave."""

    places: tuple[Place, ...]
    balancers: tuple[tuple[BalancerNode, int, str], ...]
    fence: int
    known: int

    @property
    def unreached(self) -> list[str]:
        """Machines that were not asked: one of them may still know a higher fence."""
        hosts = [one.endpoint.host.name for place in self.places for one in place.seen if one.error]
        return sorted({*hosts, *(node.host.name for node, _, error in self.balancers if error)})

    @property
    def needed(self) -> bool:
        """The hosts are ahead of the database, or an installation is held or unproven."""
        held = any(place.installation.held or place.installation.unproven for place in self.places)
        return held or self.fence > self.known or any(place.differs for place in self.places)


def look(outside: Outside, *, environment: str = "") -> Recovery:
    """Compare every host and balancer with our record; nothing is changed but what was last observed."""
    if environment and not Environment.objects.filter(name=environment).exists():
        raise NotFound(f"there is no environment {environment}")
    identity.notice()
    chosen = Installation.objects.select_related("environment", "application", "balancer")
    installations = list(chosen.filter(environment__name=environment) if environment else chosen)
    places = tuple(_place(one, outside) for one in installations)
    nodes = BalancerNode.objects.filter(balancer__installations__in=installations).distinct()
    balancers = tuple(survey.fences_of_balancers(nodes.select_related("host__bastion", "balancer"), outside.hosts))
    fences = [one.fence for place in places for one in place.seen] + [fence for _, fence, _ in balancers]
    return Recovery(places, balancers, max(fences, default=0), lease.highest_fence())


def _place(installation: Installation, outside: Outside) -> Place:
    seen = tuple(survey.look(installation, outside.hosts))
    contents = {one.runs for one in seen if one.runs}
    unknown = frozenset(content for content in contents if brought(installation, content) is None)
    open_ones = installation.deployments.filter(status__in=OPEN).select_related("version__application")
    weights = _weights(installation, outside)
    return Place(installation, seen, tuple(open_ones), weights, unknown)


def _weights(installation: Installation, outside: Outside) -> dict[str, int] | None:
    """What the balancer really does; None without one, or where it does not say."""
    node = installation.balancer.nodes.select_related("host__bastion").first() if installation.balancer else None
    if node is None:
        return None
    try:
        return outside.traffic(node, installation).read()
    except HostError:
        return None


def accept(found: Recovery, *, actor: Actor, reason: str) -> None:
    """Believe the hosts: raise the fences above all they saw, take what they run as the record, and end the hold.

    What the restored database believes to be open is abandoned: it belongs to a past that has gone on without it.
    """
    if not reason.strip():
        raise Invalid("say why", errors=[("reason", "must not be empty")])
    _raise_fences(found.fence)
    for place in found.places:
        with transaction.atomic():
            _accept(place, actor, reason)
    if lease.highest_fence() < found.fence:
        raise Conflict("the fences could not be raised: run it again")
    record("fleet", "fleet.recovered", actor, reason=reason, fence=found.fence, before=found.known)


def _raise_fences(seen: int) -> None:
    """Never lower: what others draw meanwhile is above the old value by far less than the margin."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT setval('{lease.FENCES}', %s) FROM {lease.FENCES} WHERE last_value < %s", [seen + MARGIN, seen + 1]
        )


def _accept(place: Place, actor: Actor, reason: str) -> None:
    installation = place.installation
    for deployment in installation.deployments.filter(status__in=OPEN).order_by("created_at"):
        lifecycle.abandon(deployment.pk, actor=actor, reason=f"the database was restored to the past: {reason}")
    hosts = {}
    for one in place.seen:
        if one.runs is None:
            continue
        at_home = one.runs == one.belongs
        owed = "" if at_home else one.endpoint.owed
        endpoint = Endpoint.objects.filter(pk=one.endpoint.pk)
        endpoint.update(recorded=one.runs, owed=owed, owed_at=one.endpoint.owed_at if owed else None)
        hosts[one.endpoint.name] = {"recorded": one.endpoint.recorded, "runs": one.runs, "fence": one.fence}
    if place.weights and any(place.weights.values()):
        Pool.objects.update_or_create(installation=installation, defaults={"weights": place.weights})
    Installation.objects.filter(pk=installation.pk).update(held="")
    identity.believe(installation)
    installation.endpoints.update(look_at=None)
    stream = f"installation:{installation.pk}"
    was = {"was_held": installation.held, "was_unproven": installation.unproven}
    record(stream, "installation.recovered", actor, hosts=hosts, reason=reason, **was)


def advice(place: Place) -> str:
    """What to do after it was accepted; "" for nothing."""
    current = lifecycle.current_of(place.installation)
    runs = {one.runs for one in place.seen if one.runs}
    if place.unknown:
        numbers = ", ".join(sorted(number_of(content) for content in place.unknown))
        return f"register {numbers} again, which this database does not know, and deploy it"
    if current is None or runs - {current.content}:
        was = current.version.number if current else "nothing"
        return f"the newest deployment we know of is {was}: deploy what should run, or converge the hosts to it"
    return ""
