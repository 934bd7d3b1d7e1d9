"""`aureus adopt`: hand-installed hosts come under Aureus, without a restart. Works on the database and the hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aureus.cli.ends import FAILED, USAGE, Ended
from aureus.cli.group import database, operator
from aureus.cli.output import Json, answer, say, table

if TYPE_CHECKING:
    from deployments.fleet.adopt import Adoption, Finding


def adopt(
    environment: Annotated[str, typer.Argument(help="The environment.")],
    application: Annotated[str, typer.Argument(help="The application's workflow id.")],
    version: Annotated[str, typer.Option(help="The registered version that the hosts run.")],
    host: Annotated[str, typer.Option(help="Only this host of it.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it; without this it is only shown.")] = False,
    reason: Annotated[str, typer.Option(help="Why; demanded with --yes, and kept.")] = "",
    as_json: Json = False,
) -> None:
    """Take hand-installed hosts under Aureus without a restart. Shows what it would do, unless --yes is given."""
    if yes and not reason.strip():
        raise Ended(USAGE, "--yes needs --reason: say where these hosts come from, and who vouches for them")
    with database():
        from deployments.fleet import adopt as verb
        from deployments.outside import real

        found = verb.look(environment, application, version, real(), host=host)
        if yes:
            found = verb.adopt(found, real(), actor=operator(), reason=reason)
    if as_json:
        answer(_adoption(found))
    else:
        _show(found, done=yes)
    if found.refused:
        raise Ended(FAILED)


def _show(found: Adoption, *, done: bool) -> None:
    rows = [(one.endpoint.name, one.runs or "nothing", one.link or "nothing", _said(one)) for one in found.found]
    table(("HOST", "ANSWERS WITH", "LINK", "ADOPTED" if done else "WOULD BE DONE"), rows)
    if found.deployment is not None:
        say(f"recorded as the deployment {found.deployment.id}: {found.deployment.reason}")
        say("nothing was restarted: the next deployment starts the application from its release")
    elif done:
        say("nothing was adopted")
    elif found.fit:
        say("nothing was changed: run it again with --yes --reason")


def _said(one: Finding) -> str:
    return "yes" if one.done else one.plan


def _adoption(found: Adoption) -> dict[str, Any]:
    hosts = [{"host": one.endpoint.name, "runs": one.runs, "link": one.link, "prepared": one.prepared,
              "adopted": one.done, "refused": one.refused} for one in found.found]  # fmt: skip
    deployment = found.deployment
    return {"environment": found.installation.environment.name, "workflowId": found.installation.application.key,
            "version": found.version.number, "hosts": hosts,
            "deploymentId": str(deployment.id) if deployment else None}  # fmt: skip
