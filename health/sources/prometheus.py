"""Counters of endpoints, and values of checks, read from a Prometheus server; fresh, whole, or not at all."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from health.measured import ABSENT, CHECK, COUNTS, FIRST, STALE, VALUE, Buckets, Sample
from health.sources import promql
from health.sources.declared import COUNTERS
from health.sources.promapi import TIMEOUT, NoAnswer, Point, Server, ask

MISSED = 2
"""Scrapes that may be missed: what is older than so many intervals is stale."""
_PART, _ONE = "aureus_part", "aureus_endpoint"
Reading = dict[str, Any]


class Unfit(Exception):
    """The answer is not what the queries promise. `kind` as of a sample."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind, self.sentence = kind, sentence


@dataclass(frozen=True, slots=True)
class Counted:
    """What one reading made of one endpoint; `reading` is what the next one subtracts from, None: keep the old."""

    kind: str
    why: str = ""
    requests: int = 0
    errors: int = 0
    buckets: Buckets = ()
    reading: Reading | None = None


def read_counters(
    server: Server, wanted: Mapping[str, tuple[Mapping[str, str], Reading | None]], *, timeout: float = TIMEOUT
) -> dict[str, Counted]:
    """Read many endpoints by one query, so that all of it is of one instant. Never raises for what the server does.

    wanted: endpoint -> (its queries with values filled in, the reading before).
    """
    names = list(wanted)
    try:
        query = " or ".join(_asked(str(number), wanted[name][0]) for number, name in enumerate(names))
        points = ask(server, query, timeout=timeout)
    except NoAnswer as error:
        return dict.fromkeys(names, Counted(error.kind, error.sentence))
    found: dict[str, dict[str, list[Point]]] = {}
    for point in points:
        parts = found.setdefault(point.labels.get(_ONE, ""), {})
        parts.setdefault(point.labels.get(_PART, ""), []).append(point)
    return {
        name: counted(found.get(str(n), {}), wanted[name][0], wanted[name][1], server.interval)
        for n, name in enumerate(names)
    }


def counted(
    parts: Mapping[str, Sequence[Point]], queries: Mapping[str, str], before: Reading | None, interval: float
) -> Counted:
    """Judge the parts of one endpoint's answer, and subtract the reading before. Pure."""
    try:
        _fresh(parts, interval)
        reading = _reading(parts, queries)
        return _difference(before, reading) if before else Counted(FIRST, reading=reading)
    except Unfit as error:
        return Counted(error.kind, error.sentence)


def measure_checks(
    declared: Sequence[Mapping[str, Any]], server: Server | None, now: datetime, *, content: str | None = None,
    timeout: float = TIMEOUT,
) -> list[Sample]:  # fmt: skip
    """Ask each declared check's query, its placeholders filled in, for its one value. Others' sources are left out."""
    mine = [one for one in declared if one.get("source", "prometheus") == "prometheus"]
    return [_check(one, server, now, content, timeout) for one in mine]


def _check(
    declared: Mapping[str, Any], server: Server | None, now: datetime, content: str | None, timeout: float
) -> Sample:
    query = str(declared["query"])
    try:
        if server is None:
            raise Unfit(ABSENT, "No Prometheus is declared in this environment.")
        parts: dict[str, list[Point]] = {}
        for point in ask(server, f"{_named('value', query)} or {_named('seen', _time_of(query))}", timeout=timeout):
            parts.setdefault(point.labels.get(_PART, ""), []).append(point)
        _young(parts.get("seen", ()), server.interval)
        value = _only(parts.get("value", ()))
    except (NoAnswer, Unfit) as error:
        return Sample("", content, CHECK + declared["name"], error.kind, now, why=error.sentence)
    return Sample("", content, CHECK + declared["name"], VALUE, now, value=value)


def _only(points: Sequence[Point]) -> float:
    if not points:
        raise Unfit(ABSENT, "The query answered with nothing.")
    if len(points) > 1:
        raise Unfit(ABSENT, f"The query answered with {len(points)} series instead of one value.")
    return points[0].value


def _asked(number: str, queries: Mapping[str, str]) -> str:
    asked = {name: query for name, query in queries.items() if query}
    asked |= {"seen": _time_of(queries["up"]), "read": _time_of(queries["requests"])}
    return " or ".join(f'label_replace({_named(name, query)},"{_ONE}","{number}","","")'
                       for name, query in asked.items())  # fmt: skip


def _named(part: str, query: str) -> str:
    # The line break ends a comment that the query may end with.
    return f'label_replace(({query}\n),"{_PART}","{part}","","")'


def _time_of(query: str) -> str:
    return f"timestamp({query}\n)"


def _fresh(parts: Mapping[str, Sequence[Point]], interval: float) -> None:
    up = parts.get("up", ())
    if not up:
        raise Unfit(ABSENT, "Prometheus knows no such target.")
    if len(up) > 1:
        raise Unfit(ABSENT, f"Prometheus has {len(up)} targets where one was asked for.")
    if up[0].value != 1:
        raise Unfit(STALE, "Prometheus cannot scrape the target: it is down for it.")
    _young(parts.get("seen", ()), interval)
    if not parts.get("requests"):
        raise Unfit(ABSENT, "Prometheus scrapes the target, but has no such counter of requests.")
    _young(parts.get("read", ()), interval)


def _young(seen: Sequence[Point], interval: float) -> None:
    age = max((point.at - point.value for point in seen), default=math.inf)
    if math.isinf(age):
        raise Unfit(ABSENT, "The query answered with nothing.")
    if age >= MISSED * interval:
        raise Unfit(STALE, f"The newest sample in Prometheus is {age:.0f} s old; it is scraped every {interval:g} s.")


def _reading(parts: Mapping[str, Sequence[Point]], queries: Mapping[str, str]) -> Reading:
    requests, errors = parts["requests"], parts.get("errors", ())
    names = {point.labels.get("__name__", "") for point in requests}
    if len(names) > 1:
        raise Unfit(ABSENT, f"The query of requests answered with several metrics: {', '.join(sorted(names))[:150]}.")
    if not errors:
        _none_failed(requests, queries)
    buckets = parts.get("buckets", ())
    if queries.get("buckets") and not buckets:
        raise Unfit(ABSENT, "There is no histogram; declare buckets: '' where there really is none.")
    _cumulative(buckets)
    start = parts.get("start", ())
    return {
        "requests": _series(requests),
        "errors": _series(errors),
        "buckets": _series(buckets),
        "start": max((point.value for point in start), default=None),
    }


def _none_failed(requests: Sequence[Point], queries: Mapping[str, str]) -> None:
    """No error counted is 0 errors only where the labels that tell one are there, on the same counter."""
    counter, (name, labels) = promql.matched(queries["requests"]), promql.matched(queries["errors"])
    told = all(labels <= set(point.labels) | {"__name__"} for point in requests)
    if not labels or counter[0] != name or not told:
        raise Unfit(ABSENT, "The query of errors answered with nothing, and the requests do not tell that none failed.")


def _cumulative(buckets: Sequence[Point]) -> None:
    kinds: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for point in buckets:
        rest = tuple(sorted((n, v) for n, v in point.labels.items() if n not in ("le", _PART, _ONE)))
        kinds.setdefault(rest, []).append((_upper(point), point.value))
    for counts in kinds.values():
        counts.sort()
        falls = any(late[1] < early[1] for early, late in pairwise(counts))
        if falls or not math.isinf(counts[-1][0]):
            raise Unfit(ABSENT, "The buckets of the histogram do not add up.")


def _upper(point: Point) -> float:
    try:
        upper = float(point.labels.get("le", ""))
    except ValueError:
        upper = math.nan
    if math.isnan(upper):
        raise Unfit(ABSENT, "A bucket of the histogram has no bound.")
    return upper


def _series(points: Iterable[Point]) -> dict[str, list[Any]]:
    """Each series by a digest of its labels: its bound where it is a bucket, and its count."""
    found: dict[str, list[Any]] = {}
    for point in points:
        if not 0 <= point.value <= 2**53 or point.value != round(point.value):
            raise Unfit(ABSENT, f"{point.value:g} is no count: the query must give a counter itself.")
        labels = sorted((n, v) for n, v in point.labels.items() if n not in (_PART, _ONE))
        found[hashlib.blake2b(repr(labels).encode(), digest_size=8).hexdigest()] = [
            point.labels.get("le", ""), round(point.value),
        ]  # fmt: skip
    return found


def _difference(before: Reading, now: Reading) -> Counted:
    """Subtract series by series: one that is new or began anew counts whole; one that is gone hides what it counted.

    Only a process that began anew may have lost a series.
    """
    fell = any(now[name][key][1] < old[1] for name in COUNTERS for key, old in before[name].items() if key in now[name])
    known = before["start"] is not None and now["start"] is not None
    if fell and known and now["start"] == before["start"]:
        raise Unfit(ABSENT, "The counters fell although the process did not begin anew.")
    anew = fell or (known and now["start"] > before["start"])
    gone = sum(len(before[name].keys() - now[name].keys()) for name in COUNTERS)
    if gone and not anew:
        raise Unfit(ABSENT, f"{gone} series that Prometheus had before are gone, so the counts are not whole.")
    sums: dict[str, dict[str, int]] = {name: {} for name in COUNTERS}
    for name in COUNTERS:
        for key, (bound, count) in now[name].items():
            old = 0 if anew else before[name].get(key, (bound, 0))[1]
            sums[name][bound] = sums[name].get(bound, 0) + count - old
    buckets = tuple(sorted((float(bound), count) for bound, count in sums["buckets"].items()))
    requests, errors = sum(sums["requests"].values()), sum(sums["errors"].values())
    return Counted(COUNTS, "", requests, errors, buckets, now)
