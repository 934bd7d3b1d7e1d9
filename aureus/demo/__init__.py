"""The demo: a whole story on this machine. `run` tells it and leaves nothing behind."""

from pathlib import Path

__all__ = ["run"]


def run(home: Path | None = None, *, keep: bool = False) -> int:
    """0 only if all held. `home`: a new or empty folder for everything, kept; `keep`: runs on until Ctrl-C."""
    # Loaded late: the command line names this function at each of its starts.
    from aureus.demo.running import perform

    return perform(home, keep=keep)
