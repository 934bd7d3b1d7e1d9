"""Variables of an installation: show, set, unset, renew, history, ship."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from aureus.cli import client, deploying, group
from aureus.cli.ends import FAILED, USAGE, Ended
from aureus.cli.output import Json, answer, say, table, when

app = group.make(
    no_args_is_help=True, help="Variables of an application in an environment, as revisions that deployments ship."
)
Environment = Annotated[str, typer.Argument(metavar="ENVIRONMENT", help="Where it lives.")]
Application = Annotated[str, typer.Argument(metavar="APPLICATION", help="Its workflow id.")]
Note = Annotated[str, typer.Option(help="Why; it is kept.")]


@app.command()
def show(
    environment: Environment,
    application: Application,
    revision: Annotated[int, typer.Option(min=0, help="Which one; default: the newest.")] = 0,
    values: Annotated[bool, typer.Option("--values", help="Plain values too, for who may write them.")] = False,
    as_json: Json = False,
) -> None:
    """Show a revision: its names, or with --values what was declared. What a secret is, is never shown."""
    api = client.from_environment()
    rows = api.pages(_path(environment, application))
    found = next((row for row in rows if not revision or row["revision"] == revision), None)
    if found is None:
        raise Ended(FAILED, "there is no such revision: aureus config history lists them, aureus config set writes one")
    if values:
        found = api.get(f"{_path(environment, application)}/{found['revision']}")
    if as_json:
        return answer(found)
    say(f"configuration {found['revision']} of {application} in {environment}, digest {found['digest'][:12]}")
    if values:
        table(("NAME", "VALUE"), ((name, _declared(said)) for name, said in sorted(found["variables"].items())))
    else:
        secret = set(found["secrets"])
        table(("NAME", "IS"), ((name, "a secret" if name in secret else "plain") for name in found["names"]))


@app.command("set")
def set_variables(
    environment: Environment,
    application: Application,
    pairs: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="Or NAME=@env:X, NAME=@file:/path.")],
    note: Note = "",
    as_json: Json = False,
) -> None:
    """Set variables in the next revision. A secret is named by where workers find it; @@ begins a value with @."""
    changes = {name: _said(value) for name, value in (_pair(pair) for pair in pairs)}
    _write(environment, application, {"changes": changes, "note": note}, as_json)


@app.command()
def unset(
    environment: Environment,
    application: Application,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Variables to take away.")],
    note: Note = "",
    as_json: Json = False,
) -> None:
    """Take variables away in the next revision."""
    _write(environment, application, {"changes": dict.fromkeys(names), "note": note}, as_json)


@app.command()
def renew(environment: Environment, application: Application, note: Note = "", as_json: Json = False) -> None:
    """Write a revision with the same variables: what lies behind a reference has changed, and shall be shipped."""
    _write(environment, application, {"changes": {}, "again": True, "note": note}, as_json)


@app.command()
def history(
    environment: Environment,
    application: Application,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """List the revisions, newest first."""
    rows = list(client.from_environment().pages(_path(environment, application), most=limit))
    if as_json:
        return answer(rows)
    cells = ((r["revision"], r["digest"][:12], len(r["names"]), r["by"], when(r["at"]), r["note"]) for r in rows)
    table(("REVISION", "DIGEST", "VARIABLES", "BY", "WRITTEN", "NOTE"), cells)


@app.command()
def ship(
    environment: Environment,
    application: Application,
    revision: Annotated[int | None, typer.Option(min=0, help="Which one, 0 for none; default: the newest.")] = None,
    wait: deploying.Wait = False,
    timeout: deploying.Timeout = deploying.HOUR,
    as_json: Json = False,
) -> None:
    """Deploy the version that is there already, with these variables: plan, approvals and watching as for any other."""
    api = client.from_environment()
    rows = api.pages("/deployments", environment=environment, workflowId=application, current="true")
    current = next(rows, None)
    if current is None:
        raise Ended(
            FAILED, f"nothing of {application} is deployed in {environment}: deploy a version, it ships them too"
        )
    body = {"versionId": current["versionId"], "environment": environment, "configurationRevision": revision}
    deploying.asked_for(api, api.post("/deployments", body), wait=wait, timeout=timeout, as_json=as_json)


def _path(environment: str, application: str) -> str:
    return f"/environments/{environment}/installations/{application}/configurations"


def _pair(pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not equals:
        raise Ended(USAGE, f"{name} must be NAME=VALUE; aureus config unset takes a variable away")
    return name, value


def _said(value: str) -> dict[str, str]:
    if value.startswith("@@"):
        return {"value": value[1:]}
    return {"secret": value[1:]} if value.startswith("@") else {"value": value}


def _declared(said: dict[str, str]) -> str:
    return said["value"] if "value" in said else f"@{said['secret']}"


def _write(environment: str, application: str, body: dict[str, Any], as_json: bool) -> None:
    made = client.from_environment().post(_path(environment, application), body)
    if as_json:
        return answer(made)
    say(f"configuration {made['revision']} of {application} in {environment} has {len(made['names'])} variables")
    say(f"nothing is shipped yet; ship it with: aureus config ship {environment} {application}")
