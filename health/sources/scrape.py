"""Reading a host's own counters: one scrape, and the difference between two of them."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from aureus.fetch import FetchError, fetch
from health.measured import ABSENT, COUNTS, DOWN, FIRST, Buckets
from health.metrics_text import MetricsInvalid, Series, parse, types

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
    why: str = ""


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
    if text and not text.endswith("\n"):
        return Scraped(DOWN, None, "The metrics end in the middle of a line.", seconds)
    wanted = frozenset({names.requests, names.histogram, names.version, "process_start_time_seconds"} - {""})
    try:
        series = list(parse(text, wanted))
    except MetricsInvalid as error:
        return Scraped(DOWN, None, f"The metrics cannot be read: {error}", seconds)
    requests = [one for one in series if one.name == names.requests and _counts(one.value)]
    if not requests:
        return Scraped(ABSENT, None, f"The metrics have no {names.requests}.", seconds)
    if found := _not_as_declared(text, names, wanted, requests):
        return Scraped(ABSENT, None, found, seconds)
    histogram = [one for one in series if one.name == names.histogram]
    if not _adds_up(histogram):
        return Scraped(ABSENT, None, f"The buckets of {names.histogram} do not add up.", seconds)
    is_error = re.compile(names.error_pattern).fullmatch
    counters = Counters(
        requests=_total(requests),
        errors=_total(one for one in requests if is_error(one.labels.get(names.status_label, ""))),
        buckets=_buckets(histogram),
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
        return Difference(after.kind, why=after.why)
    if before is None:
        return Difference(FIRST)
    now = after.counters
    if before.buckets and not now.buckets:
        return Difference(ABSENT, why="The histogram that was there before is gone.")
    if _began_anew(before, now):
        if before.started_at is not None and now.started_at == before.started_at:
            return Difference(ABSENT, why="The counters fell although the process did not begin anew.")
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


def _not_as_declared(text: str, names: MetricNames, wanted: frozenset[str], requests: Sequence[Series]) -> str:
    """Say how the metrics differ from what was declared, so that nobody reads them as something else; "": not."""
    kinds = types(text, wanted)
    for name, kind in ((names.requests, "counter"), (names.histogram, "histogram")):
        if kinds.get(name, kind) not in (kind, "untyped", "unknown"):
            return f"{name} is a {kinds[name]}, not a {kind}."
    if names.status_label and not all(names.status_label in one.labels for one in requests):
        return f"{names.requests} has no label {names.status_label}, so nothing tells which requests failed."
    return ""


def _adds_up(histogram: Sequence[Series]) -> bool:
    """Whether the buckets of each histogram are cumulative, up to one without a bound."""
    kinds: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for one in histogram:
        rest = tuple(sorted(label for label in one.labels.items() if label[0] != "le"))
        try:
            kinds.setdefault(rest, []).append((float(one.labels.get("le", "")), one.value))
        except ValueError:
            return False
    return all(
        math.isinf(max(counts)[0]) and all(late[1] >= early[1] for early, late in pairwise(sorted(counts)))
        for counts in kinds.values()
    )


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
