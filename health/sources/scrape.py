"""Reading a host's own counters: one scrape, and the difference between two of them."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from aureus.fetch import FetchError, fetch
from health.measured import ABSENT, COUNTS, DOWN, FIRST, Buckets
from health.metrics_text import MetricsInvalid, Series, parse

TIMEOUT = 5.0
MAX_BYTES = 8_388_608


@dataclass(frozen=True, slots=True)
class MetricNames:
    """The declared mapping: where a host's metrics say requests, errors, durations (seconds) and version.

    A request is an error when the whole of its status label matches `error_pattern`. An empty name: not measured.
    """

    requests: str = "http_requests_total"
    status_label: str = "status"
    error_pattern: str = "5.."
    histogram: str = "http_request_duration_seconds_bucket"
    version: str = ""
    version_label: str = "version"

    def __post_init__(self) -> None:
        try:
            re.compile(self.error_pattern)
        except re.error as error:
            raise ValueError(f"The error pattern {self.error_pattern!r} is no regular expression: {error}.") from None


@dataclass(frozen=True, slots=True)
class Counters:
    """What a process has counted since its start."""

    requests: int
    errors: int
    buckets: Buckets
    version: str | None = None
    started_at: float | None = None


@dataclass(frozen=True, slots=True)
class Scraped:
    """One reading. `kind` is counts, down (no answer) or absent (no declared metric in it); `why` says more."""

    kind: str
    counters: Counters | None
    why: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """What a Sample needs of two readings. `reset` says that the counters began anew in between."""

    kind: str
    requests: int = 0
    errors: int = 0
    buckets: Buckets = ()
    reset: bool = False


def scrape(url: str, names: MetricNames | None = None, *, timeout: float = TIMEOUT) -> Scraped:
    """Read a host's metrics address once. The host is a declared one. Never raises."""
    try:
        answer = fetch("GET", url, timeout=timeout, max_bytes=MAX_BYTES, allow_private=True)
    except FetchError as error:
        return Scraped(DOWN, None, error.sentence)
    if not answer.ok:
        return Scraped(DOWN, None, f"{url} answered {answer.status} instead of 2xx.", answer.seconds)
    return read(answer.text(), names or MetricNames(), answer.seconds)


def read(text: str, names: MetricNames, seconds: float | None = None) -> Scraped:
    """Find the declared metrics in a metrics text. Pure."""
    wanted = frozenset({names.requests, names.histogram, names.version, "process_start_time_seconds"} - {""})
    try:
        series = list(parse(text, wanted))
    except MetricsInvalid as error:
        return Scraped(DOWN, None, f"The metrics cannot be read: {error}", seconds)
    requests = [one for one in series if one.name == names.requests and _counts(one.value)]
    if not requests:
        return Scraped(ABSENT, None, f"The metrics have no {names.requests}.", seconds)
    is_error = re.compile(names.error_pattern).fullmatch
    counters = Counters(
        requests=_total(requests),
        errors=_total(one for one in requests if is_error(one.labels.get(names.status_label, ""))),
        buckets=_buckets(one for one in series if one.name == names.histogram),
        version=next((one.labels.get(names.version_label) for one in series if one.name == names.version), None),
        started_at=max((one.value for one in series if _tells_start(one)), default=None),
    )
    return Scraped(COUNTS, counters, "", seconds)


def difference(before: Counters | None, after: Scraped) -> Difference:
    """Answer what was counted between two readings of one host. Pure.

    After a restart the counters began at 0, so what they show now is what happened since; a version that changed
    without one keeps its counts.
    """
    if after.counters is None:
        return Difference(after.kind)
    if before is None:
        return Difference(FIRST)
    now = after.counters
    if _began_anew(before, now):
        return Difference(COUNTS, now.requests, now.errors, now.buckets, reset=True)
    known = dict(before.buckets)
    buckets = tuple((upper, count - known.get(upper, 0)) for upper, count in now.buckets)
    return Difference(COUNTS, now.requests - before.requests, now.errors - before.errors, buckets)


def _began_anew(before: Counters, now: Counters) -> bool:
    if before.started_at is not None and now.started_at is not None and now.started_at > before.started_at:
        return True
    fewer = now.requests < before.requests or now.errors < before.errors
    known = dict(now.buckets)
    return fewer or any(known.get(upper, 0) < count for upper, count in before.buckets)


def _counts(value: float) -> bool:
    """Whether a counter can show this: beyond it a float does not count by ones any more."""
    return 0 <= value <= 2**53


def _tells_start(one: Series) -> bool:
    return one.name == "process_start_time_seconds" and math.isfinite(one.value)


def _total(series: Iterable[Series]) -> int:
    return round(sum(one.value for one in series))


def _buckets(series: Iterable[Series]) -> Buckets:
    sums: dict[float, float] = {}
    for one in series:
        try:
            upper = float(one.labels.get("le", ""))
        except ValueError:
            continue
        if _counts(one.value) and not math.isnan(upper):
            sums[upper] = sums.get(upper, 0) + one.value
    return tuple((upper, round(count)) for upper, count in sorted(sums.items()))
