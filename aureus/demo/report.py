"""What the demo says: a line for each thing that happens, with the seconds since it began; in colour on a terminal."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

TONES = {"plain": "", "quiet": "dim", "good": "green", "bad": "bold red", "title": "bold cyan"}


class Report:
    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def say(self, who: str, what: str, tone: str = "plain") -> None:
        """One line; what is said may come from anywhere and is never read as markup."""
        style = TONES[tone]
        text = escape(f"{who:12} {what}")
        self._console.print(f"[dim]{self.seconds:6.1f} s[/dim]  " + (f"[{style}]{text}[/]" if style else text))

    def chapter(self, title: str) -> None:
        self._console.print(f"\n[bold cyan]{escape(title)}[/]")

    def lines(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names and values below each other."""
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self._console.print(escape(f"  {name:{width}}  {value}"))
