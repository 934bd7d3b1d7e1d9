"""What was measured: samples, and the figures they add up to. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

Buckets = tuple[tuple[float, int], ...]
COUNTS, DOWN, ABSENT, FIRST, STALE, VALUE = "counts", "down", "absent", "first", "stale", "value"
CHECK = "check:"
"""What the source of a check begins with: its samples are values, and no traffic."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one endpoint.

    `source` is `probe` (we asked its health address: `healthy` and `seconds`), one that counts traffic (`scrape`,
    `prometheus`, `access_log`: `requests`, `errors` and cumulative `buckets` since the sample before), or
    `check:NAME` (`value`; an empty `endpoint` stands for all of them). `kind` is `counts` or `value` when it could be
    measured, `down` when the source did not answer, `absent` when it answered without what was asked for, `stale`
    when it answered with something old, `first` when there is nothing yet to subtract from; `why` says more. A probe
    that got no answer is `counts` with `healthy` False.
    """

    endpoint: str
    content: str | None
    source: str
    kind: str
    at: datetime
    requests: int = 0
    errors: int = 0
    buckets: Buckets = ()
    healthy: bool | None = None
    seconds: float | None = None
    value: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over samples: traffic as one source counted it, probes apart."""

    requests: int
    errors: int
    buckets: Buckets
    probes: int
    probe_failures: int
    probe_seconds: tuple[float, ...]

    @property
    def error_rate(self) -> float | None:
        return self.errors / self.requests if self.requests else None

    @property
    def timed(self) -> int:
        """How many requests the histogram counted."""
        return self.buckets[-1][1] if self.buckets else 0

    @property
    def p95(self) -> float | None:
        """Seconds within which 95 % of the requests were answered; infinite above the largest bucket."""
        return quantile(0.95, self.buckets)

    @property
    def probe_p95(self) -> float | None:
        if not self.probe_seconds:
            return None
        return self.probe_seconds[math.ceil(0.95 * len(self.probe_seconds)) - 1]


def add_up(samples: Iterable[Sample]) -> Figures:
    """Sum what could be measured; errors never exceed requests.

    Two sources saw the same requests, so they are never added up: of several, the one that counted most is taken.
    """
    measured = [sample for sample in samples if sample.kind == COUNTS]
    views = by_source(sample for sample in measured if sample.source != "probe")
    traffic = max(views.values(), key=lambda view: sum(sample.requests for sample in view), default=[])
    probes = [sample for sample in measured if sample.source == "probe" and sample.healthy is not None]
    return Figures(
        requests=sum(sample.requests for sample in traffic),
        errors=sum(min(sample.errors, sample.requests) for sample in traffic),
        buckets=merged([sample.buckets for sample in traffic]),
        probes=len(probes),
        probe_failures=sum(not sample.healthy for sample in probes),
        probe_seconds=tuple(sorted(sample.seconds for sample in probes if sample.seconds is not None)),
    )


def merged(histograms: Sequence[Buckets]) -> Buckets:
    """Add histograms. Where bounds differ, a request counts at the next bound known of it, never at a faster one."""
    alike: dict[tuple[float, ...], list[int]] = {}
    for histogram in histograms:
        sums = alike.setdefault(tuple(upper for upper, _ in histogram), [0] * len(histogram))
        for position, (_, count) in enumerate(histogram):
            sums[position] += count
    kinds = [tuple(zip(bounds, sums, strict=True)) for bounds, sums in alike.items()]
    uppers = sorted({upper for kind in kinds for upper, _ in kind})
    return tuple((upper, sum(_counted(kind, upper) for kind in kinds)) for upper in uppers)


def _counted(histogram: Buckets, upper: float) -> int:
    return max((count for bound, count in histogram if bound <= upper), default=0)


def quantile(share: float, buckets: Buckets) -> float | None:
    """Read a quantile from cumulative buckets, linear within one, as Prometheus does; None without requests.

    Above the largest finite bound the answer is infinite: slower than can be known is not fast.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = share * buckets[-1][1]
    below, lower = 0, 0.0
    for upper, count in buckets:
        if count >= rank:
            if math.isinf(upper) or count == below:
                return upper
            return lower + (upper - lower) * (rank - below) / (count - below)
        below, lower = count, upper
    return math.inf


def between(samples: Iterable[Sample], start: datetime, end: datetime) -> tuple[Sample, ...]:
    """Answer the samples of a span in the order of time; both ends belong to it."""
    chosen = [sample for sample in samples if start <= sample.at <= end]
    return tuple(sorted(chosen, key=lambda sample: (sample.at, sample.endpoint, sample.source, sample.kind)))


def by_endpoint(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Group samples by endpoint, each group in the order given."""
    ordered = sorted(samples, key=lambda sample: sample.endpoint)
    return {name: list(group) for name, group in groupby(ordered, key=lambda sample: sample.endpoint)}


def by_source(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Group samples by source, in the order of the sources' names, each group in the order given."""
    ordered = sorted(samples, key=lambda sample: sample.source)
    return {name: list(group) for name, group in groupby(ordered, key=lambda sample: sample.source)}


def probes_of(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Group the probes that could be made by endpoint, oldest first; of one moment the failed one is the last."""
    made = (s for s in samples if s.source == "probe" and s.kind == COUNTS and s.healthy is not None)
    return by_endpoint(sorted(made, key=lambda sample: (sample.at, not sample.healthy)))


def unhealthy_for(probes: Sequence[Sample]) -> timedelta:
    """How long the probes of one endpoint, oldest first, have failed without a break."""
    failing: list[Sample] = []
    for probe in reversed(probes):
        if probe.healthy:
            break
        failing.append(probe)
    return failing[0].at - failing[-1].at if failing else timedelta(0)


def worst_tail(samples: Sequence[Sample], least_requests: int) -> tuple[int, int]:
    """Answer (errors, requests) of the newest stretch, of at least so many requests, that failed most; else (0, 0).

    Every stretch that ends now is looked at, in each source by itself, so a further failure can never make the worst
    one look better.
    """
    views = by_source(s for s in samples if s.source != "probe" and s.kind == COUNTS).values()
    worst = (0, 0)
    for view in views:
        found = _worst_tail(view, least_requests)
        if found[1] and (not worst[1] or found[0] * worst[1] > worst[0] * found[1]):
            worst = found
    return worst


def _worst_tail(view: Sequence[Sample], least_requests: int) -> tuple[int, int]:
    worst, errors, requests = (0, 0), 0, 0
    for at, group in groupby(sorted(view, key=lambda s: s.at, reverse=True), key=lambda s: s.at):
        del at
        for sample in group:
            requests += sample.requests
            errors += min(sample.errors, sample.requests)
        if requests >= least_requests and (not worst[1] or errors * worst[1] > worst[0] * requests):
            worst = (errors, requests)
    return worst
