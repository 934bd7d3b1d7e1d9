"""What people and scripts see: tables and progress at a terminal, plain lines elsewhere, JSON where asked for."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, on standard output alone.")]
COLOURS = {"deployed": "green", "passed": "green", "failed": "red", "rolled_back": "red", "owed": "red",
           "in_progress": "cyan", "running": "cyan", "awaiting_approval": "yellow", "held": "yellow"}  # fmt: skip


def is_plain() -> bool:
    """No terminal, or one that wants no decoration: then no colours, bars, boxes or cut lines."""
    return not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def clean(value: Any) -> str:
    """One line without control characters: what a host said must not drive the terminal."""
    text = "" if value is None else str(value)
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") else c for c in text).strip()


def say(text: str = "") -> None:
    """A line for people."""
    print(clean(text), flush=True)


def warn(text: str) -> None:
    """A line on standard error, where it spoils no answer."""
    print(clean(text), file=sys.stderr, flush=True)


def answer(value: Any) -> None:
    """JSON, for programs."""
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False), flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows under their columns; in plain form aligned, never cut."""
    listed = [[clean(cell) for cell in row] for row in rows]
    if is_plain():
        for line in plain_table(columns, listed):
            print(line, flush=True)
        return
    Console(highlight=False).print(rich_table(columns, listed))


def rich_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """For a terminal. Cells are text, never markup."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    return made


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of aligned columns."""
    everything = [list(columns), *rows]
    widths = [max(len(row[at]) for row in everything) for at in range(len(columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in everything
    ]


def when(value: str | datetime | None) -> str:
    """A time as people read it, in UTC."""
    if not value:
        return ""
    at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return f"{at:%Y-%m-%d %H:%M:%S}"


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def ask(question: str) -> bool:
    """Yes or no at the terminal; without one nobody can answer, which is no."""
    if not sys.stdin.isatty():
        return False
    return typer.confirm(question)


@contextmanager
def progress(what: str, total: int) -> Iterator[Any]:
    """A bar on standard error for bytes; in plain form one line when it is done. Yields a function of bytes done."""
    if is_plain() or not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
