"""One mapping of a declaration, read field by field; what is wrong is collected with its path. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

Errors = list[tuple[str, str]]

NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,59}")
PATH = re.compile(r"/[^\s#\x00-\x1f\x7f]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Fields:
    """The fields at one path. A wrong field is reported, and reads as its fallback so that reading goes on."""

    def __init__(self, value: Any, path: str, errors: Errors) -> None:
        self.path, self.errors = path, errors
        self.values: Mapping[str, Any] = value if isinstance(value, dict) else {}
        self._asked: set[str] = set()
        self.usable = isinstance(value, dict)
        if not self.usable:
            errors.append((path or "the file", "must be a mapping of fields"))

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, name: str, message: str) -> None:
        """Report a field."""
        self.errors.append((self.at(name), message))

    def is_wrong(self, name: str) -> bool:
        """The field, or something in it, was reported."""
        return any(path == self.at(name) or path.startswith(f"{self.at(name)}.") for path, _ in self.errors)

    def given(self, name: str) -> bool:
        """The field stands in the file, and is not null."""
        self._asked.add(name)
        return self.values.get(name) is not None

    def text(
        self,
        name: str,
        default: str | None = None,
        *,
        pattern: re.Pattern[str] | None = None,
        like: str = "",
        most: int = 300,
    ) -> str:
        """One line of text. default None: it must be given. like: what the pattern asks for, for people."""
        if not self.given(name):
            if default is None and self.usable:
                self.wrong(name, "must be given")
            return default or ""
        value = self.values[name]
        if not isinstance(value, str):
            self.wrong(name, f"must be text, not {_kind(value)}; put it in quotes")
        elif _CONTROL.search(value) or len(value) > most:
            self.wrong(name, f"must be one line of at most {most} characters")
        elif value and pattern is not None and not pattern.fullmatch(value):
            self.wrong(name, f"{value!r} must be {like}")
        elif not value and default is None:
            self.wrong(name, "must not be empty")
        else:
            return value
        return ""

    def number(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number from low to high."""
        if not self.given(name):
            if default is None and self.usable:
                self.wrong(name, "must be given")
            return default or 0
        value = self.values[name]
        if type(value) is not int or not low <= value <= high:
            self.wrong(name, f"must be a number from {low} to {high}")
            return default or 0
        return value

    def truth(self, name: str) -> bool:
        """true or false; false where it is not given."""
        value = self.values[name] if self.given(name) else False
        if not isinstance(value, bool):
            self.wrong(name, "must be true or false")
        return value is True

    def one_of(self, name: str, choices: Collection[str], default: str) -> str:
        """One of some words."""
        value = self.values[name] if self.given(name) else default
        if value not in tuple(choices):
            self.wrong(name, f"must be one of {', '.join(sorted(choices))}")
            return default
        return value

    def texts(self, name: str) -> list[str] | None:
        """A list of texts; None where it is not given."""
        if not self.given(name):
            return None
        value = self.values[name]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.wrong(name, "must be a list of names")
            return None
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        """A mapping, empty where it is not given."""
        value = self.values[name] if self.given(name) else {}
        if not isinstance(value, dict):
            self.wrong(name, "must be a mapping of fields")
            return {}
        return value

    def rows(self, name: str) -> Iterator[Fields]:
        """Each mapping of a list."""
        value = self.values[name] if self.given(name) else []
        if not isinstance(value, list):
            self.wrong(name, "must be a list")
            value = []
        for position, item in enumerate(value):
            yield Fields(item, f"{self.at(name)}[{position}]", self.errors)

    def end(self, also: Collection[str] = ()) -> None:
        """Report what nobody asked for. also: names that belong here and are read by others."""
        known = self._asked | set(also)
        for name in self.values:
            if name not in known:
                self.wrong(name, f"there is no such field; there is: {', '.join(sorted(known))}")


def _kind(value: Any) -> str:
    return {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a mapping"}.get(
        type(value), f"a {type(value).__name__}"
    )
