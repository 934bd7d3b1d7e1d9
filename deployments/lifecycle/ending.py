"""How a deployment ends, and the rollback that may begin in the same transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from django.db.models import Q, QuerySet

from aureus import clock
from aureus.journal.actor import AUREUS, Actor
from aureus.journal.models import record
from deployments import schema
from deployments.contents import Brought, brought
from deployments.engine import decide as core
from deployments.engine.status import OVER, Outcome, Status, StepStatus, TargetState
from deployments.lifecycle import rows, windows
from deployments.lifecycle.moves import move, page
from deployments.models import CONVERGENCE, Deployment, Endpoint, Installation, Step, Target
from deployments.proven import held_goods
from deployments.schema import Crossing
from deployments.snapshot import WAITING, back_for, facts_of


def finish(deployment: Deployment, action: core.Finish, *, actor: Actor = AUREUS) -> Deployment | None:
    """End it as decided; the rollback that this begins, where one does. The caller holds the lock."""
    now = clock.now()
    over = over_schema_change(deployment) if action.roll_back else None
    undone = action.roll_back and over is None and may_go_back(deployment)
    if not undone:
        _owe(deployment, core.left_behind(facts_of(deployment, now)), action.why)
    _open_steps(deployment).update(
        status=StepStatus.SKIPPED, lease_until=None, held=False, ended_at=now, reason="the deployment ended before it"
    )
    columns = {"ended_at": now, "wake_at": None, "paused_by": ""}
    if action.status is Status.DEPLOYED:
        columns["deployed_at"] = now
    move(deployment, action.status, actor=actor, reason=action.why, outcome=action.outcome, **columns)
    _wake_the_next(deployment)
    _record_fleet(deployment)
    if deployment.reverts is not None:
        _record_undone(deployment, deployment.reverts)
    if action.status is Status.DEPLOYED:
        _deployed(deployment, actor)
    if undone:
        return begin_rollback(deployment, reason=action.why, actor=actor)
    _without(deployment, action)
    return None


def _wake_the_next(deployment: Deployment) -> None:
    """Who waited behind it may go on now, however it ended."""
    waiting = deployment.installation.deployments.filter(status__in=WAITING)
    list(waiting.select_for_update().order_by("pk").values_list("pk"))
    waiting.update(wake_at=clock.now(), hinted_at=None)


def _open_steps(deployment: Deployment) -> QuerySet[Step]:
    return deployment.steps.exclude(status__in=OVER)


def _deployed(deployment: Deployment, actor: Actor) -> None:
    """What follows from success: the reverted one is rolled back, a window opens, owed hosts are told of."""
    if deployment.reverts_id is not None:
        origin = Deployment.objects.select_for_update().get(pk=deployment.reverts_id)
        if origin.status == Status.DEPLOYED:
            reason = f"rolled back to {deployment.brings}: {deployment.reason}"
            move(origin, Status.ROLLED_BACK, actor=actor, reason=reason)
    windows.open_after(deployment)
    for target in deployment.targets.filter(state=TargetState.OWED):
        page(deployment, f"{target.name} is owed: {target.why}", severity="warning")


def _without(deployment: Deployment, action: core.Finish) -> None:
    """A failure that nothing undoes is for people, unless people wanted it."""
    wanted = {Outcome.REJECTED, Outcome.CANCELLED, Outcome.SUPERSEDED, Outcome.STALE}
    touched = deployment.targets.filter(claimed_at__isnull=False).exists()
    if action.status is Status.FAILED and action.outcome not in wanted and touched:
        page(deployment, f"{deployment} ended as {action.outcome}: {action.why}.{_no_way_back(deployment)}")


def _no_way_back(deployment: Deployment) -> str:
    if deployment.is_rollback:
        return ""
    if over := over_schema_change(deployment):
        return f" Nothing goes back by itself: {over.sentence}."
    return " There is no way back: no version that proved good is to be had."


def not_undone(deployment: Deployment, what: str) -> None:
    """What would undo a deployment by itself does not: people are told, and what they can do."""
    over = None if deployment.is_rollback else over_schema_change(deployment)
    page(deployment, f"{deployment}: {what}{f'. {over.sentence}' if over else ''}")


def what_now(deployment: Deployment) -> str:
    """What a person can do about a step that failed and is held."""
    if over := over_schema_change(deployment):
        return f"Retry it once its cause is mended. Nothing goes back by itself: {over.sentence}."
    return "Retry it once its cause is mended, or abort."


def _owe(deployment: Deployment, names: Iterable[str], why: str) -> None:
    for target in deployment.targets.filter(name__in=list(names)):
        owe(deployment, target, why)


def owe(deployment: Deployment, target: Target, why: str, *, actor: Actor = AUREUS) -> None:
    """A host that could not be brought where it belongs: it serves nothing until it was converged."""
    now = clock.now()
    Target.objects.filter(pk=target.pk).update(state=TargetState.OWED, serving=False, why=why)
    Endpoint.objects.filter(pk=target.endpoint_id).update(owed=why or "it was changed and not proven", owed_at=now)
    record(deployment.stream, "target.owed", actor, host=target.name, why=why)


def _record_fleet(deployment: Deployment) -> None:
    """Our record of what every host of this deployment runs now, by what was proven. It is looked at soon."""
    deployment.installation.endpoints.update(look_at=None)
    for target in deployment.targets.filter(state=TargetState.ON_TO, claimed_at__isnull=False):
        Endpoint.objects.filter(pk=target.endpoint_id).update(recorded=target.to_content, owed="", owed_at=None)


def _record_undone(rollback: Deployment, origin: Deployment) -> None:
    """What the undone attempts say of their hosts: back where they belong, or owed."""
    forward = Q(reverts=None, created_at__gte=origin.created_at)
    attempts = rollback.installation.deployments.filter(forward | Q(pk=origin.pk))
    for state, words in ((TargetState.ON_TO, TargetState.ON_BACK), (TargetState.OWED, TargetState.OWED)):
        hosts = rollback.targets.filter(state=state, claimed_at__isnull=False).values("endpoint_id")
        undone = Target.objects.filter(deployment__in=attempts, endpoint__in=hosts, claimed_at__isnull=False)
        undone.update(state=words)


def _covered(deployment: Deployment, also: Deployment | None = None) -> list[Target]:
    """Every target whose activation was ever claimed, by this deployment, the one that ran beside it, or what
    completed it later.
    """
    found: dict[int, Target] = {}
    completed_by = deployment.retries.filter(strategy=CONVERGENCE).order_by("created_at")
    for origin in filter(None, (also, deployment, *completed_by)):
        claimed = origin.targets.filter(claimed_at__isnull=False).select_related("endpoint__host")
        for target in claimed.filter(endpoint__retired=False, endpoint__host__state="active"):
            found[target.endpoint_id] = target
    return list(found.values())


def may_go_back(deployment: Deployment) -> bool:
    """Whether some host that it changed has a place to go back to that is good still."""
    return any(_ways_back(deployment, _covered(deployment)).values())


def _ways_back(origin: Deployment, covered: Iterable[Target]) -> dict[str, str]:
    """Where each host goes: as planned, unless that was undone or withdrawn since; "" where there is no way back.

    A host that was only taken out of the balancer keeps what it runs.
    """
    covered, proven = list(covered), held_goods(origin.installation)
    planned = {t.name: t.back_content for t in origin.targets.all()}
    relieved = rows.left_by(origin)
    if not relieved <= {t.name for t in covered}:
        relieved = set()  # single hosts of it: they stay like the others
    activated = _activated({origin.pk, *(t.deployment_id for t in covered)})
    found = {}
    for target in covered:
        back = planned.get(target.name) or target.back_content
        good = back if back in proven else back_for(proven, running="", to_content=target.to_content)
        # The side that served is gone back to as a whole, and as any version only where it is good.
        keeps = target.name not in activated and (target.name not in relieved or target.from_content in proven)
        found[target.name] = (target.from_content if keeps else "") or good
    return found


def over_schema_change(
    origin: Deployment, also: Deployment | None = None, to_content: str | None = None
) -> Crossing | None:
    """The schema change that undoing it would take code back over, on hosts that changed or lost their traffic."""
    covered = _covered(origin, also)
    moved = rows.left_by(origin) | _activated({origin.pk, *(t.deployment_id for t in covered)})
    # A host that was only taken out keeps what it runs, unless all are to go to one content. What an owed one runs is
    # not known, since work on it may have gone on after it was abandoned.
    moved |= {t.name for t in covered if t.endpoint.owed or (to_content and t.from_content != to_content)}
    backs = _ways_back(origin, covered)
    to = {to_content or back for name, back in backs.items() if name in moved}
    return schema.crossing(origin.installation, to - {""})


def _activated(deployments: Collection[UUID]) -> frozenset[str]:
    steps = Step.objects.filter(deployment__in=deployments, kind="activate", attempts__gt=0)
    return frozenset(steps.values_list("target", flat=True))


def under_way_beside(deployment: Deployment) -> Deployment | None:
    """Lock the installation, and before it whatever else is under way there; that deployment.

    Deployments come before their installation, as everywhere: two orders would be a deadlock.
    """
    here = Deployment.objects.filter(installation=deployment.installation_id, status=Status.IN_PROGRESS)
    others = here.exclude(pk=deployment.pk)
    list(others.select_for_update().order_by("pk"))
    Installation.objects.select_for_update().get(pk=deployment.installation_id)
    return others.select_for_update().first()


def undo(deployment: Deployment, *, reason: str, actor: Actor) -> Deployment | None:
    """Begin the automatic rollback of what was deployed; None where it has no way back, or one that only a person may
    take. The caller holds its lock.

    What is under way beside it, a convergence, ends: a rollback takes its place and covers what it touched.
    """
    beside = under_way_beside(deployment)
    if not may_go_back(deployment) or (beside is not None and beside.is_rollback):
        return None
    if over_schema_change(deployment, beside) is not None:
        return None
    if beside is not None:
        make_room(beside, actor, reason)
    return begin_rollback(deployment, reason=reason, actor=actor, also=beside)


def make_room(active: Deployment, actor: Actor, reason: str) -> None:
    """End what is under way: a rollback takes its place."""
    why = f"a rollback by {actor.name} took its place: {reason}"
    finish(active, core.Finish(Status.FAILED, why, Outcome.SUPERSEDED), actor=actor)


def begin_rollback(
    origin: Deployment,
    *,
    reason: str,
    actor: Actor,
    also: Deployment | None = None,
    to_content: str | None = None,
) -> Deployment:
    """A deployment of its own that undoes another, begun at once. The caller holds the locks and has ended `also`.

    to_content: where every host goes; without it each goes to its own way back.
    """
    Installation.objects.select_for_update().get(pk=origin.installation_id)
    now = clock.now()
    covered = _covered(origin, also)
    backs = _ways_back(origin, covered)
    to = {name: to_content or back for name, back in backs.items()}
    activated = _activated({origin.pk, *(t.deployment_id for t in covered)})
    goal = _most_of(origin, filter(None, _serving_then(origin, to)))
    version = goal.version
    rollback = Deployment(
        installation=origin.installation,
        version=version,
        configuration=goal.configuration,
        content=goal.content,
        strategy="rollback",
        reverts=origin,
        requested_by=actor.name,
        digest=version.digest,
        lane="rollback",
        because=reason,
        wake_at=now,
    )
    stages, targets = rows.undoing(rollback, covered, to, activated, now)
    rollback.save(force_insert=True)
    rows.write(rollback, stages, targets, now)
    rollback.refresh_from_db(fields=["created_at"])
    windows.close_for_rollback(origin, reason)
    record(
        rollback.stream,
        "deployment.requested",
        actor,
        version=version.number,
        content=goal.content,
        reverts=str(origin.id),
        reason=reason,
    )
    move(rollback, Status.IN_PROGRESS, actor=actor, reason=reason, started_at=now)
    page(origin, f"{origin} is being rolled back to {rollback.brings}: {reason}")
    return rollback


def _serving_then(origin: Deployment, to: Mapping[str, str]) -> list[str]:
    """What the hosts that serve afterwards run: of two sides the other one."""
    endpoints = rows.endpoints_of(origin.installation)
    if not rows.sides(endpoints):
        return list(to.values())
    left = rows.served_by(origin)
    return [to.get(e.name, e.recorded) for e in endpoints if e.name not in left]


def _most_of(origin: Deployment, contents: Iterable[str]) -> Brought:
    """The version and configuration most hosts go back to; a content that we do not know is none."""
    for content, _ in Counter(contents).most_common():
        if (known := brought(origin.installation, content)) is not None:
            return known
    return Brought(origin.version, origin.configuration)
