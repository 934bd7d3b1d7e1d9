"""How a host is asked by command: handed in by whoever has SSH, and its one exception."""

from collections.abc import Callable, Sequence

Run = Callable[[Sequence[str], bytes, float], tuple[int, bytes, bytes]]
"""Words, stdin, seconds -> exit status, stdout, stderr. Raises CannotRun."""


class CannotRun(Exception):
    """The host could not be asked; `sentence` says why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


def told(octets: bytes) -> str:
    """What a command said last, as one short line without control characters."""
    lines = [line.strip() for line in octets.decode("utf-8", "replace").splitlines() if line.strip()]
    return "".join(letter for letter in (lines or ["nothing"])[-1] if letter.isprintable())[:160]
