"""The one way in which words become a shell command line."""

from __future__ import annotations

import shlex
from collections.abc import Iterable


def quote(words: Iterable[str]) -> str:
    """The command line that a POSIX shell splits into exactly these words. Raises ValueError for NUL or no words."""
    listed = list(words)
    if not listed:
        raise ValueError("a command needs at least one word")
    for word in listed:
        if "\0" in word:
            raise ValueError("a word of a command cannot hold a NUL character")
    return " ".join(shlex.quote(word) for word in listed)
