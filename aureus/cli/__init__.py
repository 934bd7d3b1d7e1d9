"""The `aureus` command, for people and for CI. One file per group; Django is loaded by the commands that need it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from aureus.cli import (
    access,
    artifacts,
    configuring,
    deploying,
    examining,
    fleet,
    following,
    group,
    hosts,
    judging,
    pausing,
    people,
    proving,
    running,
    versions,
    workflows,
)

app = group.make(no_args_is_help=True, help="Aureus: deployments to plain servers that undo themselves when they fail.")
running.add_to(app)
fleet.add_to(app)
examining.add_to(app)
judging.add_to(app)
app.add_typer(hosts.app, name="hosts")
access.add_to(app)
app.add_typer(versions.app, name="version")
app.add_typer(artifacts.app, name="artifact")
app.add_typer(configuring.app, name="config")
app.add_typer(workflows.app, name="workflow")
proving.add_to(app)
deploying.add_to(app)
following.add_to(app)
people.add_to(app)
pausing.add_to(app)


def _version(wanted: bool) -> None:
    if wanted:
        try:
            print(version("aureus"))
        except PackageNotFoundError:
            print("unknown: it runs from a folder that was not installed")
        raise typer.Exit


@app.callback()
def _options(
    shown: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it and end.")
    ] = False,
) -> None:
    pass


def main(words: Sequence[str] | None = None) -> None:
    """Run the command of these words (default: the process's own) and exit."""
    app(args=list(words) if words is not None else None, prog_name="aureus")
