"""Runs of workflows: start one, follow it, look at it, cancel it."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from aureus.cli import client, following, group
from aureus.cli.ends import FAILED, TIMED_OUT, USAGE, Ended
from aureus.cli.output import Json, answer, say, table, when
from aureus.cli.references import is_id, version_id
from aureus.cli.versions import labels

app = group.make(no_args_is_help=True, help="Run a version's workflow, and look at what its tasks do.")
OVER = frozenset({"passed", "failed", "cancelled"})
Run = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


@app.command()
def run(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Its id, or WORKFLOW@1.2.3.")],
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for ${params.NAME}; may be repeated.")] = None,
    environment: Annotated[
        str, typer.Option(help="Where its commands run; a workflow without commands needs none.")
    ] = "",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it has ended; exit code 0 only if it passed.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait at most.")] = 3600.0,
    as_json: Json = False,
) -> None:
    """Run a version's workflow."""
    api = client.from_environment()
    asked = {"versionId": version_id(api, version), "params": labels(param)}
    made = api.post("/workflows/runs", asked | ({"environment": environment} if environment else {}))
    if wait:
        made = _ended(api, made, timeout)
    if as_json:
        answer(made)
    else:
        _show(made)
    if wait and made["status"] != "passed":
        raise Ended(FAILED)


@app.command()
def status(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id; without it, the newest are listed.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the newest.")] = 10,
    as_json: Json = False,
) -> None:
    """Show where runs stand: of one, each task with what came of it."""
    api = client.from_environment()
    if run:
        found = api.get(f"/workflows/runs/{_id(run)}")
        return answer(found) if as_json else _show(found)
    rows = list(api.pages("/workflows/runs", most=limit))
    if as_json:
        return answer(rows)
    cells = ((r["workflowId"], r["version"], r["status"], when(r["createdAt"]), r["id"], r["reason"]) for r in rows)
    table(("WORKFLOW", "VERSION", "STATUS", "ASKED", "ID", "WHY"), cells)


@app.command()
def cancel(run: Run, reason: Annotated[str, typer.Option(help="Why; it is kept.")], as_json: Json = False) -> None:
    """Begin nothing more of a run, and take back what it did."""
    found = client.from_environment().post(f"/workflows/runs/{_id(run)}/cancel", {"reason": reason})
    answer(found) if as_json else _show(found)


def _ended(api: client.Api, run: dict[str, Any], timeout: float) -> dict[str, Any]:
    ends = time.monotonic() + timeout
    while run["status"] not in OVER:
        if time.monotonic() > ends:
            raise Ended(TIMED_OUT, f"the run has not ended within {timeout:g} s; it goes on by itself")
        time.sleep(following.EVERY)
        run = api.get(f"/workflows/runs/{run['id']}")
    return run


def _show(run: dict[str, Any]) -> None:
    say(
        f"{run['id']}: {run['workflowId']}@{run['version']} is {run['status']}"
        + (f": {run['reason']}" if run["reason"] else "")
    )
    say()
    rows = ((t["task"], t["way"], t["status"], str(t["attempts"]), t["reason"]) for t in run["tasks"])
    table(("TASK", "WAY", "STATUS", "TRIES", "WHY"), rows)
    if run["status"] not in OVER:
        say(f"look again with: aureus workflow status {run['id']}")


def _id(text: str) -> str:
    if not is_id(text):
        raise Ended(USAGE, f"{text} is no id of a run; aureus workflow status lists them")
    return text
