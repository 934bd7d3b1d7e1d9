"""The group of all commands: turns what verbs and servers refuse into a sentence and an exit code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from aureus.cli.ends import FAILED, USAGE, Ended, with_errors
from aureus.cli.output import warn


class Commands(TyperGroup):
    """Ends each command with what `Ended` and the verbs' refusals say."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Ended as ended:
            _tell(ended)
            raise typer.Exit(ended.code) from None
        except KeyboardInterrupt:
            warn("interrupted; what was asked of Aureus goes on: look with aureus status")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # Who read our output has gone; the interpreter must not complain about it at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(FAILED) from None


def _tell(ended: Ended) -> None:
    if ended.sentence:
        warn(ended.sentence)
    for line in ended.lines:
        warn(f"  {line}")


def make(**how: Any) -> typer.Typer:
    """A group with our habits."""
    return typer.Typer(
        cls=Commands,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **how,
    )


@contextmanager
def database() -> Iterator[None]:
    """For the commands that work on the database: Django is loaded here, and not before."""
    import sys

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aureus.settings")
    import django

    try:
        django.setup()
    except SystemExit as error:  # the configuration is wrong; its sentences come with the exit
        print(error, file=sys.stderr)
        raise Ended(USAGE) from None
    from django.db import InterfaceError, OperationalError, ProgrammingError

    from aureus.journal.refusals import Invalid, Refused

    try:
        yield
    except Refused as error:
        raise Ended(
            USAGE if isinstance(error, Invalid) else FAILED, error.sentence, with_errors(error.errors)
        ) from None
    except (OperationalError, InterfaceError) as error:
        said = str(error).strip().splitlines()[0]
        what = "start it with `aureus up`, or set DATABASE_URL (and AUREUS_HOME) as its server has them"
        raise Ended(FAILED, f"the database does not answer: {what} ({said})") from None
    except ProgrammingError as error:
        if "does not exist" not in str(error):
            raise
        said = str(error).strip().splitlines()[0]
        what = "start `aureus up` once (or anew after an update), which makes and mends its tables"
        raise Ended(FAILED, f"the database does not fit this version of Aureus: {what} ({said})") from None


def operator() -> Any:
    """Who works on the database: whoever may read its password, by the name of the machine's user."""
    import getpass

    from aureus.journal.actor import Actor

    return Actor(f"shell:{getpass.getuser()}"[:150], "system")
