"""The verb that takes hand-installed hosts under Aureus, without a restart.

What a host proves by its health answer is prepared there, its slot is pointed at it, and the record says so. The
application runs on from wherever it runs; the next activation starts it from its release.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from django.db import transaction

from aureus import clock, lease
from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, Invalid, NotFound
from deployments import identity
from deployments.contents import Brought
from deployments.drivers import HostAddress, HostError, Site
from deployments.engine.status import OPEN, Status, TargetState
from deployments.lifecycle import current_of
from deployments.models import CONVERGENCE, Deployment, Endpoint, Installation, Pool, Target
from deployments.outside import Outside, address_of, files_of, site_of
from health.sources.probe import is_same
from releases import retention
from releases.models import Version
from releases.registry import seal
from releases.semver import NotSemVer, parse

SIDE_BY_SIDE = 16
SECONDS_TO_SEND = 600.0
ADOPTION = "adopt"
"""The strategy of a deployment that changed nothing: a person vouched for what ran there."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One endpoint: what it runs, what would be done, or why it is refused. `done`: it has been taken over."""

    endpoint: Endpoint
    runs: str = ""
    link: str = ""
    prepared: bool = False
    refused: str = ""
    healthy: bool = False
    done: bool = False

    @property
    def plan(self) -> str:
        """What is done there, in words."""
        if self.refused:
            return f"refused: {self.refused}"
        sent = "verify its release" if self.prepared else "send its release"
        linked = "its link is there already" if self.link else "point its link at it"
        return f"{sent}, {linked}, restart nothing"


@dataclass(frozen=True, slots=True)
class Adoption:
    """One installation, the version its hosts shall prove, and each of them."""

    installation: Installation
    version: Version
    found: tuple[Finding, ...]
    began: datetime
    deployment: Deployment | None = None

    @property
    def fit(self) -> list[Finding]:
        """Hosts that can be taken over."""
        return [one for one in self.found if not one.refused]

    @property
    def refused(self) -> list[Finding]:
        """Hosts that cannot."""
        return [one for one in self.found if one.refused]


def look(environment: str, application: str, number: str, outside: Outside, *, host: str = "") -> Adoption:
    """What would be adopted; nothing is changed. Raises NotFound, and Conflict where nothing may be adopted now."""
    installation = _installation(environment, application)
    version = _version(installation, number)
    began = clock.now()
    _demand(installation, version, began)
    endpoints = _endpoints(installation, host)
    known = lease.highest_fence()
    asked = [(one, address_of(one.host), site_of(one)) for one in endpoints]
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="adopt") as pool:
        found = tuple(pool.map(lambda one: _find(one, version, outside, known), asked))
    return Adoption(installation, version, found, began)


def adopt(found: Adoption, outside: Outside, *, actor: Actor, reason: str) -> Adoption:
    """Take over the hosts that can be, and record it. Raises Invalid, and Conflict where something has begun meanwhile.

    A host that fails is named in its finding and left as it was; the others are adopted.
    """
    if not reason.strip():
        raise Invalid("say why", errors=[("reason", "must not be empty")])
    if not found.fit:
        return found
    _demand(found.installation, found.version, found.began)
    fence = lease.next_fence()
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="adopt") as pool:
        take = partial(_take, found=found, outside=outside, fence=fence)
        after = tuple(pool.map(lambda one: one if one.refused else take(one), found.found))
    found = replace(found, found=after)
    taken = [one for one in after if one.done]
    return replace(found, deployment=_record(found, taken, actor, reason)) if taken else found


def _installation(environment: str, application: str) -> Installation:
    rows = Installation.objects.select_related("environment", "application", "balancer")
    found = rows.filter(environment__name=environment, application__key=application).first()
    if found is None:
        raise NotFound(
            f"{application} is not installed in an environment {environment}: declare it and run aureus apply"
        )
    return found


def _version(installation: Installation, number: str) -> Version:
    try:
        wanted = str(parse(number))
    except NotSemVer as error:
        raise Invalid(str(error), errors=[("version", str(error))]) from None
    rows = Version.objects.select_related("application", "artifact")
    found = rows.filter(application=installation.application_id, number=wanted).first()
    if found is None:
        raise NotFound(f"{installation.application} has no version {wanted}: register what the hosts run first")
    if found.withdrawn_at is not None:
        raise Conflict(f"version {wanted} was withdrawn: {found.withdrawn_reason}", code="withdrawn")
    return found


def _endpoints(installation: Installation, host: str) -> list[Endpoint]:
    living = installation.endpoints.filter(retired=False, host__state="active")
    chosen = living.filter(host__name=host) if host else living
    found = list(chosen.select_related("host__bastion", "installation__environment", "installation__application"))
    if not found:
        where = f"on a host {host}" if host else "on any host"
        raise NotFound(f"{installation} does not live {where}")
    return found


def _demand(installation: Installation, version: Version, began: datetime) -> None:
    """Raises Conflict where something else is at work there, was meanwhile, or the record says otherwise."""
    identity.demand(installation)
    retention.demand(version)
    row = Installation.objects.select_related("environment").get(pk=installation.pk)
    if why := row.held or row.environment.locked:
        raise Conflict(f"{installation} is held: {why}", code="held")
    here = Deployment.objects.filter(installation=installation).select_related("version__application")
    busy = here.filter(status__in=list(OPEN)).first() or here.filter(ended_at__gte=began).first()
    if busy is not None:
        raise Conflict(
            f"the deployment of {busy.version} ({busy.id}) is {busy.status.replace('_', ' ')}: adopt when nothing is "
            f"open there",
            code="busy",
        )
    current = current_of(installation)
    if current is not None and current.version_id != version.pk:
        raise Conflict(
            f"{installation} is on {current.version.number} by our record: bring hosts there with aureus converge, or "
            f"deploy {version.number}",
            code="other_version",
        )
    if current is not None and current.configuration is not None:
        raise Conflict(
            f"{installation} runs with configuration {current.configuration.number}, and what a person started does "
            f"not: bring the host there with aureus converge",
            code="configured",
        )
    if installation.version_proof != "health":
        raise Conflict(
            f"{installation} proves its version by {installation.version_proof}, and only a health answer proves what "
            f"a hand-installed application runs: declare version_proof: health",
            code="no_proof",
        )


def _find(asked: tuple[Endpoint, HostAddress, Site], version: Version, outside: Outside, known: int) -> Finding:
    endpoint, address, site = asked
    if not endpoint.host.fingerprint:
        return Finding(endpoint, refused=f"its key is not trusted yet: run aureus hosts trust {endpoint.host.name}")
    try:
        facts = outside.hosts.facts(address, site)
    except HostError as error:
        return Finding(endpoint, refused=error.sentence)
    installation = endpoint.installation
    url = endpoint.base_url + installation.health_path
    health = outside.ask(url, version.content, field=installation.version_field, timeout=5.0)
    # A number proves the number alone; of one number there is one registered content, which makes it enough.
    proven = health.healthy and health.version is not None and is_same(health.version, version.content)
    seen = Finding(endpoint, health.version or "", facts.current or "", version.content in facts.releases,
                   healthy=health.healthy)  # fmt: skip
    if facts.fence > known:
        return replace(seen, refused=f"it saw fence {facts.fence}, above every one we gave: run aureus recover")
    if facts.missing_tools:
        return replace(seen, refused=f"it lacks {', '.join(facts.missing_tools)}: install them")
    if not proven:
        return replace(seen, refused=f"it does not prove to run {version.number}: {health.why}")
    if facts.current not in (None, version.content):
        return replace(seen, refused=f"its link is on {facts.current}: run aureus converge, or deploy")
    return seen


def _take(one: Finding, *, found: Adoption, outside: Outside, fence: int) -> Finding:
    """Send the release and point the slot at it. A deployment that began meanwhile has a higher fence, and wins."""
    endpoint, content = one.endpoint, found.version.content
    address, site = address_of(endpoint.host), site_of(endpoint)
    key = f"adopt:{endpoint.pk}:{fence}"
    try:
        release = files_of(Brought(found.version), outside.store)
        outside.hosts.prepare(address, site, release, fence=fence, key=f"{key}:send", deadline=SECONDS_TO_SEND)
        outside.hosts.adopt(address, site, content, expected=one.link or None, fence=fence, key=key)
    except HostError as error:
        return replace(one, refused=error.sentence)
    return replace(one, done=True)


@transaction.atomic
def _record(found: Adoption, taken: Sequence[Finding], actor: Actor, reason: str) -> Deployment:
    """Our record of it: a deployment that was none, good by a person's word and by no window's verdict."""
    installation, version = found.installation, found.version
    Installation.objects.select_for_update().get(pk=installation.pk)
    _demand(installation, version, found.began)
    seal(version, actor=actor)
    current, now = current_of(installation), clock.now()
    told = f"adopted by {actor.name} because {reason}"
    deployment = Deployment(
        installation=installation,
        version=version,
        # Hosts that join a version which is deployed already complete it: a rollback of it covers them as well.
        strategy=CONVERGENCE if current else ADOPTION,
        retry_of=current,
        status=Status.DEPLOYED,
        reason=told,
        because=reason,
        requested_by=actor.name,
        answerable=actor.answerable,
        content=version.content,
        digest=version.digest,
        metadata={"adopted": True},
        started_at=now,
        deployed_at=now,
        ended_at=now,
        good_at=None if current else now,
    )
    deployment.save(force_insert=True)
    weights = Pool.objects.filter(installation=installation).values_list("weights", flat=True).first() or {}
    for one in taken:
        _record_host(deployment, one, weights, now)
    hosts = {one.endpoint.name: {"version": one.runs, "link": one.link} for one in taken}
    record(deployment.stream, "deployment.requested", actor, version=version.number, hosts=sorted(hosts))
    record(deployment.stream, "deployment.deployed", actor, adopted=True, reason=told)
    record(f"installation:{installation.pk}", "installation.adopted", actor, hosts=hosts, reason=reason,
           version=version.number, deployment=str(deployment.id))  # fmt: skip
    return deployment


def _record_host(deployment: Deployment, one: Finding, weights: dict[str, int], now: datetime) -> None:
    endpoint, content = one.endpoint, deployment.content
    balanced = deployment.installation.balancer_id is not None
    serving = weights.get(endpoint.name, 0) > 0 if balanced else True
    Target.objects.create(
        deployment=deployment, endpoint=endpoint, name=endpoint.name, from_content=content, to_content=content,
        claimed_at=now, serving=serving, observed=content, observed_at=now, state=TargetState.ON_TO,
        why="adopted: nothing was restarted",
    )  # fmt: skip
    Endpoint.objects.filter(pk=endpoint.pk).update(
        recorded=content, observed=content, observed_at=now, healthy=one.healthy, serving=serving, owed="",
        owed_at=None, look_at=None,
    )  # fmt: skip
