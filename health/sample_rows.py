"""Samples as rows, and rows as samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from health.measured import Buckets, Sample
from health.models import Sample as SampleRow
from health.models import Window

MOST = 2**31 - 1
"""The largest count that a sample's column holds."""


def as_row(window: Window, sample: Sample) -> SampleRow:
    """A measured sample as a row."""
    return SampleRow(
        window=window,
        endpoint=sample.endpoint,
        content=sample.content or "",
        source=sample.source,
        kind=sample.kind,
        at=sample.at,
        seconds=sample.seconds,
        requests=_kept(sample.requests),
        errors=_kept(sample.errors),
        buckets=kept_buckets(sample.buckets),
        healthy=sample.healthy,
        value=sample.value,
        why=sample.why[:300],
    )


def kept_buckets(buckets: Buckets) -> list[list[float | int | None]]:
    """A histogram for JSON, which knows no infinity: a bound that is none is null."""
    return [[None if math.isinf(bound) else bound, count] for bound, count in buckets]


def read_buckets(kept: Iterable[Sequence[float | int | None]]) -> Buckets:
    """A histogram as it was kept."""
    return tuple((math.inf if bound is None else bound, int(count or 0)) for bound, count in kept)


def _kept(count: int) -> int:
    """A count as the column holds it: a host may claim any number."""
    return max(0, min(count, MOST))


def as_sample(row: SampleRow) -> Sample:
    """A row as the rules read it."""
    return Sample(
        endpoint=row.endpoint,
        content=row.content or None,
        source=row.source,
        kind=row.kind,
        at=row.at,
        requests=row.requests,
        errors=row.errors,
        buckets=read_buckets(row.buckets),
        healthy=row.healthy,
        seconds=row.seconds,
        value=row.value,
        why=row.why,
    )
