"""Where a workflow runs: a run in an environment may use the commands of its application's installation there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from aureus.journal.actor import Actor
from aureus.journal.refusals import Conflict, Invalid
from deployments import identity
from deployments.commands import Place, Wrong, line_of
from deployments.lifecycle.requests import installation_for
from deployments.lifecycle.rows import endpoints_of
from deployments.models import Installation
from deployments.outside import address_of, site_of
from health.models import WorkflowRun
from health.runs import lifecycle
from health.runs.tools import COMMAND, NAMES
from releases import registry
from releases.workflow import Task


def start(version_id: UUID | str, params: Mapping[str, Any], *, environment: str, actor: Actor) -> WorkflowRun:
    """Start a run of a version, in an environment if one is named. Raises NotFound, Invalid, Conflict."""
    version = registry.get(version_id)
    calls = list(_commands(lifecycle.plan_of_version(version).tasks.values()))
    if calls and not environment:
        why = f"{version} runs commands on hosts: name the environment that they belong to"
        raise Invalid(why, errors=[("environment", "must be given, since the workflow runs commands")])
    tools = NAMES
    if environment:
        place = _place(installation_for(version, environment))
        _demand_declared(calls, place)
        tools = NAMES | {COMMAND}
    return lifecycle.start(version_id, params, tools=tools, environment=environment, actor=actor)


def place_of(run_id: str) -> Place | None:
    """Where a run may run commands; None: nowhere. Read by the thread that has the database."""
    run = WorkflowRun.objects.select_related("version__application").filter(pk=run_id).exclude(environment="").first()
    if run is None:
        return None
    there = Installation.objects.select_related("environment", "application").filter(
        application=run.version.application_id, environment__name=run.environment
    )
    installation = there.first()
    return _place(installation) if installation else None


def _place(installation: Installation) -> Place:
    endpoints = endpoints_of(installation)
    hosts = {endpoint.host.name: (address_of(endpoint.host), site_of(endpoint)) for endpoint in endpoints}
    doubt = identity.now_and_doubt(installation.pk)[1]
    return Place(str(installation), hosts, installation.options.get("commands", {}), doubt)


def _commands(tasks: Iterable[Task]) -> Iterator[Mapping[str, Any]]:
    """The params of every call of a command, forward or back."""
    for task in tasks:
        if task.tool == COMMAND:
            yield task.params
        if task.undo is not None and task.undo.tool == COMMAND:
            yield task.undo.params


def _demand_declared(calls: list[Mapping[str, Any]], place: Place) -> None:
    """Raises Conflict where a call names what is not declared; what is filled in later is looked at then."""
    for params in calls:
        if "${" in str(params.get("command")):
            continue
        try:
            line_of({"command": params.get("command")}, place)
        except Wrong as wrong:
            raise Conflict(
                f"{wrong}. An admin declares it under commands of the installation", code="no_command"
            ) from None
