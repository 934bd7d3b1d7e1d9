"""The verb that makes the fleet what a declaration says: in one transaction, and nothing the second time."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from aureus import clock
from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict
from deployments.fleet import environment_rows, freezing, installation_rows
from deployments.fleet.declaration import Declaration
from deployments.fleet.difference import Difference
from deployments.models import Deployment, Environment, Installation
from deployments.snapshot import WAITING


def difference(declaration: Declaration, *, actor: Actor) -> Difference:
    """What `apply` would change now, and why it may refuse; nothing is kept."""
    with transaction.atomic():
        found = _write(declaration, actor)
        transaction.set_rollback(True)
    return found


def apply(declaration: Declaration, *, actor: Actor) -> Difference:
    """Make it so. Raises Conflict, naming every reason, where a running deployment would lose what it stands on."""
    with transaction.atomic():
        found = _write(declaration, actor)
        if found.refusals:
            raise Conflict("the declaration cannot be applied now", code="would_orphan", errors=found.refusals)
    if found.changes:
        # Plans not yet started are made anew. Afterwards, since who advances locks a deployment first.
        names = [environment.name for environment in declaration.environments]
        waiting = Deployment.objects.filter(status__in=WAITING)
        if not any(change.kind == "freeze" and not change.where for change in found.changes):
            waiting = waiting.filter(installation__environment__name__in=names)
        waiting.update(wake_at=clock.now())
    return found


def _write(declaration: Declaration, actor: Actor) -> Difference:
    found = Difference()
    _lock([environment.name for environment in declaration.environments])
    _promotions(declaration, found)
    for position, declared in enumerate(declaration.environments):
        environment = environment_rows.write(declared, position, found)
        here = [one for one in declaration.installations if one.environment == declared.name]
        installation_rows.write(environment, here, found)
        freezing.declare(environment, declared.freezes, found)
    if declaration.freezes is not None:
        freezing.declare(None, declaration.freezes, found)
    for change in found.changes:
        place = change.where or (change.name if change.kind == "environment" else "")
        stream = f"environment:{place}" if place else "fleet"
        record(stream, f"{change.kind}.{change.action}", actor, **change.as_json())
    return found


def _lock(names: Sequence[str]) -> None:
    """Nothing starts here between the look at what runs and the edit. Environments before their installations."""
    list(Environment.objects.select_for_update(no_key=True).filter(name__in=names).order_by("pk"))
    here = Installation.objects.filter(environment__name__in=names)
    list(here.select_for_update(of=("self",), no_key=True).order_by("pk"))


def _promotions(declaration: Declaration, found: Difference) -> None:
    known = set(Environment.objects.values_list("name", flat=True)) | set(declaration.by_name)
    for declared in declaration.environments:
        source = declared.policy.promote_from
        if source is not None and source not in known:
            found.refuse(f"environment {declared.name}", f"takes versions from {source}, which is declared nowhere")
