"""JSON of bounded depth and size, no key twice, no number that is none. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from releases.reports.summaries import ReportInvalid

MAX_DEPTH = 64
MAX_CONTAINERS = 400_000
"""Objects and arrays; each costs some two hundred bytes once it is read."""
MAX_VALUES = 2_000_000
# A string is one token, even one that never ends: no byte is looked at twice, and nothing is remembered (possessive).
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+|[\[{]|[\]}]|,', re.DOTALL)

# Controls but tab and line ends, halves of surrogate pairs, and marks of direction that let a text read as another one.
_UNCLEAN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NOT_IN_A_LINE = re.compile(r"[\t\r\n\u2028\u2029]")


def read(octets: bytes) -> dict[str, Any]:
    """The object in the file. Counted before anything of it is built. Raises ReportInvalid."""
    value = read_any(octets)
    if not isinstance(value, dict):
        raise ReportInvalid("the report must be a JSON object")
    return value


def read_any(octets: bytes) -> Any:
    """The value in the file. Raises ReportInvalid."""
    text = _text(octets)
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refused)
    except RecursionError:
        raise ReportInvalid(f"the report is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        told = "a number has too many digits" if "int_max_str_digits" in str(error) else str(error)[:200]
        raise ReportInvalid(f"the report is not whole JSON: {told}") from None


def _text(octets: bytes) -> str:
    if octets.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in octets[:4]:
        raise ReportInvalid("the report is not UTF-8: write it as UTF-8")
    octets = octets.removeprefix(b"\xef\xbb\xbf")
    _count(octets)
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise ReportInvalid("the report is not UTF-8: write it as UTF-8") from None


def _count(octets: bytes) -> None:
    depth = containers = values = 0
    for token in _TOKENS.finditer(octets):
        match octets[token.start()]:
            case 0x5B | 0x7B:  # [ {
                depth += 1
                containers += 1
                if depth > MAX_DEPTH:
                    raise ReportInvalid(f"the report is nested deeper than {MAX_DEPTH} levels")
                if containers > MAX_CONTAINERS:
                    raise ReportInvalid(f"the report has more than {MAX_CONTAINERS} objects: send it in parts")
            case 0x5D | 0x7D:
                depth -= 1
            case 0x2C:
                values += 1
                if values > MAX_VALUES:
                    raise ReportInvalid(f"the report has more than {MAX_VALUES} values: send it in parts")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def _refused(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")


def objects(value: object, where: str) -> list[dict[str, Any]]:
    """A list of objects. Raises ReportInvalid."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ReportInvalid(f"{where} must be a list of objects")
    return value


def mapping(value: object, where: str) -> dict[str, Any]:
    """An object. Raises ReportInvalid."""
    if not isinstance(value, dict):
        raise ReportInvalid(f"{where} must be an object")
    return value


def whole(value: object, where: str) -> int:
    """A count. Raises ReportInvalid."""
    if type(value) is not int or not 0 <= value < 10**15:
        raise ReportInvalid(f"{where} must be a whole number that is not negative")
    return value


def line(value: object, where: str, *, most: int = 500) -> str:
    """One line of text that says something. Raises ReportInvalid."""
    found = text(value, where, most=most)
    if _NOT_IN_A_LINE.search(found):
        raise ReportInvalid(f"{where} must be one line of plain text")
    return found


def text(value: object, where: str, *, most: int) -> str:
    """Text that says something, in a line or some. Raises ReportInvalid."""
    if not isinstance(value, str) or not value.strip() or len(value) > most or _UNCLEAN.search(value):
        raise ReportInvalid(f"{where} must be text of 1 to {most} characters, none of them control characters")
    return value.strip()
