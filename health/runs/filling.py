"""Putting a run's params and earlier results into what a task is called with. Pure.

`${params.order}` and `${tasks.reserve.body.id}` within a text; a text that is nothing else becomes the value itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from health.runs.choosing import MISSING, at

LARGEST = 262_144
"""Characters that may be filled into one task's params."""
_PLACE = re.compile(r"\$\{([^${}]{1,300})\}")


class Unfilled(ValueError):
    """A place names what is not there; the message is a sentence."""


def filled(value: Any, known: Mapping[str, Any]) -> Any:
    """The value with every place filled from `known` (params, tasks). Raises Unfilled."""
    return _Filling(known).of(value)


class _Filling:
    """One filling, with a bound on all that it puts in: a place is short, what it names may be long."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known = known
        self._left = LARGEST

    def of(self, value: Any) -> Any:
        if isinstance(value, str):
            whole = _PLACE.fullmatch(value)
            return self._found(whole[1])[0] if whole else _PLACE.sub(lambda place: self._found(place[1])[1], value)
        if isinstance(value, Mapping):
            return {key: self.of(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.of(inner) for inner in value]
        return value

    def _found(self, path: str) -> tuple[Any, str]:
        """What a place names, and how it reads within a text."""
        found = at(self._known, path.strip())
        if found is MISSING:
            raise Unfilled(f"There is no {path.strip()[:100]!r}: places are params.NAME and tasks.ID.FIELD.")
        text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
        self._left -= len(text)
        if self._left < 0:
            raise Unfilled(f"More than {LARGEST} characters would be filled in.")
        return found, text
