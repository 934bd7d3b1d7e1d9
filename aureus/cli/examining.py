"""The doctor: is this setup fit for its worst day?"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from aureus.cli.ends import FAILED, Ended
from aureus.cli.group import database
from aureus.cli.output import Json, answer, is_plain, say, table


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(doctor)


def doctor(
    everything: Annotated[bool, typer.Option("--all", help="Also what is well.")] = False,
    as_json: Json = False,
) -> None:
    """Look at servers, workers, policies, hosts and balancers, and say what to do. It changes nothing.

    Exit code 1 if something would make a deployment or a rollback fail; warnings alone end with 0.
    """
    with database():
        from deployments.doctor import State, examine
        from deployments.outside import real

        with Status("looking", console=Console(stderr=True)) as status:
            quiet = as_json or is_plain() or not sys.stderr.isatty()
            if quiet:
                status.stop()
            found = list(
                examine(real(), (lambda _: None) if quiet else lambda what: status.update(f"looking at {what}"))
            )
    counts = Counter(finding.state for finding in found)
    if as_json:
        rows = [{"about": f.about, "state": f.state, "sentence": f.sentence, "remedy": f.remedy} for f in found]
        answer(rows)
    else:
        shown = [f for f in found if everything or f.state is not State.OK]
        if shown:
            table(("STATE", "ABOUT", "SEEN", "WHAT TO DO"), ((f.state, f.about, f.sentence, f.remedy) for f in shown))
        say(f"{counts[State.OK]} well, {counts[State.WARNING]} to think about, {counts[State.FAILED]} to mend")
    if counts[State.FAILED]:
        raise Ended(FAILED)
