"""`aureus up`: everything one machine needs, as one process tree."""

from aureus.up.run import run

__all__ = ["run"]
