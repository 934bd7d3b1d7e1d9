"""What is asked to measure one window once: a question per source and place, each with its own time limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from health.measured import CHECK, COUNTS, DOWN, FIRST, VALUE, Sample
from health.models import Window
from health.sources import journal, prometheus
from health.sources.access_log import read_log
from health.sources.probe import check_health
from health.sources.promapi import Server
from health.sources.scrape import Counters, difference, scrape
from health.sources.shell import CannotRun, Run

TIMEOUT = 3.0
SSH_EVERY = timedelta(seconds=5)
"""Logs and journals are read no more often: each look brings all since the one before, and costs the host processes."""
SSH_AT = "ssh_at"
ACCESS_LOG = "access_log"
Reach = Callable[[int], Run]
"""A host's id -> how to run commands there."""
Spots = Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Found:
    """What one question brought: samples, and raw readings by key that the next round subtracts from."""

    samples: list[Sample] = field(default_factory=list)
    readings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """`ask` never takes longer than its source's limit, but for a host's SSH: `by_ssh` may be given up on.

    `place` is what only one question at a time may be asked of; `lost` answers for it where nothing came back.
    """

    window: int
    ask: Callable[[], Found]
    lost: Callable[[str], Found]
    by_ssh: bool = False
    place: str = ""


def nobody(place: int) -> Run:
    """Reach no host: for whoever has no SSH."""
    raise CannotRun(f"Host {place} cannot be asked by commands from here.")


def questions_of(window: Window, now: datetime, reach: Reach) -> Iterator[Question]:
    """Everything that is asked of one window."""
    spots: Spots = {**window.baseline, **window.endpoints}
    by_ssh = spots if _rested(window.readings.get(SSH_AT), now) else {}
    for name, spot in spots.items():
        yield _question(window, now, "probe", {name: spot}, partial(_probe, name, spot, now))
        if spot.get("metrics"):
            ask = partial(_scrape, name, spot, now, window.readings.get(name))
            yield _question(window, now, "scrape", {name: spot}, ask)
        if spot.get("journal") and by_ssh:
            ask = partial(_journal, name, spot, now, window, reach)
            place = f"{window.pk} {name} journal"
            yield _question(window, now, journal.SOURCE, {name: spot}, ask, place=place)
    for server, asked in _by_server(spots):
        ask = partial(_prometheus, server, asked, now, window.readings)
        yield _question(window, now, "prometheus", asked, ask)
    for (place_id, path, kind), read in _by_log(by_ssh).items():
        ask = partial(_access_log, place_id, path, kind, read, now, window.readings, reach)
        yield _question(window, now, ACCESS_LOG, read, ask, place=f"{window.pk} {place_id} {path}")
    for declared in window.checks:
        if declared.get("source", "prometheus") == "prometheus":
            ask = partial(_check, declared, now, window.content)
            source = f"{CHECK}{declared.get('name')}"
            yield _question(window, now, source, {"": {"content": window.content}}, ask)


def _rested(before: str | None, now: datetime) -> bool:
    return before is None or now - datetime.fromisoformat(before) >= SSH_EVERY


def _question(
    window: Window, now: datetime, source: str, spots: Spots, ask: Callable[[], Found], *, place: str = ""
) -> Question:
    def lost(why: str) -> Found:
        return Found([Sample(n, spot.get("content"), source, DOWN, now, why=why) for n, spot in spots.items()])

    return Question(window.pk, ask, lost, by_ssh=bool(place), place=place)


def _probe(name: str, spot: Mapping[str, Any], now: datetime) -> Found:
    proves = spot.get("proof", "health") == "health"
    seen = check_health(
        spot["health"], spot["content"] if proves else None, field=spot["field"] if proves else "", timeout=TIMEOUT
    )
    why = "" if seen.healthy else seen.why
    return Found([Sample(name, spot["content"], "probe", COUNTS, now, healthy=seen.healthy, seconds=seen.seconds,
                         why=why)])  # fmt: skip


def _scrape(name: str, spot: Mapping[str, Any], now: datetime, reading: Mapping[str, Any] | None) -> Found:
    scraped = scrape(spot["metrics"], timeout=TIMEOUT)
    delta = difference(_counters(reading), scraped)
    sample = Sample(name, spot["content"], "scrape", delta.kind, now, delta.requests, delta.errors, delta.buckets,
                    why=delta.why)  # fmt: skip
    kept = scraped.counters if delta.kind in (COUNTS, FIRST) else None
    return Found([sample], {name: _reading(kept)} if kept else {})


def _by_server(spots: Spots) -> list[tuple[Server, Spots]]:
    found: dict[Server, dict[str, Mapping[str, Any]]] = {}
    for name, spot in spots.items():
        if spot.get("prometheus"):
            found.setdefault(server_of(spot["prometheus"]), {})[name] = spot
    return list(found.items())


def server_of(declared: Mapping[str, Any]) -> Server:
    """A server as a window keeps it."""
    return Server(declared["url"], float(declared.get("interval", 15.0)), declared.get("token", ""))


def _prometheus(server: Server, spots: Spots, now: datetime, readings: Mapping[str, Any]) -> Found:
    wanted = {name: (spot["prometheus"]["queries"], readings.get(f"prometheus:{name}")) for name, spot in spots.items()}
    found = Found()
    for name, one in prometheus.read_counters(server, wanted, timeout=TIMEOUT).items():
        content = spots[name].get("content")
        found.samples.append(Sample(name, content, "prometheus", one.kind, now, one.requests, one.errors, one.buckets,
                                    why=one.why))  # fmt: skip
        if one.reading is not None:
            found.readings[f"prometheus:{name}"] = one.reading
    return found


def _by_log(spots: Spots) -> dict[tuple[int, str, str], dict[str, Mapping[str, Any]]]:
    """The endpoints that each log tells of: a balancer's machine has one for all of them."""
    found: dict[tuple[int, str, str], dict[str, Mapping[str, Any]]] = {}
    for name, spot in spots.items():
        log = spot.get("log") or {}
        for place in log.get("places", ()):
            found.setdefault((int(place), log["path"], log["format"]), {})[name] = spot
    return found


def _access_log(
    place: int, path: str, kind: str, spots: Spots, now: datetime, readings: Mapping[str, Any], reach: Reach
) -> Found:
    key = _log_key(place, path)
    names = {known: name for name, spot in spots.items() for known in spot["log"].get("names", ())}
    everything = "" if names else next(iter(spots))
    read = read_log(_reached(reach, place), path, kind, readings.get(key), names, everything=everything)
    samples = []
    for name, spot in spots.items():
        one = read.of.get(name)
        figures = (one.requests, one.errors, one.buckets) if one else (0, 0, ())
        samples.append(Sample(name, spot.get("content"), ACCESS_LOG, read.kind, now, *figures, why=read.why))
    return Found(samples, _looked({key: read.state}, now))


def _journal(name: str, spot: Mapping[str, Any], now: datetime, window: Window, reach: Reach) -> Found:
    key, asked = f"journal:{name}", spot["journal"]
    since = (now - window.opens_at).total_seconds()
    run = _reached(reach, int(asked["place"]))
    found = journal.count_errors(run, asked["unit"], window.readings.get(key), since)
    value = float(found.count) if found.kind == VALUE else None
    sample = Sample(name, spot.get("content"), journal.SOURCE, found.kind, now, value=value, why=found.why)
    return Found([sample], _looked({key: found.state}, now))


def _looked(states: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return {SSH_AT: now.isoformat()} | {key: state for key, state in states.items() if state is not None}


def _reached(reach: Reach, place: int) -> Run:
    """The host's way in, found when it is needed, so that none is an answer like any other."""

    def run(words: Any, stdin: bytes, timeout: float) -> tuple[int, bytes, bytes]:
        return reach(place)(words, stdin, timeout)

    return run


def _check(declared: Mapping[str, Any], now: datetime, content: str) -> Found:
    server = server_of(declared["prometheus"]) if declared.get("prometheus") else None
    return Found(prometheus.measure_checks([declared], server, now, content=content, timeout=TIMEOUT))


def begins_with(window: Window, sample: Sample) -> set[str]:
    """The keys of the readings from which a sample counts on; none where it stands alone."""
    if sample.source == "scrape":
        return {sample.endpoint}
    if sample.source == "prometheus":
        return {f"prometheus:{sample.endpoint}"}
    if sample.source == journal.SOURCE:
        return {f"journal:{sample.endpoint}"}
    if sample.source == ACCESS_LOG:
        log = {**window.baseline, **window.endpoints}.get(sample.endpoint, {}).get("log") or {}
        return {_log_key(place, log["path"]) for place in log.get("places", ())}
    if any(sample.source == CHECK + one["name"] for one in window.checks if one.get("source") == "journal"):
        return {f"journal:{name}" for name in window.endpoints}
    return set()


def _log_key(place: int, path: str) -> str:
    return f"log:{place}:{path}"


def checks_of_journal(window: Window, samples: Iterable[Sample]) -> list[Sample]:
    """The values of declared checks on the journal: the errors since the last look, on all hosts of the version.

    One host that could not be read leaves the value unknown.
    """
    names = [one["name"] for one in window.checks if one.get("source") == "journal"]
    looks = [s for s in samples if s.source == journal.SOURCE and s.endpoint in window.endpoints]
    if not names or not looks:
        return []
    blind = next((look for look in looks if look.kind != VALUE), None)
    value = None if blind else sum(look.value or 0.0 for look in looks)
    kind, why = (blind.kind, f"{blind.endpoint}: {blind.why}") if blind else (VALUE, "")
    return [Sample("", window.content, CHECK + n, kind, looks[0].at, value=value, why=why) for n in names]


def one_per_endpoint(samples: Iterable[Sample]) -> list[Sample]:
    """Several machines of a balancer each have a log of a part of the traffic: together they are one measurement.

    A hole in one of them is a hole: a part of the traffic must not stand for all of it.
    """
    kept: list[Sample] = []
    parts: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.source == ACCESS_LOG:
            parts.setdefault(sample.endpoint, []).append(sample)
        else:
            kept.append(sample)
    return kept + [_together(one) for one in parts.values()]


def _together(parts: list[Sample]) -> Sample:
    if len(parts) == 1:
        return parts[0]
    for sample in parts:
        if sample.kind != COUNTS:
            return sample
    first = parts[0]
    timed = [part.buckets for part in parts if part.buckets]
    sums = tuple((same[0][0], sum(count for _, count in same)) for same in zip(*timed, strict=True))
    return Sample(first.endpoint, first.content, ACCESS_LOG, COUNTS, first.at, sum(p.requests for p in parts),
                  sum(p.errors for p in parts), sums)  # fmt: skip


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
