"""What people say to a deployment that is open: pause, resume, abort, abandon, retry, exclude; and roll back."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q

from aureus import clock
from aureus.journal.actor import Actor
from aureus.journal.models import Event, record
from aureus.journal.refusals import Conflict, Invalid
from deployments import identity
from deployments.contents import current_of
from deployments.engine import decide as core
from deployments.engine.status import OPEN, OVER, Outcome, Status, StepStatus, TargetState
from deployments.lifecycle import accepting
from deployments.lifecycle.ending import (
    begin_rollback,
    finish,
    make_room,
    may_go_back,
    over_schema_change,
    owe,
    under_way_beside,
)
from deployments.lifecycle.moves import locked, said_of
from deployments.lifecycle.requests import retry_ended
from deployments.lifecycle.rows import endpoints_of
from deployments.lifecycle.windows import close_step
from deployments.models import Deployment, Step, Target
from deployments.proven import held_goods
from health.models import Window
from releases import retention

WAITS = ("watch", "confirm", "rest")
"""Kinds of step in which nothing is changed: time, people or a verdict are waited for."""
SUCCEEDED_OR_OPEN = [*OPEN, Status.DEPLOYED]


@transaction.atomic
def pause(deployment_id: UUID | str, *, actor: Actor, reason: str = "") -> Deployment:
    """No new step starts until somebody resumes; what runs goes on to its end."""
    deployment = _open(deployment_id)
    if deployment.is_rollback:
        raise Conflict("a rollback is not paused: abandon it if it must end", code="rollback")
    if deployment.paused_by:
        raise Conflict(f"{deployment.paused_by} has paused it already", code="already_paused")
    _not_aborting(deployment)
    _write(deployment, actor, "paused", reason, paused_by=actor.name, pause_reason=reason)
    return deployment


@transaction.atomic
def resume(deployment_id: UUID | str, *, actor: Actor, reason: str = "") -> Deployment:
    """Go on where it was paused, and with what was held for a person."""
    deployment = _open(deployment_id)
    _not_aborting(deployment)
    held = deployment.steps.filter(status=StepStatus.PENDING, held=True)
    if not deployment.paused_by and not held.exists():
        raise Conflict(f"it is not paused and nothing of it is held{_last_word(deployment)}", code="not_paused")
    if not deployment.paused_by:
        _release(list(held))
    _write(deployment, actor, "resumed", reason, paused_by="", pause_reason="")
    return deployment


@transaction.atomic
def abort(deployment_id: UUID | str, *, actor: Actor, reason: str) -> Deployment:
    """Stop: before the start it is cancelled, while it prepares it just ends, afterwards what was changed goes back."""
    deployment = _open(deployment_id)
    _demand(reason)
    if deployment.is_rollback:
        raise Conflict("a rollback is not aborted: abandon it if it must end", code="rollback")
    if deployment.abort_reason:
        raise Conflict(f"it is being aborted already: {deployment.abort_reason}", code="aborting")
    if deployment.status == Status.IN_PROGRESS and not deployment.steps.exclude(status__in=OVER).exists():
        raise Conflict("every step has passed: use rollback", code="too_late")
    _write(deployment, actor, "abort_asked", reason, abort_reason=f"aborted by {actor.name}: {reason}", paused_by="")
    return deployment


@transaction.atomic
def abandon(deployment_id: UUID | str, *, actor: Actor, reason: str) -> Deployment:
    """End anything, now. What it changed and did not prove is owed; what still runs on hosts may go on for a while."""
    deployment = _open(deployment_id)
    _demand(reason)
    why = f"abandoned by {actor.name}: {reason}"
    finish(deployment, core.Finish(Status.FAILED, why, Outcome.ABANDONED), actor=actor)
    return deployment


@transaction.atomic
def retry(deployment_id: UUID | str, *, actor: Actor, reason: str = "") -> Deployment:
    """Run a held step of an open deployment again; of a failed one, a new deployment with the same wish."""
    deployment = locked(deployment_id)
    if deployment.status == Status.FAILED:
        return retry_ended(deployment, actor=actor)
    if deployment.status not in OPEN:
        raise Conflict(f"there is nothing to retry: it {said_of(deployment)}", code="not_failed")
    _not_aborting(deployment)
    not_yet = Q(held=True) | Q(failures__gt=0) | Q(not_before__gt=clock.now())
    waiting = list(deployment.steps.filter(not_yet, status=StepStatus.PENDING, attempts__gt=0))
    if not waiting:
        raise Conflict(f"no step of it is held or waits to be tried again{_last_word(deployment)}", code="nothing_held")
    _release(waiting)
    _write(deployment, actor, "retried", reason)
    return deployment


@transaction.atomic
def promote_full(deployment_id: UUID | str, *, actor: Actor, reason: str) -> Deployment:
    """Go on to the end without being watched on the way: no bake, no rest, no more waiting for a person.

    Every host is proven healthy still, one batch after the other, and the window after `deployed` watches as ever.
    """
    deployment = _open(deployment_id)
    _demand(reason)
    if deployment.status != Status.IN_PROGRESS:
        raise Conflict("it has not started", code="not_started")
    _not_aborting(deployment)
    left = deployment.steps.filter(kind__in=WAITS, status__in=(StepStatus.PENDING, StepStatus.RUNNING))
    if not left.exists():
        raise Conflict(f"nothing of it would still be waited for{_last_word(deployment)}", code="nothing_held")
    why = f"skipped by {actor.name}: {reason}"
    for window in Window.objects.select_for_update().filter(pk__in=left.values("window"), closed_at=None):
        close_step(window, why)
    left.update(status=StepStatus.SKIPPED, lease_until=None, held=False, ended_at=clock.now(), reason=why)
    _write(deployment, actor, "promoted_full", reason)
    return deployment


@transaction.atomic
def exclude(deployment_id: UUID | str, *, actor: Actor, host: str, reason: str) -> Deployment:
    """Go on without a host: it is owed, and nothing more of this deployment begins on it. What runs there may end."""
    deployment = _open(deployment_id)
    _demand(reason)
    if deployment.status != Status.IN_PROGRESS:
        raise Conflict("it has not started: retire the host, or exclude it once it has", code="not_started")
    _not_aborting(deployment)
    target = _excludable(deployment, host)
    # What has not been touched yet is covered as well: a rollback has to look whether it serves.
    Target.objects.filter(pk=target.pk, claimed_at=None).update(claimed_at=clock.now())
    owe(deployment, target, f"excluded by {actor.name}: {reason}", actor=actor)
    left = deployment.steps.filter(status=StepStatus.PENDING, target=target.name)
    left.update(status=StepStatus.SKIPPED, held=False, ended_at=clock.now(), reason=f"{target.name} was excluded")
    # Nobody counts on it any more; that somebody serves is counted on still.
    deployment.stages.filter(min_serving__gt=1).update(min_serving=F("min_serving") - 1)
    _write(deployment, actor, "excluded", reason, about={"host": target.name})
    return deployment


def _excludable(deployment: Deployment, host: str) -> Target:
    """The part of a host that may be left out. Raises Invalid, Conflict."""
    parts = {t.name: t for t in deployment.targets.all()}
    target = parts.get(host)
    if target is None:
        known = ", ".join(sorted(parts))
        raise Invalid(f'no host of it is called "{host}"; there is: {known}', errors=[("host", f"one of {known}")])
    if target.state == TargetState.OWED:
        raise Conflict(f"{host} is owed already: {target.why}", code="already_owed")
    if target.claimed_at is None and (deployment.is_rollback or deployment.is_convergence):
        raise Conflict(f"{host} has no part in it", code="no_part")
    if target.state == TargetState.ON_TO and target.serving:
        raise Conflict(f"{host} has arrived already and serves", code="arrived")
    others = [t for t in parts.values() if t.name != host and t.state != TargetState.OWED]
    if target.serving and not any(t.serving for t in others):
        raise Conflict(f"{host} is the last host that serves: it stays in", code="last_serving")
    if not any(t.claimed_at or not deployment.is_rollback for t in others):
        raise Conflict(f"{host} is the last host of it: abort or abandon it instead", code="last_host")
    return target


@transaction.atomic
def roll_back(
    deployment_id: UUID | str,
    *,
    actor: Actor,
    reason: str,
    target_version: str | None = None,
    accept_schema_change: bool = False,
) -> tuple[Deployment, bool]:
    """Undo a deployment; (the rollback, whether it is a new one). Never held by gates, freezes, approvals or a queue.

    Asking twice gives the same rollback while it is open or has succeeded. A deployment that is running when the
    current one is rolled back ends, and the rollback covers what either of them touched. Over a schema change of one
    way it is refused unless the person accepts that.
    """
    _demand(reason)
    deployment = locked(deployment_id)
    if deployment.is_convergence:
        raise Conflict(
            f"it only brought hosts where they belong: roll back {deployment.retry_of_id}", code="convergence"
        )
    beside = under_way_beside(deployment)
    identity.demand(deployment.installation)
    known = deployment.rollbacks.filter(status__in=SUCCEEDED_OR_OPEN).first()
    if known is not None:
        return known, False
    active = deployment if deployment.status == Status.IN_PROGRESS else beside
    if active is not None and active.is_rollback:
        asked = f"{active.requested_by} asked for it"
        raise Conflict(f"a rollback is under way already: {active.id} ({asked})", code="rollback_open")
    to = _where_to(deployment, active, target_version)
    over = over_schema_change(deployment, beside, to)
    accepting.demand(over, accepted=accept_schema_change, actor=actor)
    if active is not None:
        make_room(active, actor, reason)
    deployment.refresh_from_db()
    rollback = begin_rollback(deployment, reason=reason, actor=actor, also=beside, to_content=to)
    accepting.tell(rollback, over, actor=actor)
    return rollback, True


def _where_to(deployment: Deployment, active: Deployment | None, target_version: str | None) -> str | None:
    """The content to go to; None: every host its own way back. Raises Conflict with the reason where there is none."""
    _is_current(deployment, active)
    if not endpoints_of(deployment.installation):
        raise Conflict("every host of it was retired: there is nowhere to go back on", code="no_hosts")
    if target_version is not None:
        return _named(deployment, target_version)
    running = deployment.content
    proven = [content for content in held_goods(deployment.installation) if content != running]
    if deployment.status == Status.IN_PROGRESS:
        if not deployment.targets.filter(claimed_at__isnull=False).exists():
            raise Conflict("it has changed no host yet: abort it", code="nothing_changed")
        if may_go_back(deployment):
            return None
    if not proven:
        raise Conflict(
            f"there is no way back from {deployment.version.number}: no earlier version passed its monitoring window "
            f"here. Name one that served here as targetVersion, or deploy a mended version",
            code="no_good_version",
        )
    return proven[0]


def _is_current(deployment: Deployment, active: Deployment | None) -> None:
    current = current_of(deployment.installation)
    if deployment in (current, active):
        return
    named = f"the current one is {current.id} ({current.version.number})" if current else "nothing is deployed there"
    raise Conflict(
        f"this deployment {said_of(deployment)} and is not the current one of "
        f"{deployment.installation.environment}: {named}",
        code="not_current",
        about={"current": str(current.id) if current else None},
    )


def _named(deployment: Deployment, number: str) -> str:
    """A person may name any content that served there without a failed verdict."""
    served = Deployment.objects.filter(
        installation=deployment.installation_id, version__number=number.removeprefix("v"), version__withdrawn_at=None
    ).exclude(pk__in=Window.objects.filter(verdict=Window.Verdict.FAIL).values("subject"))
    served = served.filter(status=Status.DEPLOYED).select_related("version").order_by("-deployed_at")
    fine = served.exclude(content=deployment.content).first()
    if fine is None and served.exists():
        raise Invalid(f"{number} is what runs now", errors=[("targetVersion", "name another version")])
    if fine is None:
        raise Conflict(
            f"{number} never served in {deployment.installation.environment} without being undone or failing its "
            f"monitoring window, or was withdrawn",
            code="never_served",
        )
    retention.demand(fine.version)
    return fine.content


def _open(deployment_id: UUID | str) -> Deployment:
    deployment = locked(deployment_id)
    if deployment.status not in OPEN:
        is_now = deployment.status.replace("_", " ")
        raise Conflict(f"the deployment is {is_now}: {deployment.reason}", code="ended")
    return deployment


def _not_aborting(deployment: Deployment) -> None:
    """What is being aborted only comes to its end: nobody lets it go on, or changes how."""
    if deployment.abort_reason:
        raise Conflict(f"it is being aborted: {deployment.abort_reason}", code="aborting")


LET_GO_ON = {
    "deployment.resumed": "resumed it",
    "deployment.retried": "retried it",
    "deployment.promoted_full": "promoted it in full",
    "deployment.excluded": "excluded a host of it",
}


def _last_word(deployment: Deployment) -> str:
    """Who let it go on last, for whoever came too late."""
    last = Event.objects.filter(stream=deployment.stream, kind__in=LET_GO_ON).order_by("-seq").first()
    return f": {last.actor} has {LET_GO_ON[last.kind]}" if last else ""


def _demand(reason: str) -> None:
    if not reason.strip():
        raise Invalid("say why", errors=[("reason", "must not be empty")])


def _write(
    deployment: Deployment,
    actor: Actor,
    word: str,
    reason: str,
    *,
    about: Mapping[str, object] | None = None,
    **columns: object,
) -> None:
    now = clock.now()
    Deployment.objects.filter(pk=deployment.pk).update(**columns, wake_at=now, hinted_at=None)
    for name, value in {**columns, "wake_at": now}.items():
        setattr(deployment, name, value)
    record(deployment.stream, f"deployment.{word}", actor, reason=reason, **(about or {}))


def _release(steps: list[Step]) -> None:
    """Let waiting steps run at once, with a fresh deadline and no record of failures. A bake that failed is
    watched anew where it was held.
    """
    chosen = Step.objects.filter(pk__in=[s.pk for s in steps])
    failed = Window.objects.filter(verdict=Window.Verdict.FAIL)
    chosen.filter(kind="watch", held=True, window__in=failed).update(window=None)
    chosen.update(held=False, not_before=clock.now(), deadline_at=None, failures=0, failing_since=None)
