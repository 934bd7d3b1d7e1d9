"""What tasks of a run call: each tool gets what it is asked and answers; none of them touches the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from health.http_task import TaskFailed, ask, target
from health.runs.facts import Cause
from health.runs.rows import LONGEST_WAIT
from health.runs.settle import Answer, Result

KEY = "Idempotency-Key"
"""The header by which the called side may know a repeated call."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One try: params with every place filled, seconds it may take, its key; `began`: the task's first try.

    earlier: the output of the answer before, where there was one that was no end.
    """

    params: Mapping[str, Any]
    timeout: float
    key: str
    began: datetime
    now: datetime
    earlier: Mapping[str, Any] = field(default_factory=dict)


Tool = Callable[[Asked], Answer]
COMMAND = "command"
NAMES = frozenset({"noop", "wait", "http", "llm"})
"""The tools that every server has; COMMAND is there for a run in an environment."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where http tasks may go: anywhere public, and to the origins that whoever runs Aureus has declared.

    home: the first declared one, which a task's `path` is asked at; empty where none is declared.
    """

    home: str = ""
    declared: frozenset[tuple[str, str | None, int | None]] = frozenset()

    @classmethod
    def of(cls, urls: Iterable[str]) -> Addresses:
        """From the configured list."""
        listed = [url.rstrip("/") for url in urls]
        return cls(listed[0] if listed else "", frozenset(map(_origin, listed)))

    def find(self, params: Mapping[str, Any]) -> tuple[str, bool]:
        """The address of a request, and whether it may be a private one. Raises TaskFailed."""
        if "path" in params:
            if not self.home:
                sentence = "A task with a path needs a server to ask: give it a url, or set WORKFLOW_ADDRESSES."
                raise TaskFailed(sentence, final=True)
            return target(self.home, params), True
        url = params.get("url")
        if not isinstance(url, str):
            raise TaskFailed("An http task needs either a path or a url.", final=True)
        try:
            return url, _origin(url) in self.declared
        except ValueError:
            raise TaskFailed(f"{url[:200]!r} is no address.", final=True) from None


def tools(addresses: Addresses) -> dict[str, Tool]:
    """The tools that need nobody else, by name; `llm` is in a file of its own."""
    return {"noop": noop, "wait": wait, "http": lambda asked: http(asked, addresses)}


def noop(asked: Asked) -> Answer:
    """Does nothing; its params are its result."""
    return Answer(Result.PASSED, output=asked.params)


def wait(asked: Asked) -> Answer:
    """`{ms}`: passes so many milliseconds after its first try, a day at most. Nobody sleeps: it is asked again then."""
    length = asked.params.get("ms")
    if not isinstance(length, int) or isinstance(length, bool) or not 0 <= length <= LONGEST_WAIT * 1000:
        sentence = f"wait needs ms, a whole number from 0 to {LONGEST_WAIT * 1000:.0f}."
        return Answer(Result.FAILED, sentence, final=True)
    until = asked.began + timedelta(milliseconds=length)
    if asked.now < until:
        return Answer(Result.LATER, f"waits until {until.isoformat()}", until=until)
    return Answer(Result.PASSED, output={"waitedMs": length})


def http(asked: Asked, addresses: Addresses) -> Answer:
    """One request; see docs/workflows.md for its params."""
    try:
        url, private = addresses.find(asked.params)
        output = ask(asked.params, url, timeout=asked.timeout, allow_private=private, more={KEY: asked.key})
    except TaskFailed as failure:
        cause = Cause.TIMEOUT if failure.unknown else Cause.ERROR
        return Answer(Result.FAILED, str(failure), cause=cause, final=failure.final)
    return Answer(Result.PASSED, output=output)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
