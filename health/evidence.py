"""The samples of one window as the rules read them: each source of traffic by itself, and the probes. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from health.baseline import Baseline, Compared
from health.measured import CHECK, COUNTS, Figures, Sample, add_up, between, by_source
from health.outages import outages, outside
from health.sequential import Stretch, stretches
from health.thresholds import Rules


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one source counted. `spans`: the whole window and its newest stretch; `closing`: both as the window closed.

    Two sources saw the same requests, so their counts are never added up.
    """

    source: str
    samples: tuple[Sample, ...]
    still_on_from: tuple[Sample, ...]
    spans: tuple[Figures, ...]
    closing: tuple[tuple[datetime, Figures], ...]
    stretches: tuple[Stretch, ...]
    compared: Compared | None

    @property
    def whole(self) -> Figures:
        return self.spans[0]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it. `traffic` begins with the source that counted most, and is never empty.

    `samples` are all of the new version's; `counted` those that tell of it: not those of a time, now over, in which
    the old version was down as well. Of a time that lasts they count, and what fails by them is a common cause.
    """

    rules: Rules
    samples: tuple[Sample, ...]
    counted: tuple[Sample, ...]
    still_on_from: tuple[Sample, ...]
    traffic: tuple[Traffic, ...]
    probes: Figures
    opened_at: datetime
    now: datetime

    @property
    def main(self) -> Traffic:
        return self.traffic[0]


def gather(
    rules: Rules,
    samples: Sequence[Sample],
    baseline: Baseline,
    opened_at: datetime,
    now: datetime,
    closes_at: datetime | None,
) -> Evidence:
    """Sort samples into the window; what was measured before it opened or after `now` does not count."""
    inside = between(samples, opened_at, now)
    still = between(baseline.still_on_from, opened_at, now)
    changed = between(baseline.before_change, opened_at, now)
    old, lag = (*still, *changed), timedelta(seconds=rules.stale_seconds)
    times = outages(inside, old) if old else ()
    counted, still_up, changed_up = (outside(samples, times, lag) for samples in (inside, still, changed))
    compared = replace(baseline, still_on_from=still_up, before_change=changed_up)
    sources = by_source(sample for sample in counted if is_traffic(sample)) or {"requests": []}
    traffic = [
        _traffic(rules, source, tuple(seen), compared, opened_at, now, closes_at) for source, seen in sources.items()
    ]
    most_first = tuple(sorted(traffic, key=lambda one: (-one.whole.requests, one.source)))
    probes = add_up(sample for sample in counted if sample.source == "probe")
    return Evidence(rules, inside, counted, still, most_first, probes, opened_at, now)


def is_traffic(sample: Sample) -> bool:
    """Whether its source counts requests."""
    return sample.source != "probe" and not sample.source.startswith(CHECK)


def _traffic(
    rules: Rules,
    source: str,
    samples: tuple[Sample, ...],
    baseline: Baseline,
    opened_at: datetime,
    now: datetime,
    closes_at: datetime | None,
) -> Traffic:
    old = _seen_by(source, baseline.still_on_from)
    alike = Baseline(old, _seen_by(source, baseline.before_start), _seen_by(source, baseline.before_change))
    recent = timedelta(seconds=rules.recent_seconds)
    whole = add_up(samples)
    counts = (
        ((s.at - opened_at).total_seconds(), s.errors, s.requests) for s in samples if s.kind == COUNTS and s.requests
    )
    closing: tuple[tuple[datetime, Figures], ...] = ()
    if closes_at is not None and now >= closes_at:
        starts = (opened_at, max(opened_at, closes_at - recent))
        closing = tuple((start, add_up(_within(samples, start, closes_at))) for start in starts)
    return Traffic(
        source=source,
        samples=samples,
        still_on_from=old,
        spans=(whole, add_up(_within(samples, now - recent, now))),
        closing=closing,
        stretches=stretches(counts, rules.blip_seconds),
        compared=alike.compared(rules.min_requests),
    )


def _seen_by(source: str, samples: Sequence[Sample]) -> tuple[Sample, ...]:
    return tuple(sample for sample in samples if sample.source == source)


def _within(samples: Sequence[Sample], start: datetime, end: datetime) -> list[Sample]:
    return [sample for sample in samples if start <= sample.at <= end]
