"""The verbs on freezes: add one, lift one, and make those of a declaration what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction

from aureus import clock
from aureus.journal.actor import AUREUS, Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, Invalid, NotFound
from deployments.edits import wake_who_waits
from deployments.engine import calendar
from deployments.engine.calendar import Period, Unreadable
from deployments.fleet.difference import ADDED, RETIRED, Change, Changed, Difference
from deployments.models import Environment, Freeze


@transaction.atomic
def add(
    environment: Environment | None, declared: Mapping[str, Any], *, reason: str, actor: Actor
) -> tuple[Freeze, bool]:
    """Let no deployment start there in a period; (the freeze, whether it is new). None: in every environment.

    Raises Invalid with everything that is wrong, also for a period that is over.
    """
    errors: list[tuple[str, str]] = []
    try:
        period = calendar.read(declared)
    except Unreadable as unreadable:
        errors += unreadable.errors
    if not reason.strip():
        errors.append(("reason", "must not be empty"))
    if not errors and not period.repeats and calendar.spells(period, clock.now())[0].ends <= clock.now():
        errors.append(("to", "must lie in the future: it is over already"))
    if errors:
        raise Invalid("it is no freeze: " + "; ".join(f"{n}: {m}" for n, m in errors), errors=errors)
    wanted = columns_of(period, reason)
    if (known := Freeze.objects.filter(environment=environment, **wanted).first()) is not None:
        return known, False
    freeze = Freeze(environment=environment, by=actor.name, **wanted)
    wake_who_waits(freeze)
    freeze.save()
    freeze.refresh_from_db()
    record(_stream(freeze), "freeze.added", actor, freeze=freeze.pk, period=calendar.said(period), reason=reason)
    return freeze, True


@transaction.atomic
def lift(freeze_id: int, *, actor: Actor, environment: Environment | None = None) -> None:
    """Take a freeze away. Who waited for its end goes on. environment: where the one who asks may lift one.

    Raises NotFound, Conflict for one that a declaration would bring back.
    """
    freeze = Freeze.objects.select_related("environment").filter(pk=freeze_id).first()
    if freeze is None or (environment is not None and freeze.environment_id not in (None, environment.pk)):
        raise NotFound(f"there is no freeze {freeze_id} here: it was lifted, or never was")
    if freeze.declared:
        raise Conflict("it stands in the declaration: take it out there and run aureus apply", code="declared")
    if environment is not None and freeze.environment_id is None:
        raise Conflict("it holds in every environment: an admin lifts it in the console", code="everywhere")
    wake_who_waits(freeze)
    # Two who lift it at once: the second finds it gone.
    if not Freeze.objects.filter(pk=freeze.pk).delete()[0]:
        raise NotFound(f"there is no freeze {freeze_id} here: it was lifted, or never was")
    record(_stream(freeze), "freeze.lifted", actor, freeze=freeze_id, reason=freeze.reason)


def declare(environment: Environment | None, wanted: Iterable[Mapping[str, Any]], difference: Difference) -> None:
    """Make the declared freezes of an environment, or of all of them, these. What people added otherwise stays."""
    left = list(Freeze.objects.select_for_update().filter(environment=environment, declared=True).order_by("pk"))
    where = environment.name if environment else ""
    for one in wanted:
        period = calendar.read(one)
        columns = columns_of(period, str(one["reason"]))
        known = next((f for f in left if all(getattr(f, name) == value for name, value in columns.items())), None)
        if known is not None:
            left.remove(known)
            continue
        Freeze.objects.create(environment=environment, declared=True, by=AUREUS.name, **columns)
        fields = (Changed("reason", None, columns["reason"]),)
        difference.changes.append(Change("freeze", calendar.said(period), where, ADDED, fields))
    for freeze in left:
        difference.changes.append(Change("freeze", freeze.reason, where, RETIRED, note="it stands no more in the file"))
        freeze.delete()


def columns_of(period: Period, reason: str) -> dict[str, Any]:
    """How a period is kept: a single one as instants."""
    kept: dict[str, Any] = {"zone": period.zone, "reason": reason.strip()}
    if not period.repeats:
        [spell] = calendar.spells(period, clock.now())
        return {**kept, "starts": spell.starts, "ends": spell.ends, "first": "", "last": "", "days": []}
    said = calendar.written(period)
    return {**kept, "starts": None, "ends": None, "first": said["from"], "last": said["to"], "days": said["days"]}


def _stream(freeze: Freeze) -> str:
    return freeze.environment.stream if freeze.environment else "fleet"
