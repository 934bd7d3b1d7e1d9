"""Asking for deployments: deploy, smoke, promote, rollback."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from aureus.cli import client, following, offline
from aureus.cli.ends import FAILED, TIMED_OUT, USAGE, Ended
from aureus.cli.output import Json, answer, say, table
from aureus.cli.references import deployment_id, version_id
from aureus.cli.versions import labels

Environment = Annotated[str, typer.Option("--environment", "-e", help="Where to.")]
Deployment = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="The deployment's id.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow it until it has ended, or waits for approval.")]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds to wait at most.")]
Strategy = Annotated[str, typer.Option(help="Instead of the installation's own: rolling, canary, all-at-once.")]
Label = Annotated[str, typer.Option("--by", help="A label that is kept and echoed; it grants nothing.")]
Configuration = Annotated[
    int | None, typer.Option("--configuration", min=0, help="A revision of its variables, 0 for none; default: newest.")
]
Glass = Annotated[
    str,
    typer.Option(help="In an emergency, why it goes past gates and promotion; it starts once another has confirmed."),
]
AcceptSchemaChange = Annotated[
    bool,
    typer.Option("--accept-schema-change", help="Take code back over a schema change; you have looked that it works."),
]
Metadata = Annotated[list[str] | None, typer.Option(help="KEY=VALUE, kept with it; may be repeated.")]
HOUR = 3600.0


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (deploy, smoke, promote, rollback):
        app.command()(command)


def deploy(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Its id, or WORKFLOW@1.2.3.")],
    environment: Environment,
    wait: Wait = False,
    timeout: Timeout = HOUR,
    strategy: Strategy = "",
    by: Label = "",
    configuration: Configuration = None,
    metadata: Metadata = None,
    break_glass: Glass = "",
    accept_schema_change: AcceptSchemaChange = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and what changes on each host.")] = False,
    as_json: Json = False,
) -> None:
    """Bring a version to an environment."""
    api = client.from_environment()
    body = {"versionId": version_id(api, version), "environment": environment}
    body |= _wish("deployedBy", by, strategy, configuration, accept_schema_change)
    if dry_run:
        return _plan(api.post("/deployments?dryRun=true", body), as_json)
    made = api.post("/deployments", {**body, **_glass(break_glass), "metadata": labels(metadata)})
    asked_for(api, made, wait=wait, timeout=timeout, as_json=as_json)


def promote(
    deployment: Deployment,
    to: Annotated[str, typer.Option("--to", help="The environment that it goes to.")] = "production",
    wait: Wait = False,
    timeout: Timeout = HOUR,
    strategy: Strategy = "",
    by: Label = "",
    configuration: Configuration = None,
    metadata: Metadata = None,
    break_glass: Glass = "",
    accept_schema_change: AcceptSchemaChange = False,
    as_json: Json = False,
) -> None:
    """Bring what was deployed and tested to the next environment. Gates and approvals are the environment's."""
    api = client.from_environment()
    wish = _wish("promotedBy", by, strategy, configuration, accept_schema_change)
    body = {"targetEnvironment": to, **wish, "metadata": labels(metadata)}
    made = api.post(f"/deployments/{deployment_id(deployment)}/promote", {**body, **_glass(break_glass)})
    asked_for(api, made, wait=wait, timeout=timeout, as_json=as_json)


def rollback(
    deployment: Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="The deployment's id.")] = "",
    reason: Annotated[str, typer.Option(help="Why; it is kept. Demanded.")] = "",
    to: Annotated[str, typer.Option("--to", help="A version that served there; default: the newest good one.")] = "",
    wait: Wait = False,
    timeout: Timeout = HOUR,
    without: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Break glass: with Redis and the web down, from the database alone, carried by this command. "
            "Without an id it lists what can be undone.",
        ),
    ] = False,
    accept_schema_change: AcceptSchemaChange = False,
    as_json: Json = False,
) -> None:
    """Undo a deployment. No gate, approval, freeze or queue holds it. Asking twice gives the same rollback."""
    if not (deployment or without) or (deployment and not reason.strip()):
        raise Ended(USAGE, "name the deployment and --reason; aureus status lists deployments")
    if without:
        return offline.roll_back(
            deployment,
            reason=reason,
            to=to,
            timeout=timeout,
            accept_schema_change=accept_schema_change,
            as_json=as_json,
        )
    api = client.from_environment()
    body = {"reason": reason, "acceptSchemaChange": accept_schema_change, **({"targetVersion": to} if to else {})}
    made = api.post(f"/deployments/{deployment_id(deployment)}/rollback", body)
    asked_for(api, made, wait=wait, timeout=timeout, as_json=as_json)


def smoke(
    deployment: Deployment,
    endpoint: Annotated[list[str] | None, typer.Option(help="A path that must answer 200; may be repeated.")] = None,
    workflow: Annotated[list[str] | None, typer.Option(help="A workflow that must succeed; may be repeated.")] = None,
    tests: Annotated[Path | None, typer.Option(help="A JSON file with a list of tests.")] = None,
    timeout: Timeout = 120.0,
    as_json: Json = False,
) -> None:
    """Run smoke tests against a current deployment. Exit code 0 only if all passed."""
    asked = [{"name": path, "endpoint": path} for path in endpoint or ()]
    asked += [{"name": name, "workflowId": name} for name in workflow or ()]
    asked += _tests(tests) if tests else []
    if not asked:
        raise Ended(USAGE, "name a test: --endpoint /health, --workflow ID or --tests FILE")
    api = client.from_environment()
    run = api.post(f"/deployments/{deployment_id(deployment)}/smoke-tests", {"tests": asked})
    run = _finished(api, run, timeout)
    if as_json:
        answer(run)
    else:
        cells = ((r["name"], r["status"], f"{r['duration']} ms", r.get("error", "")) for r in run["testResults"])
        table(("TEST", "RESULT", "TOOK", "ERROR"), cells)
        say(f"{run['passedTests']} of {run['totalTests']} passed")
    if run["overallStatus"] != "passed":
        raise Ended(FAILED)


def _finished(api: client.Api, run: dict[str, Any], timeout: float) -> dict[str, Any]:
    """The run once it has its results. A worker carries it out; the answer may come before it has."""
    ends = time.monotonic() + timeout
    while run["overallStatus"] == "running":
        if time.monotonic() > ends:
            raise Ended(TIMED_OUT, f"the smoke tests have not ended within {timeout:g} s: do workers run?")
        time.sleep(following.EVERY)
        run = api.get(f"/deployments/{run['deploymentId']}/smoke-tests/{run['id']}")
    return run


def _tests(path: Path) -> list[Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Ended(USAGE, f"{path} cannot be read: {error}") from None
    return found["tests"] if isinstance(found, dict) and isinstance(found.get("tests"), list) else list(found)


def _wish(label: str, by: str, strategy: str, configuration: int | None, accepted: bool) -> dict[str, Any]:
    named = {} if configuration is None else {"configurationRevision": configuration}
    return {label: by, "acceptSchemaChange": accepted, **({"strategy": strategy} if strategy else {}), **named}


def _glass(why: str) -> dict[str, str]:
    return {"breakGlass": why} if why else {}


def _plan(plan: dict[str, Any], as_json: bool) -> None:
    if as_json:
        return answer(plan)
    steps = ((s["name"], step["kind"], step["host"] or "") for s in plan["stages"] for step in s["steps"])
    table(("STAGE", "STEP", "HOST"), steps)
    say()
    rows = ((t["host"], t["from"] or "nothing", t["to"], t["back"] or "no way back") for t in plan["targets"])
    table(("HOST", "RUNS", "GETS", "WAY BACK"), rows)
    say()
    say(f"risk: {plan['risk']}; it would need {plan['approvals']} approvals")
    for level, why in plan["riskReasons"]:
        say(f"  {level}: {why}")
    say(plan["ifItFails"])
    for warning in plan["warnings"]:
        say()
        say(warning)
    if not plan["lossless"]:
        say()
        say("Moving traffic may lose requests: there is no balancer, or one that has to be reloaded (docs/traffic.md).")


def asked_for(api: client.Api, made: dict[str, Any], *, wait: bool, timeout: float, as_json: bool) -> None:
    """Tell of a deployment that was asked for, or follow it."""
    if wait:
        return following.follow(api, made["id"], timeout=timeout, through_approval=False, as_json=as_json)
    if as_json:
        return answer(made)
    say(f"{made['id']}: {made['workflowId']}@{made['version']} to {made['environment']} is {made['status']}")
    if made["plan"]["ifItFails"]:
        say(made["plan"]["ifItFails"])
    say(f"follow it with: aureus watch {made['id']}")
