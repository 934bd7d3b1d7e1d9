"""Measuring the endpoints of open windows: probe and scrape, many at a time, each with its own time limit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from health.models import Window
from health.sources.probe import check_health
from health.sources.scrape import Counters, difference, scrape
from health.verdicts import Sample

log = structlog.get_logger(__name__)

AT_A_TIME = 32
TIMEOUT = 3.0


@dataclass(slots=True)
class Measured:
    """What one round made of one window: its samples, and the raw readings the next round subtracts from."""

    window: Window
    samples: list[Sample] = field(default_factory=list)
    readings: dict[str, Any] = field(default_factory=dict)


def measure(windows: Sequence[Window], now: datetime) -> list[Measured]:
    """Measure every endpoint of these windows once, side by side. Never raises for what hosts do."""
    measured = {w.pk: Measured(w, readings=dict(w.readings)) for w in windows}
    wanted = [(w, name, spot) for w in windows for name, spot in {**w.baseline, **w.endpoints}.items()]
    if not wanted:
        return list(measured.values())
    with ThreadPoolExecutor(min(AT_A_TIME, len(wanted)), thread_name_prefix="sample") as pool:
        answers = pool.map(lambda one: (one[0].pk, one[1], _measured(one[0], one[1], one[2], now)), wanted)
        for pk, name, (samples, reading) in answers:
            measured[pk].samples += samples
            if reading is not None:
                measured[pk].readings[name] = reading
    return list(measured.values())


def _measured(window: Window, name: str, spot: Mapping[str, Any], now: datetime) -> tuple[list[Sample], Any]:
    try:
        return _endpoint(window, name, spot, now)
    except Exception:
        # One odd answer must not cost the others of the round their measurement; it counts as a source that is down.
        log.exception("an endpoint could not be measured", endpoint=name, window=window.pk)
        return [Sample(name, spot.get("content"), "probe", "down", now)], None


def _endpoint(window: Window, name: str, spot: Mapping[str, Any], now: datetime) -> tuple[list[Sample], Any]:
    samples = [_probe(name, spot, now)]
    if not spot.get("metrics"):
        return samples, None
    scraped = scrape(spot["metrics"], timeout=TIMEOUT)
    before = _counters(window.readings.get(name))
    delta = difference(before, scraped)
    samples.append(
        Sample(name, spot["content"], "scrape", delta.kind, now, delta.requests, delta.errors, delta.buckets)
    )
    return samples, _reading(scraped.counters) if scraped.counters else None


def _probe(name: str, spot: Mapping[str, Any], now: datetime) -> Sample:
    proves = spot.get("proof", "health") == "health"
    seen = check_health(
        spot["health"], spot["content"] if proves else None, field=spot["field"] if proves else "", timeout=TIMEOUT
    )
    return Sample(name, spot["content"], "probe", "counts", now, healthy=seen.healthy, seconds=seen.seconds)


def _reading(counters: Counters) -> dict[str, Any]:
    return {
        "requests": counters.requests,
        "errors": counters.errors,
        "buckets": [[None if math.isinf(bound) else bound, count] for bound, count in counters.buckets],
        "version": counters.version,
        "started_at": counters.started_at,
    }


def _counters(reading: Mapping[str, Any] | None) -> Counters | None:
    if not reading:
        return None
    buckets = tuple((math.inf if bound is None else bound, count) for bound, count in reading["buckets"])
    return Counters(reading["requests"], reading["errors"], buckets, reading["version"], reading["started_at"])
