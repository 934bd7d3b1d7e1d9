"""Sources that break in more than eighty ways: none is ever judged a pass, and each is told for what it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from health.measured import Sample
from health.models import Window
from health.quiet import quiet_for
from health.sampling import measure
from health.sources.shell import Run
from health.verdicts import Baseline, Policy, Rules, Verdict, judge, policy_for
from tests.health import broken
from tests.health.broken import ANYWHERE, CONTENT, PROBE, PROMETHEUS, SCRAPE, Speak, http
from tests.health.prom import FILLED, parts, vector
from tests.health.shell import local, saying, unreachable
from tests.health.web import raw

OPENED = datetime(2026, 1, 1, 12, tzinfo=UTC)
CLOSES = OPENED + timedelta(minutes=10)
PRODUCTION, STAGING = Policy(), Policy(after_max_hold="continue")


def at(seconds: float) -> datetime:
    return OPENED + timedelta(seconds=seconds)


class Told:
    """A server that says what it is told to say next."""

    def __init__(self, speak: Speak) -> None:
        self.speak = speak


@contextmanager
def telling(speak: Speak) -> Iterator[tuple[str, Told]]:
    told = Told(speak)
    with raw(lambda peer: broken.whole(told.speak, peer)) as url:
        yield url, told


class Watch:
    """A window over one host whose probes all succeed, measured again and again; it keeps its samples."""

    def __init__(self, health: str, **spot: Any) -> None:
        known = {"health": health, "metrics": "", "content": CONTENT, "field": ".version", "proof": "health"}
        self.window = Window(pk=1, content=CONTENT, opens_at=OPENED, endpoints={"h1": {**known, **spot}})
        self.samples: list[Sample] = []

    def measure(self, seconds: float, run: Run = local) -> list[Sample]:
        [measured] = measure([self.window], at(seconds), lambda place: run)
        self.window.readings = measured.readings
        self.samples += measured.samples
        return measured.samples

    def verdict(self) -> Verdict:
        """As it closes, after enough probes to pass a quiet service by them alone."""
        probes = [
            Sample("h1", CONTENT, "probe", "counts", at(second), healthy=True, seconds=0.01)
            for second in range(500, 560)
        ]
        return judge(Rules(), [*probes, *self.samples], Baseline(), opened_at=OPENED, closes_at=CLOSES, now=CLOSES,
                     endpoints=("h1",))  # fmt: skip


def not_passed(verdict: Verdict, cause: str) -> None:
    """Held with its cause; production then rolls back, staging goes on flagged."""
    assert (verdict.result, verdict.cause) == ("inconclusive", cause), verdict.sentence
    held = policy_for(verdict.cause, PRODUCTION, CLOSES, CLOSES)
    assert (held.action, held.until) == ("hold", CLOSES + PRODUCTION.max_hold)
    later = CLOSES + PRODUCTION.max_hold
    assert policy_for(verdict.cause, PRODUCTION, later, CLOSES).action == "rollback"
    assert policy_for(verdict.cause, STAGING, later, CLOSES).action == "continue"
    assert policy_for(verdict.cause, Policy(actions={cause: "rollback"}), CLOSES, CLOSES).action == "rollback"


@pytest.fixture(scope="module")
def healthy() -> Iterator[str]:
    with telling(http(broken.health())) as (url, _):
        yield f"{url}/health"


def prometheus(url: str, **more: str) -> dict[str, Any]:
    return {"prometheus": {"url": url, "interval": 15.0, "queries": FILLED, **more}}


def good(ok: int) -> Speak:
    return lambda peer: broken.said(vector(parts(ok, 20)))(peer)


def why_of(samples: list[Sample], source: str) -> str:
    return next(s.why for s in samples if s.source == source)


@pytest.mark.parametrize("source", ["prometheus", "scrape"])
def test_the_same_window_passes_where_the_source_goes_on(healthy, source):
    says = good if source == "prometheus" else lambda ok: http(broken.metrics(ok))
    with telling(says(1_000)) as (url, told):
        watch = Watch(healthy, **(prometheus(url) if source == "prometheus" else {"metrics": f"{url}/metrics"}))
        watch.measure(1)
        told.speak = says(3_000)
        watch.measure(5)
        told.speak = says(5_000)
        watch.measure(595)
    verdict = watch.verdict()
    assert (verdict.result, verdict.basis) == ("pass", "traffic"), verdict.sentence
    assert verdict.record["figures"]["requests"] == 4_000


ALL_PROMETHEUS = {**{name: (speak, "source_down") for name, speak in ANYWHERE.items()}, **PROMETHEUS}


@pytest.mark.parametrize("case", sorted(ALL_PROMETHEUS))
def test_a_prometheus_that_breaks_is_never_a_pass(healthy, case):
    speak, cause = ALL_PROMETHEUS[case]
    with telling(good(1_000)) as (url, told):
        watch = Watch(healthy, **prometheus(url))
        watch.measure(1)
        told.speak = good(3_000)
        watch.measure(5)
        told.speak = speak
        samples = watch.measure(595)
    not_passed(watch.verdict(), cause)
    assert why_of(samples, "prometheus")


@pytest.mark.parametrize(
    "case", ["a page", "nothing at all", "target down", "old", "NaN", "the label of errors renamed"]
)
def test_a_prometheus_that_never_worked_is_no_pass_either(healthy, case):
    speak, cause = ALL_PROMETHEUS[case]
    with telling(speak) as (url, _):
        watch = Watch(healthy, **prometheus(url))
        watch.measure(5)
        watch.measure(595)
    not_passed(watch.verdict(), cause)


def test_nobody_listens_where_prometheus_should_be(healthy):
    with telling(good(1_000)) as (url, _):
        watch = Watch(healthy, **prometheus(url))
        watch.measure(5)
    assert "nothing listens" in why_of(watch.measure(595), "prometheus")
    not_passed(watch.verdict(), "source_down")


def test_a_token_that_is_not_there(healthy):
    with telling(good(1_000)) as (url, _):
        watch = Watch(healthy, **prometheus(url, token="env:NO_SUCH_TOKEN"))
        assert "NO_SUCH_TOKEN" in why_of(watch.measure(595), "prometheus")
    not_passed(watch.verdict(), "source_down")


def test_counters_that_were_read_once_count_nothing(healthy):
    with telling(good(1_000)) as (url, _):
        watch = Watch(healthy, **prometheus(url))
        watch.measure(595)
    not_passed(watch.verdict(), "no_data")


ALL_SCRAPE = {**{name: (speak, "source_down") for name, speak in ANYWHERE.items()}, **SCRAPE}


@pytest.mark.parametrize("case", sorted(ALL_SCRAPE))
def test_metrics_that_break_are_never_a_pass(healthy, case):
    speak, cause = ALL_SCRAPE[case]
    with telling(http(broken.metrics(1_000))) as (url, told):
        watch = Watch(healthy, metrics=f"{url}/metrics")
        watch.measure(1)
        told.speak = http(broken.metrics(3_000))
        watch.measure(5)
        told.speak = speak
        samples = watch.measure(595)
    not_passed(watch.verdict(), cause)
    assert why_of(samples, "scrape")


ALL_PROBE = {**ANYWHERE, **PROBE}


@pytest.mark.parametrize("case", sorted(ALL_PROBE))
def test_a_probe_that_breaks_is_a_failed_one_whatever_the_traffic_says(case):
    with telling(http(broken.health())) as (health, told), telling(http(broken.metrics(1_000))) as (url, counters):
        watch = Watch(f"{health}/health", metrics=f"{url}/metrics")
        watch.measure(1)
        counters.speak = http(broken.metrics(3_000))
        told.speak = ALL_PROBE[case]
        watch.measure(590)
        samples = watch.measure(595)
    assert [s.healthy for s in samples if s.source == "probe"] == [False]
    assert why_of(samples, "probe")
    verdict = watch.verdict()
    assert (verdict.result, verdict.rule) == ("fail", "hard_stop_probes")


LINE = b'10.0.0.9 [2026-11-24T01:02:03+00:00] "GET / HTTP/1.1" 200 12 0.044 "10.0.0.11:8080" "200" "0.042"\n'


def append(path: Path, octets: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(octets)


LOGS: dict[str, tuple[Any, str]] = {
    "gone": (lambda path: path.unlink(), "no_data"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "no_data"),
    "rotated and removed": (lambda path: (path.rename(path.with_name("o")), path.with_name("o").write_bytes(b""),
                                          path.write_bytes(LINE), path.with_name("o").unlink()), "no_data"),
    "another file": (lambda path: path.write_bytes(b"x" * 900_000), "no_data"),
    "another format": (lambda path: append(path, b"GET / 200\n" * 50), "no_data"),
    "binary": (lambda path: append(path, bytes(range(256)) * 9), "no_data"),
    "more than can be read": (lambda path: append(path, LINE * 60_000), "no_data"),
    "cut off from us": (unreachable, "source_down"),
    "not readable": (saying(b"unreadable\n"), "no_data"),
    "no shell": (saying(b"", b"This account is currently not available.\n", 1), "source_down"),
    "no stat": (saying(b"", b"sh: 9: stat: not found\n", 127), "source_down"),
    "a banner": (saying(b"Welcome!\non 5 5 0 1\n"), "source_down"),
    "not packed": (saying(b"on 5 5 0 10\n0123456789"), "source_down"),
    "packed wrongly": (saying(b"on 5 5 0 10\n" + broken.BOMB), "source_down"),
    "numbers that are none": (saying(b"on a b c d\n"), "source_down"),
    "silence": (saying(b""), "source_down"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(LOGS))
def test_an_access_log_that_breaks_is_never_a_pass(healthy, tmp_path, case):
    breaks, cause = LOGS[case]
    path = tmp_path / "access.log"
    path.write_bytes(LINE)
    log = {"path": str(path), "format": "nginx", "places": [1], "names": ["10.0.0.11:8080"]}
    watch = Watch(healthy, log=log)
    watch.measure(1)
    append(path, LINE * 3_000)
    [counted] = [s for s in watch.measure(10) if s.source == "access_log"]
    assert (counted.kind, counted.requests, counted.buckets[-1]) == ("counts", 3_000, (math.inf, 3_000))
    on_the_host = hasattr(breaks, "asked") or breaks is unreachable
    if not on_the_host:
        breaks(path)
    samples = watch.measure(595, breaks if on_the_host else local)
    not_passed(watch.verdict(), cause)
    assert why_of(samples, "access_log")


def test_an_access_log_that_goes_on_passes(healthy, tmp_path):
    path = tmp_path / "access.log"
    path.write_bytes(b"")
    log = {"path": str(path), "format": "nginx", "places": [1], "names": ["10.0.0.11:8080"]}
    watch = Watch(healthy, log=log)
    for second in (1, 10, 595):
        watch.measure(second)
        append(path, LINE * 3_000)
    assert (watch.verdict().result, watch.verdict().basis) == ("pass", "traffic")


def test_logs_are_not_read_each_second_and_miss_nothing_by_that(healthy, tmp_path):
    path = tmp_path / "access.log"
    path.write_bytes(b"")
    watch = Watch(healthy, log={"path": str(path), "format": "nginx", "places": [1], "names": ["10.0.0.11:8080"]})
    for second in range(1, 13):
        watch.measure(second)
        append(path, LINE)
    read = [(s.at, s.requests) for s in watch.samples if s.source == "access_log"]
    assert read == [(at(1), 0), (at(6), 5), (at(11), 5)]


JOURNALS = {
    "cut off from us": unreachable,
    "unit not known": saying(b"unit not-found\n"),
    "no systemd": saying(b"unit \n", b"journalctl: not found\n", 127),
    "not permitted": saying(b"unit loaded\n", b"Hint: You are currently not seeing messages from other users.\n"),
    "no permission at all": saying(
        b"unit loaded\n", b"No journal files were opened due to insufficient permissions.", 1
    ),
    "no JSON": saying(b"unit loaded\nJan 01 00:00:00 app[1]: fine\n"),
    "broken": saying(b"unit loaded\n", b"Journal file corrupted", 1),
    "a banner": saying(b"Welcome!\n"),
    "silence": saying(b""),
}


@pytest.mark.parametrize("case", sorted(JOURNALS))
def test_a_journal_that_breaks_is_never_quiet(healthy, case):
    watch = Watch(healthy, journal={"place": 1, "unit": "app.service"})
    watch.measure(5, saying(b"unit loaded\n"))
    samples = watch.measure(1_900, JOURNALS[case])
    assert quiet_for(watch.samples, ("h1",), OPENED, at(1_900)).quiet is None
    assert why_of(samples, "check:journal")
    watch.measure(1_910, saying(b"unit loaded\n"))
    assert quiet_for(watch.samples, ("h1",), OPENED, at(1_910)).quiet is True


def test_there_are_more_than_eighty_cases():
    assert len(ALL_PROMETHEUS) + len(ALL_SCRAPE) + len(ALL_PROBE) + len(LOGS) + len(JOURNALS) + 3 >= 80
