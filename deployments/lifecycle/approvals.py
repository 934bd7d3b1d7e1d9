"""One person's yes or no to one plan."""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction

from aureus import clock
from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, NotAllowed
from deployments.engine import decide as core
from deployments.engine.status import Outcome, Status
from deployments.lifecycle.ending import finish
from deployments.lifecycle.moves import locked, move, said_of
from deployments.models import Approval, Deployment
from deployments.snapshot import WAITING, policy_of


@transaction.atomic
def approve(deployment_id: UUID | str, *, actor: Actor, comment: str = "") -> Deployment:
    """One person's yes to the plan as it is now. The person who asked for it does not approve it."""
    deployment = _speaks(deployment_id, actor, comment, yes=True)
    needed = policy_of(deployment.installation).approvals
    said = deployment.approvals.filter(plan_hash=deployment.plan_hash, yes=True).count()
    if deployment.status == Status.AWAITING_APPROVAL and said >= needed:
        move(deployment, Status.PENDING, actor=actor, reason=f"approved by {said}", wake_at=clock.now(), hinted_at=None)
    return deployment


@transaction.atomic
def reject(deployment_id: UUID | str, *, actor: Actor, comment: str = "") -> Deployment:
    """One person's no: it ends the deployment."""
    deployment = _speaks(deployment_id, actor, comment, yes=False)
    because = f": {comment}" if comment else ""
    finish(deployment, core.Finish(Status.FAILED, f"rejected by {actor.name}{because}", Outcome.REJECTED), actor=actor)
    return deployment


def _speaks(deployment_id: UUID | str, actor: Actor, comment: str, *, yes: bool) -> Deployment:
    deployment = locked(deployment_id)
    if deployment.is_rollback or deployment.status not in WAITING:
        raise Conflict(f"nothing is to be approved: the deployment {said_of(deployment)}", code="not_waiting")
    if actor.answerable in (deployment.requested_by, deployment.answerable):
        raise NotAllowed("you asked for this deployment: somebody else has to approve it", code="self_approval")
    if actor.kind != "user":
        raise NotAllowed("only people approve, not API keys", code="not_a_person")
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
