"""Lines of access logs: who answered, how, and how fast. Pure."""

import json
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from health.measured import Buckets

LONGEST = 16_384
"""Characters beyond which a line is nobody's request."""
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75,
          1.0, 1.5, 2.0, 3.0, 5.0, 10.0, math.inf)  # fmt: skip
"""Seconds. 0.5 is the guide's bound of the p95, and 1.5 times a bound is never more than two bounds away."""
ERRORS_FROM = 500

# nginx writes a quote inside of a value as \x22, so a quote always ends one.
_COMBINED = re.compile(r'"[^"]*" (\d{3}) (?:\d+|-) "[^"]*" "[^"]*" "?(\d+\.\d+)"?\s*$')
_AUREUS = re.compile(r'"[^"]*" (\d{3}) (?:\d+|-) (\d+\.\d+) "([^"]*)" "([^"]*)" "([^"]*)"\s*$')
# TR/Tw/Tc/Tr/Ta in milliseconds, then the status; what a client may write comes after these.
_HAPROXY = re.compile(
    r" \[[^\]]{10,40}\] \S+ ([^\s/]+)/(\S+) -?\d+/-?\d+/-?\d+/(-?\d+)/\+?(-?\d+) (-?\d+) \+?\d+ \S+ \S+ \S{4} "
)
_UPSTREAMS = re.compile(r", | : ")


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer. `by`: the names under which the log may know the endpoint; empty: no endpoint was asked."""

    by: tuple[str, ...]
    status: int
    seconds: float | None


@dataclass(slots=True)
class Tally:
    """What one endpoint answered. `times` counts the timed ones by the bounds."""

    requests: int = 0
    errors: int = 0
    times: list[int] = field(default_factory=lambda: [0] * len(BOUNDS))

    def add(self, answered: Answered) -> None:
        self.requests += 1
        self.errors += answered.status >= ERRORS_FROM
        if answered.seconds is not None:
            self.times[bisect_left(BOUNDS, answered.seconds)] += 1

    @property
    def buckets(self) -> Buckets:
        """Cumulative, as a sample has them."""
        sums, total = [], 0
        for bound, count in zip(BOUNDS, self.times, strict=True):
            total += count
            sums.append((bound, total))
        return tuple(sums) if total else ()


@dataclass(frozen=True, slots=True)
class Tallied:
    """Lines by endpoint; `read` of them had the format, `unread` had another."""

    of: Mapping[str, Tally]
    read: int
    unread: int


def tally(kind: str, lines: Iterable[bytes], names: Mapping[str, str], *, everything: str = "") -> Tallied:
    """Count lines of a format. `names`: as the log knows an endpoint -> the endpoint. `everything`: the one endpoint
    that answered each line of this log."""
    of: dict[str, Tally] = {}
    read = unread = 0
    for line in lines:
        answers = answers_in(kind, line)
        read, unread = (read, unread + 1) if answers is None else (read + 1, unread)
        for answered in _last(answers) if everything else answers or ():
            endpoint = everything or next((names[name] for name in answered.by if name in names), "")
            if endpoint:
                of.setdefault(endpoint, Tally()).add(answered)
    return Tallied(of, read, unread)


def answers_in(kind: str, line: bytes) -> list[Answered] | None:
    """The answers that one line tells of, more than one where a balancer tried again; None: not of this format."""
    return FORMATS[kind](line.decode("utf-8", "replace").rstrip("\r\n")) if len(line) <= LONGEST else None


def _last(answers: list[Answered] | None) -> list[Answered]:
    return answers[-1:] if answers else []


def _nginx_combined(line: str) -> list[Answered] | None:
    found = _COMBINED.search(line)
    return [Answered((), int(found[1]), float(found[2]))] if found else None


def _nginx(line: str) -> list[Answered] | None:
    found = _AUREUS.search(line)
    if found is None:
        return None
    tried = [_UPSTREAMS.split(found[n]) for n in (3, 4, 5)]
    if tried[0] == ["-"] or len({len(one) for one in tried}) > 1:
        return [Answered((), int(found[1]), float(found[2]))]
    return [
        Answered((upstream,), int(status), _number(seconds))
        for upstream, status, seconds in zip(*tried, strict=True)
        if re.fullmatch(r"\d{3}", status)  # "-": the client was gone before an answer came
    ]


def _haproxy(line: str) -> list[Answered] | None:
    found = _HAPROXY.search(line)
    if found is None:
        return None
    backend, server, answered, total, status = found.groups()
    if int(status) < 100 or server.startswith("<"):
        return []  # the client was gone, or no server was asked
    milliseconds = int(answered) if int(answered) >= 0 else int(total)
    return [Answered((server, f"{backend}/{server}"), int(status), max(milliseconds, 0) / 1000)]


def _caddy(line: str) -> list[Answered] | None:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or type(said.get("status")) is not int:
        return None
    seconds, upstream = said.get("duration"), said.get("upstream")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e6:
        return None
    if not 100 <= said["status"] <= 999:
        return []
    return [Answered((upstream,) if isinstance(upstream, str) else (), said["status"], float(seconds))]


def _number(text: str) -> float | None:
    try:
        return float(text) if text != "-" else None
    except ValueError:
        return None


FORMATS: Mapping[str, Callable[[str], list[Answered] | None]] = {
    "nginx": _nginx,
    "nginx-combined": _nginx_combined,
    "haproxy": _haproxy,
    "caddy": _caddy,
}
UPSTREAMS = frozenset({"nginx", "haproxy", "caddy"})
"""Formats that tell who answered, so that a balancer's log can be read."""
