"""Edits by hand: stored with an event, and with the revision raised where plans depend on what was edited."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.db.models import F, Model, QuerySet

from aureus import clock
from aureus.journal.actor import Actor
from aureus.journal.models import record
from deployments.models import Balancer, Deployment, Environment, Freeze, Host, Incident, Installation
from deployments.snapshot import WAITING

OWN = frozenset({"id", "revision", "locked_by", "locked_at", "lock_reason"})
"""Columns that no edit by hand writes: they are verbs' alone."""


@transaction.atomic
def edited(row: Model, *, changed: Iterable[str], actor: Actor) -> None:
    """Save a row of the fleet as a person edited it; plans not yet started are then made anew."""
    names = sorted(changed)
    if isinstance(row, Freeze):
        row.by = actor.name
    wake_who_waits(row)
    # Whoever edited it beside us has raised the revision: what this row was read with must not take that back.
    kept = None if row._state.adding else [f.name for f in row._meta.concrete_fields if f.name not in OWN]
    row.save(update_fields=kept)
    _raise_revision(row)
    record(f"{row._meta.model_name}:{row.pk}", "fleet.edited", actor, what=str(row), fields=names)


def wake_who_waits(row: Model) -> None:
    """What was edited may be what they wait for. Before the row itself, since deployments come before their fleet."""
    waiting = Deployment.objects.filter(status__in=WAITING)
    if isinstance(row, Installation):
        waiting = waiting.filter(installation=row.pk)
    elif environment := row.pk if isinstance(row, Environment) else getattr(row, "environment_id", None):
        waiting = waiting.filter(installation__environment=environment)
    list(waiting.select_for_update().order_by("pk").values_list("pk"))
    waiting.update(wake_at=clock.now(), hinted_at=None)


def _raise_revision(row: Model) -> None:
    if isinstance(row, Installation):
        Installation.objects.filter(pk=row.pk).update(revision=F("revision") + 1)
    elif isinstance(row, Environment):
        Environment.objects.filter(pk=row.pk).update(revision=F("revision") + 1)
    elif isinstance(row, Host | Balancer):
        Environment.objects.filter(pk=row.environment_id).update(revision=F("revision") + 1)


@transaction.atomic
def resolve(incidents: QuerySet[Incident], *, actor: Actor) -> int:
    """Somebody has looked at these; how many were open."""
    still_open = list(incidents.filter(resolved_at=None).select_for_update())
    for incident in still_open:
        incident.resolved_at, incident.resolved_by = clock.now(), actor.name
        incident.save(update_fields=["resolved_at", "resolved_by"])
        record(f"incident:{incident.pk}", "incident.resolved", actor, text=incident.text[:200])
    return len(still_open)
