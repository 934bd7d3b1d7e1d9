"""What people say to a deployment, from approve to exclude, and what lets one past what holds it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from aureus.cli import client
from aureus.cli.deploying import Deployment
from aureus.cli.output import Json, answer, say
from aureus.cli.references import deployment_id

Comment = Annotated[str, typer.Option(help="Kept with your yes or no.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (
        approve, reject, override, break_glass, pause, resume, abort, abandon, retry, promote_full, exclude,
    ):  # fmt: skip
        app.command()(command)


def approve(
    deployment: Deployment,
    comment: Comment = "",
    plan: Annotated[str, typer.Option(help="The hash of the plan you saw; without it, you say yes to what is.")] = "",
    as_json: Json = False,
) -> None:
    """Say yes to the plan as it is now. Nobody approves what he asked for himself.

    aureus status shows the plan, its risk and the way back. With --plan, a plan that has changed since is refused.
    """
    _say("approve", deployment, {"comment": comment, "planHash": plan}, as_json)


def reject(
    deployment: Deployment,
    comment: Annotated[str, typer.Option(help="Why; it is kept.")],
    as_json: Json = False,
) -> None:
    """Say no, and why: the deployment ends."""
    _say("reject", deployment, {"comment": comment}, as_json)


def override(
    deployment: Deployment,
    reason: Reason,
    hold: Annotated[
        list[str] | None, typer.Option(help="freeze, window or soak; may be repeated. Default: all that hold it now.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Let one deployment past a freeze, the deployment windows or its soak. Approvals and gates are asked still."""
    _say("override", deployment, {"reason": reason, "holds": hold or []}, as_json)


def break_glass(
    deployment: Deployment,
    reason: Annotated[str, typer.Option(help="What burns, said by who asks; it is kept.")] = "",
    confirm: Annotated[bool, typer.Option("--confirm", help="As a second person, confirm what another asked.")] = False,
    as_json: Json = False,
) -> None:
    """In an emergency, let one deployment past approvals, gates and time. Two people: one asks, another confirms."""
    if confirm:
        return _say("break-glass/confirm", deployment, {"comment": reason}, as_json)
    _say("break-glass", deployment, {"reason": reason}, as_json)


def pause(deployment: Deployment, reason: Reason = "", as_json: Json = False) -> None:
    """Let no new step start; what runs goes on to its end."""
    _say("pause", deployment, {"reason": reason}, as_json)


def resume(deployment: Deployment, reason: Reason = "", as_json: Json = False) -> None:
    """Go on where it was paused or held."""
    _say("resume", deployment, {"reason": reason}, as_json)


def abort(deployment: Deployment, reason: Reason, as_json: Json = False) -> None:
    """Stop: what was changed goes back."""
    _say("abort", deployment, {"reason": reason}, as_json)


def abandon(deployment: Deployment, reason: Reason, as_json: Json = False) -> None:
    """End anything, now. What it changed and did not prove is owed: bring it home with aureus converge."""
    _say("abandon", deployment, {"reason": reason}, as_json)


def retry(deployment: Deployment, reason: Reason = "", as_json: Json = False) -> None:
    """Run again what is held or has failed. What has failed is tried anew by a deployment of its own."""
    _say("retry", deployment, {"reason": reason}, as_json)


def promote_full(deployment: Deployment, reason: Reason, as_json: Json = False) -> None:
    """Go on to the end without being watched on the way. Hosts are proven healthy still, and watched afterwards."""
    _say("promote-full", deployment, {"reason": reason}, as_json)


def exclude(
    deployment: Deployment,
    host: Annotated[str, typer.Argument(help="The host to go on without.")],
    reason: Reason,
    as_json: Json = False,
) -> None:
    """Go on without a host that holds it up. The host is owed: bring it home with aureus converge."""
    _say("exclude", deployment, {"host": host, "reason": reason}, as_json)


def _say(verb: str, deployment: str, body: dict[str, Any], as_json: bool) -> None:
    now = client.from_environment().post(f"/deployments/{deployment_id(deployment)}/{verb}", body)
    if as_json:
        return answer(now)
    because = f": {now['reason']}" if now.get("reason") else ""
    say(f"{now['id']} is {now['status'].replace('_', ' ')}{because}")
