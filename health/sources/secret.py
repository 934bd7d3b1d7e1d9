"""A secret by its reference: file:/path or env:NAME. The secret itself is in no row, log or event."""

import os
import re

REFERENCE = re.compile(r"(file:/[^\x00-\x1f\x7f]+|env:[A-Za-z_][0-9A-Za-z_]*)")
_TOKEN = re.compile(r"[\x21-\x7e]+")


class NoSecret(Exception):
    """There is nothing usable behind the reference; `sentence` names the reference alone."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


def read_token(reference: str) -> str:
    """The token behind a reference, without the line break at its end. Raises NoSecret."""
    kind, _, rest = reference.partition(":")
    try:
        if kind == "file":
            with open(rest, encoding="ascii") as stream:
                token = stream.read(65_536).strip()
        else:
            token = os.environ.get(rest, "").strip() if kind == "env" else ""
    except (OSError, ValueError) as error:
        raise NoSecret(f"The token {reference} cannot be read: {type(error).__name__}.") from None
    if not _TOKEN.fullmatch(token):
        raise NoSecret(f"The token {reference} is not set, or no single word.")
    return token
