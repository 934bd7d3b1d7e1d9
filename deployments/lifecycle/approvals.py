"""One person's yes or no to one plan."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import IntegrityError, transaction

from aureus import clock
from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, Invalid, NotAllowed
from deployments.engine import decide as core
from deployments.engine.status import Outcome, Status
from deployments.lifecycle.ending import finish
from deployments.lifecycle.moves import locked, move, said_of
from deployments.models import Approval, Deployment
from deployments.snapshot import WAITING, policy_of, standing


@transaction.atomic
def approve(deployment_id: UUID | str, *, actor: Actor, comment: str = "", plan_hash: str = "") -> Deployment:
    """One person's yes to the plan as it is now. The person who asked for it does not approve it.

    plan_hash: the plan that this person saw; a yes to another one than it is now is refused.
    """
    deployment = _speaks(deployment_id, actor, comment, yes=True, saw=plan_hash)
    now, policy = clock.now(), policy_of(deployment.installation)
    needed = policy.needs(deployment.risk)
    said = standing(deployment, needed, policy, now).count
    if deployment.status == Status.AWAITING_APPROVAL and said >= needed:
        move(deployment, Status.PENDING, actor=actor, reason=f"approved by {said}", wake_at=now, hinted_at=None)
    return deployment


@transaction.atomic
def reject(deployment_id: UUID | str, *, actor: Actor, comment: str) -> Deployment:
    """One person's no, with the reason: it ends the deployment."""
    if not comment.strip():
        raise Invalid("say why you reject it", errors=[("comment", "must not be empty")])
    deployment = _speaks(deployment_id, actor, comment, yes=False)
    why = f"rejected by {actor.name}: {comment}"
    finish(deployment, core.Finish(Status.FAILED, why, Outcome.REJECTED), actor=actor)
    return deployment


def _speaks(deployment_id: UUID | str, actor: Actor, comment: str, *, yes: bool, saw: str = "") -> Deployment:
    deployment = locked(deployment_id)
    if deployment.is_rollback or deployment.status not in WAITING:
        raise Conflict(f"nothing is to be approved: the deployment {said_of(deployment)}", code="not_waiting")
    if actor.answerable in (deployment.requested_by, deployment.answerable):
        raise NotAllowed("you asked for this deployment: somebody else has to approve it", code="self_approval")
    if actor.kind != "user":
        raise NotAllowed("only people approve, not API keys", code="not_a_person")
    if saw and saw != deployment.plan_hash:
        raise Conflict(
            "the plan has changed since you looked at it: look at it again before you say yes", code="plan_changed"
        )
    _renew(deployment, actor)
    try:
        with transaction.atomic():
            Approval.objects.create(
                deployment=deployment, plan_hash=deployment.plan_hash, by=actor.name, yes=yes, comment=comment
            )
    except IntegrityError:
        raise Conflict("you have already said your yes or no to this plan", code="already_said") from None
    word = "approved" if yes else "rejected"
    record(deployment.stream, f"deployment.{word}", actor, plan_hash=deployment.plan_hash, comment=comment)
    return deployment


def _renew(deployment: Deployment, actor: Actor) -> None:
    """What this person said has expired, and makes room for what is said now."""
    now = clock.now()
    lives = timedelta(seconds=policy_of(deployment.installation).approval_expires)
    mine = deployment.approvals.filter(plan_hash=deployment.plan_hash, by=actor.name, renewed_at=None)
    mine.filter(at__lte=now - lives).update(renewed_at=now)
