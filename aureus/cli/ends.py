"""How a command ends: the exit codes that scripts read, and the sentence on standard error."""

from __future__ import annotations

from collections.abc import Iterable

DEPLOYED = OK = 0
FAILED = 1
USAGE = 2
WAITING = 3
TIMED_OUT = 4

CODES = {
    DEPLOYED: "done; what was waited for is deployed",
    FAILED: "refused, failed or rolled back, or nobody answers",
    USAGE: "the command, its file or the request is wrong",
    WAITING: "waits for approval",
    TIMED_OUT: "not ended within --timeout; it goes on by itself",
}


class Ended(Exception):
    """Ends the command. `lines` say more, one thing each."""

    def __init__(self, code: int, sentence: str = "", lines: Iterable[str] = ()) -> None:
        super().__init__(sentence)
        self.code, self.sentence, self.lines = code, sentence, tuple(lines)


def with_errors(errors: Iterable[tuple[str, str]]) -> list[str]:
    """Errors as lines."""
    return [f"{path}: {message}" if path else message for path, message in errors]
