"""Open windows: which are due, what their samples say, and how they close. Whoever opened them acts on the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Min, QuerySet

from health import earlier
from health.baseline import Baseline
from health.checks import Check, kept_checks
from health.measured import CHECK, VALUE
from health.models import Sample as SampleRow
from health.models import Window
from health.quiet import JOURNAL, LONG_ENOUGH, Quiet, quiet_for
from health.sample_rows import as_row, as_sample
from health.thresholds import kept
from health.verdicts import Sample, Verdict, judge

DENSE_FOR = timedelta(seconds=60)
DENSE = timedelta(seconds=1)
"""A window is sampled each second while it is young: what breaks under traffic mostly breaks at once."""
BATCH = 50
"""Windows measured at a time: with every host of them hanging, a batch still ends within a task's time limit."""


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


@dataclass(frozen=True, slots=True)
class Seen:
    """What was measured of a window: since when it counts, its own content, and what that is compared with."""

    opened_at: datetime
    samples: tuple[Sample, ...]
    baseline: Baseline


def verdict_of(window: Window, now: datetime, *, close_now: bool = False) -> Verdict:
    """Judge what was measured of the content for this subject, bakes included."""
    seen = sampled(window, now)
    return judge(
        kept(window.rules),
        seen.samples,
        seen.baseline,
        opened_at=seen.opened_at,
        closes_at=now if close_now else window.closes_at,
        now=now,
        endpoints=tuple(window.endpoints),
        checks=checks_of(window),
    )


def sampled(window: Window, until: datetime) -> Seen:
    """What was measured until then. The long window counts the bakes of its deployment as well: in them, hosts that
    run its content by now were on the old one."""
    after = window.kind == Window.Kind.AFTER
    alike = Window.objects.filter(subject=window.subject, content=window.content)
    opened = alike.aggregate(first=Min("opens_at"))["first"] if after else window.opens_at
    rows = SampleRow.objects.filter(
        window__in=alike if after else alike.filter(pk=window.pk), at__gte=opened, at__lte=until
    )
    samples = [as_sample(row) for row in rows]
    contents = {name: spot.get("content") for name, spot in window.endpoints.items()}
    mine: list[Sample] = []
    before_change: list[Sample] = []
    for sample in samples:
        if sample.source.startswith(CHECK) and not sample.endpoint:
            mine.append(sample)
        elif sample.endpoint in contents:
            (mine if sample.content == contents[sample.endpoint] else before_change).append(sample)
    still = tuple(sample for sample in samples if sample.endpoint in window.baseline)
    return Seen(opened, tuple(mine), Baseline(still, earlier.as_samples(window.before), tuple(before_change)))


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
