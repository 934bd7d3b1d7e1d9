"""The rows that views show: only those of environments the actor may see, with all they need in few queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery, prefetch_related_objects

from aureus.journal.actor import EVERYWHERE, Actor
from aureus.journal.refusals import Invalid, NotFound
from deployments.engine.status import Status
from deployments.models import MAY_BE_CURRENT, Deployment, Environment, Installation
from health.models import Window


def environments(actor: Actor) -> QuerySet[Environment]:
    """Those in which the actor holds a role."""
    rows = Environment.objects.all()
    return rows if actor.roles.get(EVERYWHERE) else rows.filter(name__in=[n for n, held in actor.roles.items() if held])


def deployments() -> QuerySet[Deployment]:
    """With what every representation of a deployment reads."""
    parts = ("installation__environment", "version__application", "configuration")
    return Deployment.objects.select_related(*parts).defer("version__spec", "configuration__variables", "intent")


def one(deployment_id: UUID) -> Deployment:
    """A deployment as it is shown. Raises NotFound."""
    found = bare(deployment_id)
    prefetch_related_objects([found], "targets", "approvals", "overrides", "glasses")
    dress([found])
    return found


def bare(deployment_id: UUID) -> Deployment:
    """A deployment that is judged and not shown. Raises NotFound."""
    found = deployments().defer(None).defer("configuration__variables").filter(pk=deployment_id).first()
    if found is None:
        raise NotFound(f"there is no deployment {deployment_id}")
    return found


def matching(actor: Actor, asked: dict[str, str]) -> QuerySet[Deployment]:
    """The deployments of a list's filters. Raises Invalid."""
    places = Installation.objects.filter(environment__in=environments(actor))
    if name := asked.get("environment"):
        places = places.filter(environment__name=name)
    if key := asked.get("workflowId"):
        places = places.filter(application__key=key)
    # By ids, so that the index on installation and time gives the page without sorting.
    rows = deployments().filter(installation__in=list(places.values_list("pk", flat=True)))
    if version := asked.get("versionId"):
        rows = rows.filter(version_id=_uuid(version))
    if status := asked.get("status"):
        if status not in {s.value for s in Status}:
            known = ", ".join(s.value for s in Status)
            raise Invalid(f"there is no status {status[:40]}", errors=[("status", f"one of {known}")])
        rows = rows.filter(status=status)
    return rows.filter(pk__in=current(places).values("pk")) if is_true(asked, "current") else rows


def current(places: Iterable[Installation]) -> QuerySet[Deployment]:
    """What each of these installations runs by our record: see lifecycle.current_of."""
    living = Deployment.objects.filter(MAY_BE_CURRENT, installation=OuterRef("pk"))
    newest = Subquery(living.order_by("-deployed_at", "-created_at").values("pk")[:1])
    ids = Installation.objects.filter(pk__in=[p.pk for p in places]).annotate(now=newest).values_list("now", flat=True)
    return deployments().filter(pk__in=[pk for pk in ids if pk is not None])


def dress(rows: Sequence[Deployment]) -> None:
    """Hang on each row its newest window and its newest rollback: two queries, however many rows."""
    ids = [row.pk for row in rows]
    windows = Window.objects.filter(subject__in=ids).order_by("subject", "-opens_at", "-id").distinct("subject")
    watched = {window.subject: window for window in windows.defer("readings", "endpoints", "baseline", "before")}
    undone = Deployment.objects.filter(reverts__in=ids).order_by("reverts_id", "-created_at").distinct("reverts_id")
    rollbacks = {row.reverts_id: row for row in undone.only("id", "status", "reverts_id")}
    for row in rows:
        row.newest_window = watched.get(row.pk)  # type: ignore[attr-defined]
        row.newest_rollback = rollbacks.get(row.pk)  # type: ignore[attr-defined]


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Invalid("versionId is no id", errors=[("versionId", "must be a version's id")]) from None


def is_true(asked: dict[str, str], name: str) -> bool:
    """A parameter that is true or false. Raises Invalid."""
    text = asked.get(name)
    if text not in (None, "true", "false"):
        raise Invalid(f"{name} is true or false", errors=[(name, "must be true or false")])
    return text == "true"
