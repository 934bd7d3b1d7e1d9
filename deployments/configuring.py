"""The verb that writes a revision of an installation's variables. It ships nothing: a deployment does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, Invalid, NotFound
from deployments.contents import newest
from deployments.engine import variables as declared
from deployments.engine.variables import Variables, VariablesInvalid
from deployments.models import Configuration, Environment, Installation
from deployments.secrets import is_ours

MOST = 100_000
"""Revisions of one installation: more are a script that has gone wild."""


def installation_of(environment: str, application: str) -> Installation:
    """Where an application lives in an environment. Raises NotFound with what there is."""
    if not Environment.objects.filter(name=environment).exists():
        raise NotFound(f'there is no environment "{environment}"', code="no_environment")
    here = Installation.objects.filter(environment__name=environment).select_related("environment", "application")
    found = here.filter(application__key=application).first()
    if found is None:
        known = ", ".join(here.values_list("application__key", flat=True)) or "nothing"
        raise NotFound(f'"{application}" is not installed in {environment}; there is: {known}', code="not_installed")
    return found


@transaction.atomic
def configure(
    environment: str,
    application: str,
    *,
    actor: Actor,
    variables: Any = None,
    changes: Any = None,
    note: str = "",
    again: bool = False,
) -> tuple[Configuration, bool]:
    """Write the next revision; (the newest one, whether it is new). What equals the newest one writes nothing.

    variables: all of them. changes: those to set and, by null, those to take away from the newest revision.
    again: a revision of its own though nothing differs, since what lies behind a reference has changed.
    Raises Invalid with every mistake, NotFound, Conflict.
    """
    installation = installation_of(environment, application)
    Installation.objects.select_for_update().get(pk=installation.pk)
    before = newest(installation)
    wanted = _wanted(before.variables if before else {}, variables, changes)
    if before is not None and wanted == before.variables and not again:
        return before, False
    number = before.number + 1 if before else 1
    if number > MOST:
        raise Conflict(f"{installation} has {MOST} revisions, which is all it may have", code="too_many")
    made = Configuration.objects.create(
        installation=installation,
        number=number,
        variables=wanted,
        # What was there before has the same digest again and is the same content; a forced revision is one of its own.
        digest=declared.digest(wanted, number if again else 0),
        by=actor.name,
        note=note,
    )
    made.refresh_from_db(fields=["at"])
    told = {"revision": number, "digest": made.digest, "note": note, "names": sorted(wanted)}
    record(f"installation:{installation.pk}", "installation.configured", actor, **told)
    return made, True


def _wanted(before: Mapping[str, Any], variables: Any, changes: Any) -> Variables:
    if (variables is None) == (changes is None):
        why = "give either variables, all of them, or changes to the newest revision"
        raise Invalid(why, errors=[("variables", "or changes")])
    if changes is not None and not isinstance(changes, dict):
        raise Invalid("changes must be an object", errors=[("changes", 'such as {"LOG_LEVEL": {"value": "info"}}')])
    try:
        wanted = declared.parse(variables if changes is None else declared.changed(before, changes))
    except VariablesInvalid as error:
        raise Invalid("the variables cannot be kept", errors=error.errors) from None
    _demand_foreign(wanted)
    return wanted


def _demand_foreign(wanted: Variables) -> None:
    """Raises Invalid where a reference leads to a secret of Aureus itself."""
    told = {name: is_ours(said["secret"]) for name, said in wanted.items() if "secret" in said}
    if errors := [(f"variables.{name}", f"what it refers to {why}") for name, why in told.items() if why]:
        raise Invalid("the variables cannot be kept", errors=errors)


def named(installation: Installation, number: int) -> Configuration:
    """One revision. Raises NotFound."""
    found = installation.configurations.filter(number=number).first()
    if found is None:
        there = newest(installation)
        last = f"the newest one is {there.number}" if there else "there is none"
        raise NotFound(f"{installation} has no configuration {number}: {last}", code="no_configuration")
    return found
