"""What a verb says when it does not do what it was asked: a sentence that tells the caller what to do.

Refused
├── Invalid     the request itself is wrong (400)
├── NotAllowed  the actor may not (403)
├── NotFound    there is no such thing (404)
├── Conflict    it does not fit what is the case now (409)
├── TooLarge    more than this door takes (413)
└── Unavailable something it needs does not answer now (503)
"""

from collections.abc import Iterable, Mapping
from typing import Any


class Refused(Exception):
    """The request was not carried out, and nothing of it was."""

    status = 409

    def __init__(
        self,
        sentence: str,
        *,
        code: str = "",
        errors: Iterable[tuple[str, str]] = (),
        about: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code or type(self).__name__.lower()
        self.errors = tuple(errors)
        self.about = dict(about or {})


class Invalid(Refused):
    """The request itself is wrong."""

    status = 400


class NotAllowed(Refused):
    """The actor may not do this here."""

    status = 403


class NotFound(Refused):
    """There is no such thing, or none this actor may know of."""

    status = 404


class Conflict(Refused):
    """It does not fit what is the case now."""

    status = 409


class TooLarge(Refused):
    """More than this door takes."""

    status = 413


class Unavailable(Refused):
    """Something it needs does not answer now."""

    status = 503
