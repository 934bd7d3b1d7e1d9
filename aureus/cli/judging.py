"""Trying a policy on the past: `aureus judge --replay`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aureus.cli.ends import USAGE, Ended
from aureus.cli.group import database
from aureus.cli.output import Json, answer, say, table, warn, when

if TYPE_CHECKING:
    from deployments.replay import Tried

LARGEST = 1_000_001


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(judge)


def judge(
    environment: Annotated[str, typer.Option(help="Whose past windows.")],
    replay: Annotated[bool, typer.Option("--replay", help="Judge past windows anew, by the samples kept of them.")],
    policy: Annotated[
        Path | None, typer.Option(help="A YAML file with the fields of the policy to try. Default: what holds now.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, max=1000, help="So many windows, the newest first.")] = 40,
    workflow: Annotated[str, typer.Option(help="Only of this application.")] = "",
    as_json: Json = False,
) -> None:
    """Say what a policy would have decided on past windows, before it is switched on. It changes nothing."""
    if not replay:
        raise Ended(USAGE, "say --replay: windows that are open are judged by Aureus itself")
    declared = _read(policy) if policy else {}
    with database():
        from deployments import replay as replays

        wanted = replays.policy_from(environment, declared)
        tried = list(replays.try_on(environment, wanted, last=last, application=workflow))
        told = replays.summary(tried)
    if as_json:
        answer({"summary": told, "windows": [_row(one) for one in tried]})
    else:
        _show(tried, told)


def _read(file: Path) -> Any:
    """A file's values; what is wrong in them is said by the verb, everything at once."""
    from deployments.fleet import yaml_text

    try:
        with file.open("rb") as stream:
            return yaml_text.read(stream.read(LARGEST))
    except OSError as error:
        raise Ended(USAGE, f"{file} cannot be read: {error.strerror}") from None
    except yaml_text.Unreadable as error:
        raise Ended(USAGE, f"{file}: {error}") from None


def _row(one: Tried) -> dict[str, Any]:
    return {
        "deployment": str(one.deployment.id),
        "workflowId": one.deployment.installation.application.key,
        "version": one.deployment.version.number,
        "window": one.window.kind,
        "openedAt": one.window.opens_at,
        "then": one.then,
        "thenClosedAt": one.window.closed_at,
        "now": one.now.result,
        "decidedAt": one.now.decided_at,
        "rule": one.now.rule,
        "cause": one.now.cause,
        "why": one.now.sentence,
        "rules": one.now.record.get("rules", []),
        "laterGood": one.good,
        "checksLeftOut": list(one.left_out),
        "looks": one.now.looks,
        "moments": one.now.of,
    }


def _show(tried: list[Tried], told: dict[str, Any]) -> None:
    if not tried:
        return say("no window of it has closed yet")
    columns = ("APPLICATION", "VERSION", "WINDOW", "OPENED", "THEN", "NOW", "AFTER", "WHY")
    table(columns, (_cells(one) for one in tried))
    for names in sorted({one.left_out for one in tried if one.left_out}):
        warn(f"not measured then, and left out where it was not: {', '.join(names)}")
    if any(one.now.looks < one.now.of for one in tried):
        warn("of long windows some moments were left out; --json says how many")
    later = f", {told['stoppedAndLaterGood']} of them later good" if told["stopped"] else ""
    say(f"this policy would have stopped {told['stopped']} of your last {told['windows']}{later}")
    say(f"it would have let go on {told['letGo']} that were stopped; {told['undecided']} cannot be told")


def _cells(one: Tried) -> tuple[Any, ...]:
    after = ""
    if one.now.decided_at:
        after = f"{(one.now.decided_at - one.window.opens_at).total_seconds():.0f} s"
    now = one.now.result + (" (flagged)" if one.now.result == "inconclusive" else "")
    return (
        one.deployment.installation.application.key, one.deployment.version.number, one.window.kind,
        when(one.window.opens_at), one.then, now, after, one.now.sentence,
    )  # fmt: skip
