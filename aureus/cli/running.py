"""What runs on this machine: up, demo, dispatch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aureus.cli.group import database


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(up)
    app.command()(demo)
    app.command()(dispatch)


def up() -> None:
    """Run Aureus on this machine.

    Web, workers, Beat and Flower, with PostgreSQL and Valkey where DATABASE_URL and REDIS_URL name none.
    """
    from aureus.up.run import run

    raise typer.Exit(run())


def demo(
    home: Annotated[Path | None, typer.Option(help="A new or empty folder for everything; it is kept.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Go on running after the story, until Ctrl-C.")] = False,
) -> None:
    """Show a bad version undone by itself.

    On this machine alone: hosts over real SSH, a balancer under load, a good version and a bad one.
    """
    from aureus.demo import run

    raise typer.Exit(run(home, keep=keep))


def dispatch() -> None:
    """Run the emergency path beside Beat.

    It wakes what is due each second, and carries rollbacks and aborts itself while the broker is away.
    """
    with database():
        from deployments.dispatch import run

        raise typer.Exit(run())
