"""Bring single hosts where the current deployment belongs: a deployment of its own that completes that one."""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction

from aureus import clock
from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict
from deployments import identity, schema
from deployments.contents import current_of
from deployments.engine.plan_back import plan_rollback
from deployments.engine.status import Status, TargetState
from deployments.lifecycle import accepting, rows
from deployments.lifecycle.moves import move
from deployments.models import CONVERGENCE, Deployment, Installation, Target
from deployments.proven import held_within_reach
from deployments.snapshot import back_for, policy_of


def belongs(current: Deployment) -> dict[str, str]:
    """The content of each endpoint by the current deployment; an endpoint that it did not know has what it brought."""
    # A rollback may have brought hosts to different versions, each to its own way back; the side that rests keeps its.
    kept = [t for t in current.targets.all() if t.to_content and (current.is_rollback or t.resting)]
    own = {t.name: t.to_content for t in kept}
    here = rows.endpoints_of(current.installation)
    return {e.name: own.get(e.name, current.content) for e in here}


@transaction.atomic
def converge(
    installation: Installation,
    names: Collection[str],
    *,
    actor: Actor,
    reason: str,
    accept_schema_change: bool = False,
) -> Deployment:
    """Begin to bring these endpoints where they belong. No approval: it is the version that was approved for them.

    A host that cannot be brought there is owed, and changes nothing for the others. Raises Conflict, also where code
    would be taken back over a schema change of one way and nobody accepts that.
    """
    Installation.objects.select_for_update().get(pk=installation.pk)
    current = _current(installation)
    where = belongs(current)
    endpoints = rows.endpoints_of(installation)
    moved = {where[e.name] for e in endpoints if e.name in names and (e.observed or e.recorded) != where[e.name]}
    over = schema.crossing(installation, moved)
    accepting.demand(over, accepted=accept_schema_change, actor=actor)
    now = clock.now()
    deployment = Deployment(
        installation=installation,
        version=current.version,
        configuration=current.configuration,
        content=current.content,
        strategy=CONVERGENCE,
        retry_of=current,
        requested_by=actor.name,
        digest=current.version.digest,
        lane="rollback",
        reason=reason,
        wake_at=now,
    )
    site = rows.site_of(installation, endpoints, policy_of(installation))
    resting = rows.left_by(current)
    # Of two sides the whole one that should serve is given its traffic back, or is owed.
    idle = [e.name for e in endpoints if site.sides and not (e.serving or e.name in resting or e.name in names)]
    covered = {*names, *idle}
    others_serve = any(e.serving and e.name not in covered for e in endpoints)
    astray = [e.name for e in sorted(endpoints, key=lambda e: e.serving) if e.name in covered]
    stages = plan_rollback(site, astray, untouched_serve=others_serve, kept=idle, resting=resting)
    deployment.save(force_insert=True)
    rows.write(deployment, stages, _targets(deployment, current, covered), now)
    deployment.refresh_from_db(fields=["created_at"])
    record(deployment.stream, "deployment.requested", actor, version=current.version.number, hosts=sorted(names))
    accepting.tell(deployment, over, actor=actor)
    move(deployment, Status.IN_PROGRESS, actor=actor, reason=reason, started_at=now)
    return deployment


def _current(installation: Installation) -> Deployment:
    where = f"{installation.application} in {installation.environment}"
    if why := installation.held or installation.environment.locked:
        raise Conflict(f"{where} is held: {why}", code="held")
    identity.demand(installation)
    active = installation.deployments.filter(status=Status.IN_PROGRESS).first()
    if active is not None:
        raise Conflict(f"{where} has the deployment {active.id} under way: let it end first", code="busy")
    current = current_of(installation)
    if current is None:
        raise Conflict(f"nothing is deployed for {where}: deploy a version", code="nothing_deployed")
    if current.version.withdrawn_at is not None:
        raise Conflict(f"{where} runs {current.version.number}, which was withdrawn: deploy another", code="withdrawn")
    return current


def _targets(deployment: Deployment, current: Deployment, names: Collection[str]) -> list[Target]:
    """Those astray are changed from now on; the others only count as serving."""
    where, proven, resting = belongs(current), held_within_reach(deployment.installation), rows.left_by(current)
    now = clock.now()
    return [
        Target(
            deployment=deployment,
            endpoint=e,
            name=e.name,
            from_content=e.observed or e.recorded,
            back_content=back_for(proven, running="", to_content=where[e.name]),
            to_content=where[e.name],
            claimed_at=now if e.name in names else None,
            serving=e.serving,
            state=TargetState.CHANGED if e.name in names else TargetState.UNTOUCHED,
            resting=e.name in resting,
        )
        for e in rows.endpoints_of(deployment.installation)
    ]
