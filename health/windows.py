"""Open windows: which are due, what their samples say, and how they close. Whoever opened them acts on the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Min, QuerySet

from health.baseline import Baseline
from health.checks import Check, kept_checks
from health.measured import CHECK, VALUE
from health.models import Sample as SampleRow
from health.models import Window
from health.quiet import JOURNAL, LONG_ENOUGH, Quiet, quiet_for
from health.thresholds import kept
from health.verdicts import Sample, Verdict, judge

DENSE_FOR = timedelta(seconds=60)
DENSE = timedelta(seconds=1)
"""A window is sampled each second while it is young: what breaks under traffic mostly breaks at once."""
BATCH = 50
"""Windows measured at a time: with every host of them hanging, a batch still ends within a task's time limit."""
MOST = 2**31 - 1
"""The largest count that a sample's column holds."""


@transaction.atomic
def claim_due(now: datetime, limit: int = BATCH) -> list[Window]:
    """The windows to sample now, by one query; each is due again after its interval, whatever becomes of this run."""
    due = Window.objects.filter(closed_at=None, next_sample_at__lte=now).order_by("next_sample_at")
    windows = list(due.select_for_update(skip_locked=True)[:limit])
    for window in windows:
        window.next_sample_at = next_sample(window, now)
    Window.objects.bulk_update(windows, ["next_sample_at"])
    return windows


def next_sample(window: Window, now: datetime) -> datetime:
    """When it is due again: never in the past, so that an outage is not made up for."""
    every = timedelta(seconds=window.sample_seconds)
    young = now - window.opens_at < DENSE_FOR
    return now + (min(DENSE, every) if young else every)


def verdict_of(window: Window, now: datetime, *, close_now: bool = False) -> Verdict:
    """Judge what was measured of the content for this subject, bakes included."""
    opened, mine, still = sampled(window, now)
    return judge(
        kept(window.rules),
        mine,
        Baseline(still_on_from=still),
        opened_at=opened,
        closes_at=now if close_now else window.closes_at,
        now=now,
        endpoints=tuple(window.endpoints),
        checks=checks_of(window),
    )


def sampled(window: Window, until: datetime) -> tuple[datetime, tuple[Sample, ...], tuple[Sample, ...]]:
    """Since when it counts, what was measured of its content until then, and of the hosts still on the old one."""
    after = window.kind == Window.Kind.AFTER
    mine = Window.objects.filter(subject=window.subject, content=window.content)
    opened = mine.aggregate(first=Min("opens_at"))["first"] if after else window.opens_at
    rows = SampleRow.objects.filter(
        window__in=mine if after else mine.filter(pk=window.pk), at__gte=opened, at__lte=until
    )
    samples = [as_sample(row) for row in rows]
    of_mine = tuple(
        s for s in samples if s.endpoint in window.endpoints or (s.source.startswith(CHECK) and not s.endpoint)
    )
    return opened, of_mine, tuple(s for s in samples if s.endpoint in window.baseline)


def checks_of(window: Window) -> tuple[Check, ...]:
    """The checks that it was opened with, beside its thresholds."""
    return kept_checks(window.checks)


def quietness(subject: UUID, content: str, now: datetime, long_enough: timedelta = LONG_ENOUGH) -> Quiet:
    """Whether a deployment's newest window has seen no errors in its hosts' journals for long enough."""
    window = Window.objects.filter(subject=subject, content=content).order_by("-opens_at", "-id").first()
    if window is None:
        return Quiet(None, None, "It was never watched.")
    samples = [as_sample(row) for row in _telling(SampleRow.objects.filter(window=window, source=JOURNAL, at__lte=now))]
    # A window that is closed is looked at as of then: afterwards nobody has listened.
    return quiet_for(samples, tuple(window.endpoints), window.opens_at, min(now, window.closed_at or now),
                     long_enough=long_enough)  # fmt: skip


def _telling(looks: QuerySet[SampleRow]) -> QuerySet[SampleRow]:
    """Of each endpoint the newest look, the newest that could read, and the newest that found errors: no other counts,
    and half an hour has many."""
    newest = looks.order_by("endpoint", "-at", "-id").distinct("endpoint")
    return newest.union(newest.filter(kind=VALUE), newest.filter(kind=VALUE, value__gt=0))


def store(window: Window, samples: Iterable[Sample]) -> None:
    """Keep what was measured."""
    SampleRow.objects.bulk_create(as_row(window, sample) for sample in samples)


def close(window: Window, result: str, verdict: Verdict | None, now: datetime, *, flagged: bool = False) -> bool:
    """Close it with its record; False where it was closed already."""
    columns = {
        "closed_at": now,
        "next_sample_at": None,
        "verdict": result,
        "cause": verdict.cause if verdict else "",
        "basis": verdict.basis if verdict else "",
        "record": verdict.record if verdict else {},
        "flagged": flagged,
    }
    changed = Window.objects.filter(pk=window.pk, closed_at=None).update(**columns)
    for name, value in columns.items():
        setattr(window, name, value)
    return changed == 1


def as_row(window: Window, sample: Sample) -> SampleRow:
    """A measured sample as a row; JSON knows no infinity, so a bound that is none is null."""
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
        buckets=[[None if math.isinf(bound) else bound, count] for bound, count in sample.buckets],
        healthy=sample.healthy,
        value=sample.value,
        why=sample.why[:300],
    )


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
        buckets=tuple((math.inf if bound is None else bound, count) for bound, count in row.buckets),
        healthy=row.healthy,
        seconds=row.seconds,
        value=row.value,
        why=row.why,
    )
