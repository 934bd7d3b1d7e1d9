"""JSON as the API takes it: UTF-8, of bounded depth, no key twice, nothing that PostgreSQL or a terminal chokes on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from aureus.journal.refusals import Invalid

MAX_DEPTH = 64
MAX_KEY = 256
# Controls but tab and line ends, and halves of surrogate pairs.
_UNCLEAN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class StrictJSON(JSONParser):
    """The API's only parser: any other media type is answered 415."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            value = json.loads(stream.read().decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
        except RecursionError:
            raise Invalid(f"the body is nested deeper than {MAX_DEPTH} levels") from None
        except UnicodeDecodeError:
            raise ParseError("the body is not UTF-8") from None
        except ValueError as error:
            raise ParseError(f"the body is not JSON: {error}") from error
        check(value)
        return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")


def check(value: object) -> None:
    """Raises Invalid with the path of the first value that cannot be kept."""
    waiting: list[tuple[object, str, int]] = [(value, "", 1)]
    while waiting:
        item, path, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _wrong(path, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(item, dict):
            for key, inner in item.items():
                if len(key) > MAX_KEY or not _is_clean(key):
                    raise _wrong(path, f"has a key of control characters or of more than {MAX_KEY}")
                waiting.append((inner, f"{path}.{key}" if path else key, depth + 1))
        elif isinstance(item, list):
            waiting += [(inner, f"{path}[{position}]", depth + 1) for position, inner in enumerate(item)]
        elif isinstance(item, str) and not _is_clean(item):
            raise _wrong(path, "holds control characters")
        elif isinstance(item, float) and not math.isfinite(item):
            raise _wrong(path, "is too large a number")


def _wrong(path: str, message: str) -> Invalid:
    return Invalid(f"{path or 'the body'} {message}", errors=[(path, message)])


def _is_clean(text: str) -> bool:
    if text.isprintable():
        return True
    return not _UNCLEAN.search(text)
