"""The picture of a deployment as an SVG: three strips over one axis of time, the bounds across, the decisions down."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from deployments.picture import Picture

WIDTH, LEFT, RIGHT = 960, 60, 12
STRIP, GAP, TOP = 96, 34, 38
COLOURS = ("#2563eb", "#9333ea", "#0891b2", "#ca8a04", "#64748b")
VERDICTS = {"pass": "#16a34a", "fail": "#dc2626"}
Across = Callable[[datetime], float]
Line = Sequence[tuple[float, float]]


def svg(picture: Picture, newest: str) -> SafeString:
    """The picture; `newest` is the version that it is about. Times are UTC."""
    versions = sorted({*picture.points, *picture.shares}, key=lambda one: (one != newest, one))
    colours = {version: COLOURS[position % len(COLOURS)] for position, version in enumerate(versions)}
    seconds = max((picture.ends - picture.begins).total_seconds(), 1.0)

    def across(at: datetime) -> float:
        part = (at - picture.begins).total_seconds() / seconds
        return LEFT + min(max(part, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    strips = [_shares(picture, across, colours), _rates(picture, across, colours), _p95s(picture, across, colours)]
    placed = [
        format_html('<g transform="translate(0,{})">{}</g>', TOP + number * (STRIP + GAP), strip)
        for number, strip in enumerate(strips)
    ]
    height = TOP + len(strips) * (STRIP + GAP) + 8
    return format_html(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="Traffic, errors and latency over time" '
        'style="width:100%;height:auto;font-size:11px" fill="currentColor">{}{}{}{}</svg>',
        WIDTH, height, _legend(colours), _all(placed), _decisions(picture, across, height),
        _times(picture, across, height),
    )  # fmt: skip


def _all(parts: Iterable[SafeString]) -> SafeString:
    return format_html_join("", "{}", ((part,) for part in parts))


def _legend(colours: dict[str, str]) -> SafeString:
    parts = [
        format_html('<rect x="{}" y="4" width="10" height="10" fill="{}"/><text x="{}" y="13">{}</text>',
                    LEFT + 130 * n, colour, LEFT + 14 + 130 * n, version)
        for n, (version, colour) in enumerate(colours.items())
    ]  # fmt: skip
    return _all(parts)


def _shares(picture: Picture, across: Across, colours: dict[str, str]) -> SafeString:
    lines = []
    for version, changes in picture.shares.items():
        steps: list[tuple[float, float]] = []
        for at, part in changes:
            if steps:
                steps.append((across(at), steps[-1][1]))
            steps.append((across(at), _down(part, 100)))
        steps.append((across(picture.ends), steps[-1][1]))
        lines.append(_line(steps, colours[version]))
    return format_html("{}{}", _frame("% of the traffic", "100", "0"), _all(lines))


def _rates(picture: Picture, across: Across, colours: dict[str, str]) -> SafeString:
    found = [p.error_rate for points in picture.points.values() for p in points if p.error_rate is not None]
    top = min(1.0, max([picture.rollback_error_rate * 2, *found]))
    lines = [
        _line([(across(p.at), _down(p.error_rate, top)) for p in points if p.error_rate is not None], colours[version])
        for version, points in picture.points.items()
    ]
    bounds = [
        _bound(_down(picture.max_error_rate, top), f"good below {picture.max_error_rate:.0%}", VERDICTS["pass"]),
        _bound(
            _down(picture.rollback_error_rate, top), f"undone above {picture.rollback_error_rate:.0%}", VERDICTS["fail"]
        ),
    ]
    return format_html("{}{}{}", _frame("error rate", f"{top:.0%}", "0"), _all(bounds), _all(lines))


def _p95s(picture: Picture, across: Across, colours: dict[str, str]) -> SafeString:
    found = [p.p95 for points in picture.points.values() for p in points if p.p95 is not None and math.isfinite(p.p95)]
    top = max([picture.max_p95 * 1.2, *found])
    lines = [
        _line([(across(p.at), _down(p.p95, top)) for p in points if p.p95 is not None], colours[version])
        for version, points in picture.points.items()
    ]
    bound = _bound(_down(picture.max_p95, top), f"good below {picture.max_p95 * 1000:.0f} ms", VERDICTS["pass"])
    return format_html("{}{}{}", _frame("p95", f"{top * 1000:.0f} ms", "0"), bound, _all(lines))


def _down(value: float, top: float) -> float:
    """A value's place in a strip, from its top."""
    return STRIP * (1 - min(max(value, 0.0) / top, 1.0)) if math.isfinite(value) else 0.0


def _frame(title: str, top: str, bottom: str) -> SafeString:
    return format_html(
        '<rect x="{}" y="0" width="{}" height="{}" fill="none" stroke="currentColor" stroke-opacity=".25"/>'
        '<text x="{}" y="-4" font-weight="600">{}</text>'
        '<text x="{}" y="10" text-anchor="end">{}</text><text x="{}" y="{}" text-anchor="end">{}</text>',
        LEFT, WIDTH - LEFT - RIGHT, STRIP, LEFT, title, LEFT - 6, top, LEFT - 6, STRIP, bottom,
    )  # fmt: skip


def _line(points: Line, colour: str) -> SafeString:
    if not points:
        return mark_safe("")
    told = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = format_html_join(
        "", '<circle cx="{}" cy="{}" r="1.6" fill="{}"/>', ((f"{x:.1f}", f"{y:.1f}", colour) for x, y in points)
    )
    return format_html(
        '<polyline points="{}" fill="none" stroke="{}" stroke-width="1.6"/>{}', told, colour, dots
    )  # fmt: skip


def _bound(y: float, title: str, colour: str) -> SafeString:
    # What is good is written at the left, what is undone at the right: two bounds may be close.
    good = colour == VERDICTS["pass"]
    x, anchor = (LEFT + 4, "start") if good else (WIDTH - RIGHT - 4, "end")
    return format_html(
        '<line x1="{}" x2="{}" y1="{}" y2="{}" stroke="{}" stroke-dasharray="5 4"/>'
        '<text x="{}" y="{}" text-anchor="{}" fill="{}">{}</text>',
        LEFT, WIDTH - RIGHT, f"{y:.1f}", f"{y:.1f}", colour, x, f"{y - 3:.1f}", anchor, colour, title,
    )  # fmt: skip


def _decisions(picture: Picture, across: Across, height: int) -> SafeString:
    return _all(
        format_html(
            '<g><title>{} {}: {}</title><line x1="{}" x2="{}" y1="{}" y2="{}" stroke="{}" stroke-width="1.5"/>'
            '<text x="{}" y="{}" fill="{}">{}</text></g>',
            f"{one.at:%H:%M:%S}", one.verdict, one.sentence, f"{across(one.at):.1f}", f"{across(one.at):.1f}", TOP,
            height - GAP, _colour(one.verdict), f"{across(one.at) + 3:.1f}", TOP + STRIP + 13, _colour(one.verdict),
            one.verdict,
        )
        for one in picture.decisions
    )  # fmt: skip


def _colour(verdict: str) -> str:
    return VERDICTS.get(verdict, "#ca8a04")


def _times(picture: Picture, across: Across, height: int) -> SafeString:
    ends = ((picture.begins, "start"), (picture.ends, "end"))
    return format_html_join(
        "", '<text x="{}" y="{}" text-anchor="{}">{}</text>',
        ((f"{across(at):.1f}", height - 14, anchor, f"{at:%Y-%m-%d %H:%M:%S} UTC") for at, anchor in ends),
    )  # fmt: skip
