"""Probe and scrape against real servers, and what two scrapes of one host differ by."""

import math
import socket

import pytest

from health.metrics_text import MetricsInvalid, parse
from health.sources import Counters, MetricNames, check_health, difference, probe, scrape
from health.sources.probe import is_same
from health.sources.scrape import read
from tests.health.web import site

CONTENT = "1.2.3-0123456789ab"


def health_of(said, status=200):
    return site({"/health": lambda _: (status, said)})


@pytest.mark.parametrize(
    ("seen", "expected", "same"),
    [
        ("1.2.3", "1.2.3", True),
        ("v1.2.3", "1.2.3", True),
        ("1.2.3", CONTENT, True),
        (CONTENT, CONTENT, True),
        (CONTENT, "1.2.3", True),
        ("1.2.3-ba9876543210", CONTENT, False),
        ("1.2.4", CONTENT, False),
        ("1.2.3", "1.2.3-rc.1", False),
        ("1.2.3-rc.1", "1.2.3", False),
    ],
)
def test_a_version_is_proven_by_its_number_or_its_content(seen, expected, same):
    assert is_same(seen, expected) is same
    with health_of({"version": seen}) as web:
        assert check_health(web.url + "/health", expected).healthy is same


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ({"version": "1.2.2"}, 200, "runs 1.2.2, not 1.2.3"),
        ({"version": "1.2.3"}, 503, "answered 503"),
        ({"version": "1.2.3"}, 302, "answered 302"),
        ({"release": "1.2.3"}, 200, "has no .version"),
        ({"version": None}, 200, "has no .version"),
        ({"version": True}, 200, "has no .version"),
        ("1.2.3", 200, "has no .version"),
        ("[" * 100_000, 200, "has no .version"),
    ],
)
def test_anything_less_is_not_healthy_and_says_why(said, status, words):
    with health_of(said, status) as web:
        answer = check_health(web.url + "/health", "1.2.3")
    assert answer.healthy is False
    assert words in answer.why


def test_nobody_listening_is_unhealthy_and_no_exception():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    seen = probe(f"http://127.0.0.1:{port}/health")
    assert (seen.healthy, seen.version, seen.seconds) == (False, None, None)
    assert "nothing listens" in seen.why


def test_the_version_field_may_lie_deeper():
    with health_of({"apps": [{"build": {"version": 7}}]}) as web:
        answer = check_health(web.url + "/health", "7", field=".apps[0].build.version")
    assert (answer.healthy, answer.version) == (True, "7")


def test_health_alone_is_enough_only_where_no_version_is_asked_for():
    with health_of("fine") as web:
        assert check_health(web.url + "/health", None).healthy
        assert check_health(web.url + "/health", "1.2.3", field="").healthy


TEXT = """# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{status="200",path="/a\\"b\\\\n,}"} 90 1700000000000
http_requests_total{status="404"} 4
http_requests_total{status="500", } 5.0
http_requests_total{status="503"} 1e0
http_requests_total{status="5000"} NaN
http_request_duration_seconds_bucket{le="0.1",path="/a"} 50 # {trace_id="x"} 0.05
http_request_duration_seconds_bucket{le="0.1",path="/b"} 20
http_request_duration_seconds_bucket{le="+Inf",path="/a"} 60
http_request_duration_seconds_bucket{le="+Inf",path="/b"} 40
build_info{version="1.2.3"} 1
process_start_time_seconds 1700000000.5
other_metric{a="b"} broken value is not ours
"""


def test_a_scrape_reads_the_declared_metrics():
    with site({"/metrics": lambda _: (200, TEXT)}) as web:
        found = scrape(web.url + "/metrics", MetricNames(version="build_info"))
    assert found.kind == "counts"
    assert found.counters == Counters(100, 6, ((0.1, 70), (math.inf, 100)), "1.2.3", 1700000000.5)


def test_other_names_and_another_error_label_can_be_declared():
    text = 'hits{code="ok"} 3\nhits{code="bad"} 2\n'
    found = read(text, MetricNames(requests="hits", status_label="code", error_pattern="bad|worse", histogram=""))
    assert found.counters == Counters(5, 2, ())


def test_an_error_pattern_that_cannot_be_read_is_refused_when_it_is_declared():
    with pytest.raises(ValueError, match="no regular expression"):
        MetricNames(error_pattern="5(")


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [(200, "nothing_of_ours 1\n", "absent"), (200, "", "absent"), (500, TEXT, "down"), (200, "<html>", "down"),
     (200, "http_requests_total{status=} 1", "down"), (200, "http_requests_total", "down")],
)  # fmt: skip
def test_no_answer_and_no_metric_are_told_apart(status, said, kind):
    with site({"/metrics": lambda _: (status, said)}) as web:
        found = scrape(web.url + "/metrics")
    assert (found.kind, found.counters) == (kind, None)
    assert found.why
    assert difference(None, found).kind == kind


def test_a_broken_line_is_named():
    with pytest.raises(MetricsInvalid, match="line 2"):
        list(parse('a 1\na{b="c} 2\n', frozenset({"a"})))


def reading(requests, errors=0, fast=0, started_at=None):
    text = f'http_requests_total{{status="200"}} {requests - errors}\nhttp_requests_total{{status="500"}} {errors}\n'
    text += f'http_request_duration_seconds_bucket{{le="0.1"}} {fast}\n'
    text += f'http_request_duration_seconds_bucket{{le="+Inf"}} {requests}\n'
    text += f"process_start_time_seconds {started_at}\n" if started_at else ""
    return read(text, MetricNames())


def test_two_scrapes_differ_by_what_happened_between_them():
    found = difference(reading(100, 5, 80).counters, reading(160, 8, 120))
    assert (found.kind, found.requests, found.errors, found.reset) == ("counts", 60, 3, False)
    assert found.buckets == ((0.1, 40), (math.inf, 60))


def test_the_first_scrape_counts_nothing():
    assert difference(None, reading(100)).kind == "first"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (reading(100, 5, 80), reading(30, 2, 20)),
        (reading(100, 50, 80), reading(130, 2, 90)),
        (reading(100, 5, 80), reading(130, 6, 20)),
        (reading(100, 5, 80, started_at=1000), reading(130, 6, 90, started_at=2000)),
    ],
)
def test_after_a_restart_everything_counted_since_it_counts_and_never_less_than_nothing(before, after):
    found = difference(before.counters, after)
    assert found.reset
    assert (found.requests, found.errors) == (after.counters.requests, after.counters.errors)
    assert found.buckets == after.counters.buckets


@pytest.mark.parametrize(
    "text",
    [
        'http_requests_total{status="200"} 1e308\nhttp_requests_total{status="500"} 1e308',
        "http_requests_total 5\nprocess_start_time_seconds NaN",
        'http_requests_total 5\nhttp_request_duration_seconds_bucket{le="1"} 1e308\n'
        'http_request_duration_seconds_bucket{le="1",a="b"} 1e308',
    ],
)
def test_numbers_that_no_counter_can_show_are_passed_over(text):
    found = read(text, MetricNames())
    assert found.counters is None or (found.counters.requests == 5 and found.counters.started_at is None)
