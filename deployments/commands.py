"""The tool `command`: what an installation has declared, run on one of its hosts for a task of a workflow.

Nothing but declared lines is ever run. The host knows each call by its name, so that a lost worker's is asked for
again and not begun again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from deployments.drivers import ActFailed, ActRefused, ActTimedOut, HostAddress, HostError, Hosts, Site, Unreachable
from deployments.drivers.hosts import KEY
from deployments.drivers.quoting import quote
from health.runs.facts import Cause
from health.runs.settle import Answer, Result
from health.runs.tools import Asked

ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,59}")
MOST = 4096
"""Characters of one argument."""
LOOK_AGAIN = timedelta(seconds=1)
REACH_AGAIN = timedelta(seconds=5)
ENDED_BADLY = frozenset({"command_failed", "broke_off", "deadline", "killed"})
"""What a host says of a command that it has begun and that is no success."""


@dataclass(frozen=True, slots=True)
class Place:
    """An installation as its commands are run: hosts in its order, lines by name, why no host may be changed now."""

    name: str
    hosts: Mapping[str, tuple[HostAddress, Site]]
    lines: Mapping[str, str]
    doubt: str = ""


class Wrong(Exception):
    """What a task asks for cannot be run, and not at another time either."""


def command(asked: Asked, place: Place, hosts: Hosts) -> Answer:
    """One look at a command: begin it, or see how far the one that was begun has come."""
    try:
        line = line_of(asked.params, place)
        address, site = _host(asked.params, place)
    except Wrong as wrong:
        return Answer(Result.FAILED, str(wrong), final=True)
    run = int(asked.earlier.get("run", 1))
    if place.doubt:
        return _later(f"{place.name} is not to be changed: {place.doubt}", asked, run, REACH_AGAIN)
    try:
        answer = hosts.beside(address, site, line, key=_name(asked.key, run), deadline=asked.timeout)
    except (ActFailed, ActRefused, ActTimedOut, Unreachable) as error:
        return _not_done(error, asked, run)
    except HostError as error:
        return Answer(Result.FAILED, error.sentence, output={"run": run})
    if answer.state == "running":
        return _later(f"{address.name}: the command goes on", asked, run, LOOK_AGAIN)
    said = str(answer.data.get("said", ""))
    return Answer(Result.PASSED, output={"host": address.name, "said": said})


def line_of(params: Mapping[str, Any], place: Place) -> str:
    """The shell command of a task: the declared line, and its arguments as variables of it. Raises Wrong."""
    name = params.get("command")
    if not isinstance(name, str) or name not in place.lines:
        known = ", ".join(sorted(place.lines)) or "none"
        raise Wrong(f"{place.name} has no command {name!r}; declared there: {known}")
    arguments = params.get("arguments", {})
    if not isinstance(arguments, Mapping):
        raise Wrong("arguments must be an object of names and texts")
    for word, value in arguments.items():
        if not ARGUMENT.fullmatch(word):
            raise Wrong(f"{word!r} is no name of an argument: letters, digits and underscores")
        if not isinstance(value, str | int | float) or "\0" in str(value) or len(str(value)) > MOST:
            raise Wrong(f"argument {word} must be a text of at most {MOST} characters, or a number")
    given = [f"AUREUS_ARG_{word}={value}" for word, value in arguments.items()]
    return f"export {quote(given)}; {place.lines[name]}" if given else place.lines[name]


def _host(params: Mapping[str, Any], place: Place) -> tuple[HostAddress, Site]:
    """The named host; else the first in the installation's order."""
    name = params.get("host", next(iter(place.hosts), ""))
    if not isinstance(name, str) or name not in place.hosts:
        raise Wrong(f"{place.name} has no host {name!r}; there is: {', '.join(place.hosts) or 'none'}")
    return place.hosts[name]


def _name(key: str, run: int) -> str:
    """The name by which the host knows this call, whatever the author's key is written like."""
    name = f"{key}:{run}"
    return name if KEY.match(name) else f"k{hashlib.sha256(key.encode()).hexdigest()}:{run}"


def _later(why: str, asked: Asked, run: int, pause: timedelta) -> Answer:
    return Answer(Result.LATER, why[:500], output={"run": run}, until=asked.now + pause)


def _not_done(error: HostError, asked: Asked, run: int) -> Answer:
    """A command that has ended badly is tried again by another name; one of which nothing is known, by the same."""
    said = str(error.detail.get("said", "")).strip()
    if isinstance(error, Unreachable) or error.code not in ENDED_BADLY:
        if error.retry:
            return _later(error.sentence, asked, run, REACH_AGAIN)
        return Answer(Result.FAILED, error.sentence, output={"run": run}, final=True)
    cause = {"command_failed": Cause.ERROR, "deadline": Cause.TIMEOUT}.get(error.code, Cause.LOST)
    why = f"{error.sentence}{': ' if said else ''}{said[-1000:]}"
    return Answer(Result.FAILED, why, output={"run": run + 1, "said": said}, cause=cause)
