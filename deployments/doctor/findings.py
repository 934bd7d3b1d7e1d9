"""What the doctor says: one sentence about one thing, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """warning: it works today and will hurt on a bad day. failed: a deployment or a rollback would fail."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """`about` names the thing, `sentence` says what was seen, `remedy` what to do ("" where all is well)."""

    about: str
    state: State
    sentence: str
    remedy: str = ""


def ok(about: str, sentence: str) -> Finding:
    return Finding(about, State.OK, sentence)


def warning(about: str, sentence: str, remedy: str) -> Finding:
    return Finding(about, State.WARNING, sentence, remedy)


def wrong(about: str, sentence: str, remedy: str) -> Finding:
    return Finding(about, State.FAILED, sentence, remedy)


GIB = 1024**3


def size(count: float) -> str:
    """Bytes as people read them."""
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 1024**2:.0f} MiB"
