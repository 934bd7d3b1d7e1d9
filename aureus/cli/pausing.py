"""Times and reasons for which nothing starts in an environment: lock, unlock, freeze."""

from __future__ import annotations

from typing import Annotated

import typer

from aureus.cli import client, group
from aureus.cli.output import Json, answer, say, table, when

Environment = Annotated[str, typer.Argument(metavar="ENVIRONMENT", help="Where.")]
freezes = group.make(no_args_is_help=True, help="Periods in which no deployment starts; they never hold a rollback.")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(lock)
    app.command()(unlock)
    app.add_typer(freezes, name="freeze")


def lock(
    environment: Environment,
    reason: Annotated[str, typer.Option(help="Why; whoever waits reads it.")],
    as_json: Json = False,
) -> None:
    """Let nothing start in an environment until somebody unlocks it. Rollbacks, and what has started, go on."""
    now = client.from_environment().post(f"/environments/{environment}/lock", {"reason": reason})
    answer(now) if as_json else say(f"{environment} is locked by {now['lockedBy']}: {now['locked']}")


def unlock(
    environment: Environment,
    reason: Annotated[str, typer.Option(help="Why; it is kept.")] = "",
    as_json: Json = False,
) -> None:
    """Let deployments start in an environment again; those that waited go on."""
    now = client.from_environment().post(f"/environments/{environment}/unlock", {"reason": reason})
    answer(now) if as_json else say(f"{environment} is not locked any more")


@freezes.command("list")
def list_freezes(environment: Environment, as_json: Json = False) -> None:
    """List those that hold there now or will, with those of every environment."""
    rows = client.from_environment().get(f"/environments/{environment}/freezes")
    if as_json:
        return answer(rows)
    cells = (
        (r["id"], r["environment"] or "every", r["from"], r["to"], ", ".join(r["days"]), r["zone"],
         when(r["holdsUntil"]), "declaration" if r["declared"] else r["by"], r["reason"])
        for r in rows
    )  # fmt: skip
    table(("ID", "ENVIRONMENT", "FROM", "TO", "ON", "ZONE", "HOLDS UNTIL (UTC)", "BY", "WHY"), cells)


@freezes.command()
def add(
    environment: Environment,
    begins: Annotated[str, typer.Option("--from", help='"friday 16:00", "24 december", "22:00", "2026-12-24 16:00".')],
    ends: Annotated[str, typer.Option("--to", help="Of the same kind; a day without an hour is a whole day.")],
    reason: Annotated[str, typer.Option(help="Why; whoever waits reads it.")],
    zone: Annotated[str, typer.Option(help="Whose clocks count, such as Europe/Berlin.")] = "UTC",
    day: Annotated[
        list[str] | None, typer.Option(help="Weekdays on which one that names hours begins; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Let no deployment start there in a period: once, or every year, week or day."""
    body = {"from": begins, "to": ends, "zone": zone, "days": day or [], "reason": reason}
    made = client.from_environment().post(f"/environments/{environment}/freezes", body)
    answer(made) if as_json else say(f"freeze {made['id']}: {made['from']} to {made['to']} {made['zone']}")


@freezes.command()
def lift(
    environment: Environment, freeze: Annotated[int, typer.Argument(metavar="ID", help="As the list has it.")]
) -> None:
    """Lift a freeze; who waited for its end goes on. One of a declaration is taken out there."""
    client.from_environment().delete(f"/environments/{environment}/freezes/{freeze}")
    say(f"freeze {freeze} was lifted")
