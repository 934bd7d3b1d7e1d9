"""A deployment as it went: each version's traffic, error rate and p95 over time, and what was decided."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from deployments.engine.status import StepStatus
from deployments.models import Deployment, Step
from deployments.snapshot import policy_of
from health.measured import add_up
from health.models import Sample, Window
from health.sample_rows import as_sample
from health.thresholds import kept
from health.verdicts import Sample as Measured
from releases.spec import number_of

COLUMNS = 120
"""Points in time at the most: more could not be told apart."""
MOST = 20_000
"""Samples that are looked at: the newest of a long window."""
NARROWEST = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Point:
    """One version in one stretch of time. The rate is of 1, the p95 in seconds; None where nothing was counted."""

    at: datetime
    error_rate: float | None
    p95: float | None
    requests: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Something was decided: a window's verdict, with its sentence."""

    at: datetime
    verdict: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything by `names_of` contents. `shares`: percent of the traffic from then on. Bounds: a rate of 1, and
    seconds.
    """

    begins: datetime
    ends: datetime
    points: Mapping[str, Sequence[Point]]
    shares: Mapping[str, Sequence[tuple[datetime, float]]]
    decisions: Sequence[Decision]
    max_error_rate: float
    rollback_error_rate: float
    max_p95: float


def names_of(deployment: Deployment) -> Callable[[str], str]:
    """Version numbers by content; where only variables differ, what the deployment brings is named with them."""
    ours = deployment.content
    ran = {number_of(t.from_content) for t in deployment.targets.all() if t.from_content != ours}
    brings = deployment.brings if number_of(ours) in ran else number_of(ours)
    return lambda content: brings if content == ours else number_of(content)


def picture_of(deployment: Deployment, now: datetime) -> Picture | None:
    """None before it has started."""
    if deployment.started_at is None:
        return None
    rows = list(Window.objects.filter(subject=deployment.pk).order_by("opens_at"))
    samples = [as_sample(row) for row in Sample.objects.filter(window__in=rows).order_by("-at")[:MOST]]
    shares = _shares(deployment)
    ends = _ends(deployment, now, [one.at for one in samples], shares)
    # By what the newest window is judged, whatever the policy says since.
    bounds = kept(rows[-1].rules if rows else policy_of(deployment.installation).rules)
    return Picture(
        begins=deployment.started_at,
        ends=ends,
        points=_points(deployment, samples, deployment.started_at, ends),
        shares=shares,
        decisions=[_decision(window) for window in rows if window.closed_at is not None],
        max_error_rate=bounds.max_error_rate,
        rollback_error_rate=bounds.rollback_error_rate,
        max_p95=bounds.max_p95,
    )


def _ends(
    deployment: Deployment,
    now: datetime,
    measured: Iterable[datetime],
    shares: Mapping[str, Sequence[tuple[datetime, float]]],
) -> datetime:
    """When the last thing was seen of it; now, while it or its window is open."""
    open_still = Window.objects.filter(subject=deployment.pk, closed_at=None).exists()
    if deployment.ended_at is None or open_still:
        return now
    moved = (at for line in shares.values() for at, _ in line)
    return max([deployment.ended_at, *measured, *moved])


def _decision(window: Window) -> Decision:
    assert window.closed_at is not None
    return Decision(window.closed_at, window.verdict, str(window.record.get("sentence", "")))


def _points(
    deployment: Deployment, samples: Sequence[Measured], begins: datetime, ends: datetime
) -> dict[str, list[Point]]:
    named = names_of(deployment)
    width = max((ends - begins) / COLUMNS, NARROWEST)
    columns: dict[tuple[str, int], list[Measured]] = defaultdict(list)
    for sample in samples:
        if sample.content and sample.at >= begins:
            columns[named(sample.content), int((sample.at - begins) / width)].append(sample)
    points: dict[str, list[Point]] = defaultdict(list)
    for (version, column), inside in sorted(columns.items()):
        figures = add_up(inside)
        p95 = figures.p95 if figures.timed else figures.probe_p95
        points[version].append(Point(begins + (column + 0.5) * width, figures.error_rate, p95, figures.requests))
    return dict(points)


def _shares(deployment: Deployment) -> dict[str, list[tuple[datetime, float]]]:
    """Each version's percent of the weights after every change of them, by it and by what undid it."""
    named = names_of(deployment)
    both = [deployment, *deployment.rollbacks.all()]
    runs = {t.name: named(t.from_content) if t.from_content else "" for t in deployment.targets.all()}
    done = Step.objects.filter(deployment__in=both, status=StepStatus.PASSED, ended_at__isnull=False)
    lines: dict[str, list[tuple[datetime, float]]] = defaultdict(list)
    to = {(t.deployment_id, t.name): t.to_content for one in both for t in one.targets.all()}
    for step in done.order_by("ended_at", "pk"):
        weights = step.output.get("weights")
        if step.kind == "activate" and (content := to.get((step.deployment_id, step.target))):
            runs[step.target] = named(content)
        if weights and any(weights.values()) and step.ended_at:
            _add(lines, step.ended_at, weights, runs)
    return dict(lines)


def _add(
    lines: dict[str, list[tuple[datetime, float]]], at: datetime, weights: Mapping[str, int], runs: Mapping[str, str]
) -> None:
    total = sum(weights.values())
    for version in {*lines, *(runs.get(name, "") for name in weights)} - {""}:
        part = sum(weight for name, weight in weights.items() if runs.get(name) == version)
        lines[version].append((at, 100 * part / total))
