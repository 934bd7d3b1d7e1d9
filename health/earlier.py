"""The time before a deployment began: what its installation's previous content counted in its own windows, added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from health.evidence import is_traffic
from health.measured import COUNTS, Sample, add_up, by_source
from health.models import Sample as SampleRow
from health.models import Window
from health.outages import outages, outside
from health.sample_rows import as_sample, kept_buckets, read_buckets
from health.thresholds import kept as rules_of

OLDEST = timedelta(days=7)
"""A service's load and data repeat by the week; what was counted before that tells of another service."""
MOST_WINDOWS = 5
MOST = 5_000
"""Samples read once, as a window opens. Half an hour of three hosts, probed and scraped, has half as many."""


def before_start(subjects: QuerySet[Any], content: str, started: datetime) -> list[dict[str, Any]]:
    """One row per source of traffic, for Window.before; none where that content was not watched lately.

    subjects: the ids of the installation's deployments. A window that failed is no measure of what is well, and
    neither is a time in which what that content was compared with was down as well.
    """
    found = Window.objects.filter(subject__in=subjects, content=content, opens_at__lt=started)
    kept = found.exclude(verdict=Window.Verdict.FAIL).order_by("-opens_at")[:MOST_WINDOWS]
    lags = {window.pk: timedelta(seconds=rules_of(window.rules).stale_seconds) for window in kept}
    rows = SampleRow.objects.filter(window__in=lags, kind=COUNTS, at__gte=started - OLDEST, at__lt=started)
    seen: dict[int, list[Sample]] = {pk: [] for pk in lags}
    for row in rows.order_by("-at")[:MOST]:
        seen[row.window_id].append(as_sample(row))
    counted = [sample for pk, samples in seen.items() for sample in _counted(content, samples, lags[pk])]
    return [_added_up(source, of_it) for source, of_it in by_source(counted).items()]


def as_samples(kept: Sequence[Mapping[str, Any]]) -> tuple[Sample, ...]:
    """The rows as the rules read them: one sample stands for all that were added up."""
    return tuple(
        Sample(
            "",
            row["content"],
            row["source"],
            COUNTS,
            datetime.fromisoformat(row["until"]),
            row["requests"],
            row["errors"],
            read_buckets(row["buckets"]),
        )
        for row in kept
    )


def _counted(content: str, samples: Sequence[Sample], lag: timedelta) -> list[Sample]:
    """The traffic of this content in one window."""
    mine = [sample for sample in samples if sample.content == content]
    others = [sample for sample in samples if sample.content != content]
    return [one for one in outside(mine, outages(mine, others), lag) if is_traffic(one) and one.requests]


def _added_up(source: str, samples: Sequence[Sample]) -> dict[str, Any]:
    figures = add_up(samples)
    return {
        "source": source,
        "content": samples[0].content,
        "until": max(sample.at for sample in samples).isoformat(),
        "requests": figures.requests,
        "errors": figures.errors,
        "buckets": kept_buckets(figures.buckets),
    }
