"""The one writer of a deployment's status: guarded by the status it leaves, told by an event."""

from __future__ import annotations

from uuid import UUID

from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, NotFound
from deployments.engine.status import Outcome, Status
from deployments.models import Deployment, Incident


def locked(deployment_id: UUID | str) -> Deployment:
    """The deployment under its row lock. Raises NotFound."""
    try:
        return Deployment.objects.select_for_update().get(pk=deployment_id)
    except (Deployment.DoesNotExist, ValueError, TypeError):
        raise NotFound(f"there is no deployment {deployment_id}") from None


def move(
    deployment: Deployment,
    status: Status,
    *,
    actor: Actor,
    reason: str = "",
    outcome: Outcome | None = None,
    **columns: object,
) -> None:
    """Bring a deployment to another status. Raises Conflict where another writer was first."""
    before = deployment.status
    columns |= {"status": status.value, "reason": reason, "outcome": outcome.value if outcome else ""}
    if Deployment.objects.filter(pk=deployment.pk, status=before).update(**columns) != 1:
        raise Conflict(f"the deployment is no longer {before.replace('_', ' ')}: look at it again")
    for name, value in columns.items():
        setattr(deployment, name, value)
    about = {"before": before, "reason": reason}
    record(deployment.stream, f"deployment.{status}", actor, **about, **({"outcome": outcome.value} if outcome else {}))


def said_of(deployment: Deployment) -> str:
    """How it stands, as the end of a sentence."""
    why = f" ({deployment.reason})" if deployment.status == Status.FAILED else ""
    return f"is {deployment.status.replace('_', ' ')}{why}"


def page(deployment: Deployment, text: str, *, severity: str = Incident.Severity.CRITICAL) -> None:
    """Open an incident, once for each text: a person must look at this."""
    if not deployment.incidents.filter(text=text, resolved_at=None).exists():
        Incident.objects.create(deployment=deployment, severity=severity, text=text)
