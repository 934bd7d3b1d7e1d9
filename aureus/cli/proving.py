"""What is known of a version: send reports, attest, waive a gate, and ask whether it may be promoted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from aureus.cli import client
from aureus.cli.deploying import Deployment
from aureus.cli.ends import FAILED, USAGE, Ended
from aureus.cli.output import Json, answer, say, table
from aureus.cli.references import deployment_id, version_id

Version = Annotated[str, typer.Argument(metavar="VERSION", help="Its id, or WORKFLOW@1.2.3.")]
Environment = Annotated[str, typer.Option("--environment", "-e", help="Where the version may go without that gate.")]
Gate = Annotated[str, typer.Argument(help="Its name, as aureus gates shows it.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (evidence, attest, waive, unwaive, gates):
        app.command()(command)


def evidence(
    version: Version,
    kind: Annotated[str, typer.Argument(help="tests, coverage, vulnerabilities, review, policy or crv.")],
    file: Annotated[Path, typer.Argument(help="The report as the tool wrote it.")],
    format: Annotated[
        str, typer.Option(help="junit, cobertura, coverage-py, sarif, npm-audit, pip-audit. Default: by the file.")
    ] = "",
    subject: Annotated[str, typer.Option(help="What it is about, such as unit or integration.")] = "",
    as_json: Json = False,
) -> None:
    """Send a report about a version: after its archive, since it counts for these bytes alone."""
    try:
        octets = file.read_bytes()
    except OSError as error:
        raise Ended(USAGE, f"{file} cannot be read: {error.strerror}") from None
    api = client.from_environment()
    asked = {"kind": kind, "format": format, "subject": subject}
    query = urlencode({name: text for name, text in asked.items() if text})
    kept = api.send_file(f"/deployments/versions/{version_id(api, version)}/evidence?{query}", octets)
    if as_json:
        return answer(kept)
    counts = ", ".join(f"{name} {value}" for name, value in kept["summary"].items())
    say(f"evidence {kept['id']}: {kind} as {kept['format']}: {counts}")


def attest(
    version: Version,
    kind: Annotated[
        str,
        typer.Argument(
            help="documentation_updated, on_call_named, stakeholders_told, rollback_plan_tested or backup_made."
        ),
    ],
    note: Annotated[str, typer.Option(help="A sentence that others understand later.")] = "",
    person: Annotated[str, typer.Option(help="Who is on call, with on_call_named.")] = "",
    as_json: Json = False,
) -> None:
    """Say with your name that something was done. Only people attest."""
    report = {name: text for name, text in (("note", note), ("person", person)) if text}
    api = client.from_environment()
    kept = api.post(f"/deployments/versions/{version_id(api, version)}/evidence", {"kind": kind, "report": report})
    if as_json:
        return answer(kept)
    say(f"evidence {kept['id']}: {kept['by']} attests {kind}: {kept['summary'].get('note', '')}")


def waive(
    version: Version,
    gate: Gate,
    environment: Environment,
    owner: Annotated[str, typer.Option(help="Who sees to it that the gate passes.")],
    reason: Annotated[str, typer.Option(help="Why; it is shown wherever the gate is.")],
    days: Annotated[float, typer.Option(min=0.01, max=30, help="How long it holds.")],
    as_json: Json = False,
) -> None:
    """Let a gate not hold a version for some days. Approvers do, and never who registered the version."""
    api = client.from_environment()
    # A little less than so many days: the server's clock may be behind ours.
    until = datetime.now(UTC) + timedelta(days=days) - timedelta(minutes=1)
    body = {"gate": gate, "environment": environment, "owner": owner, "reason": reason, "expiresAt": until.isoformat()}
    made = api.post(f"/deployments/versions/{version_id(api, version)}/waivers", body)
    if as_json:
        return answer(made)
    say(f"{gate} is waived in {environment} until {made['expiresAt']}")


def unwaive(version: Version, gate: Gate, environment: Environment, as_json: Json = False) -> None:
    """Let a waived gate hold again."""
    api = client.from_environment()
    body = {"gate": gate, "environment": environment}
    now = api.post(f"/deployments/versions/{version_id(api, version)}/unwaive", body)
    if as_json:
        return answer(now)
    say(f"{gate} holds again in {environment}")


def gates(
    deployment: Deployment,
    to: Annotated[str, typer.Option("--to", help="The environment that it would go to.")] = "production",
    as_json: Json = False,
) -> None:
    """What the gates say of a deployment. Exit code 0 only if it may be promoted."""
    api, where = client.from_environment(), f"/deployments/{deployment_id(deployment)}"
    may: dict[str, Any] = api.get(f"{where}/can-promote", targetEnvironment=to)
    checks = api.get(f"{where}/gate-checks", targetEnvironment=to)
    if as_json:
        answer({**may, "checks": checks})
    else:
        table(("GATE", "", "WHY"), ((c["name"], "passed" if c["passed"] else "failed", c["reason"]) for c in checks))
        say(f"it may go to {to}" if may["canPromote"] else f"it may not go to {to}")
    if not may["canPromote"]:
        raise Ended(FAILED)
