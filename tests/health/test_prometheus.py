"""Queries with placeholders, and what two readings of a Prometheus server differ by."""

import math
import time
from datetime import UTC, datetime

import pytest

from health.sources import promql
from health.sources.declared import QUERIES, check_queries
from health.sources.promapi import NoAnswer, Point, Server, ask
from health.sources.prometheus import counted, measure_checks, read_counters
from tests.health.prom import FILLED, answering, parts, vector
from tests.health.web import site

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def reading(said, before=None, queries=FILLED, interval=15.0):
    points = {part: [Point(labels, 100.0, float(value)) for labels, value in series] for part, series in said.items()}
    return counted(points, queries, before, interval)


def first(**said):
    found = reading(parts(at=100.0, **said))
    assert found.kind == "first"
    return found.reading


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ('up{instance="{adress}:{port}"}', "knows no {adress}"),
        ("up{instance={address}}", "must stand in quotes"),
        ("up{instance=`{address}`}", "not in backquotes"),
        ('up # {host}\n{a="b"}', "not in backquotes or comments"),
        ('up{instance="{address}', "string without its end"),
        ("", "must be a query"),
        ("x" * 2001, "must be a query"),
        (7, "must be a query"),
    ],
)
def test_a_query_that_could_not_be_filled_safely_is_refused(template, words):
    with pytest.raises(promql.TemplateInvalid, match=words.replace("{", r"\{").replace("}", r"\}")):
        promql.check(template)


def test_a_name_for_several_hosts_must_stand_behind_a_regular_expression():
    with pytest.raises(promql.TemplateInvalid, match="behind =~"):
        promql.check('up{instance="{instances}"}', promql.OF_VERSION)
    promql.check('up{instance=~"{instances}"}', promql.OF_VERSION)


@pytest.mark.parametrize("query", ["rate(x[5m])", "sum(increase(x[1m]))", 'irate (x{a="b"}[1m])'])
def test_a_query_that_is_no_counter_is_refused(query):
    [(name, why)] = check_queries({"requests": query})
    assert name == "requests" and "without" in why


def test_what_tells_the_age_must_be_one_plain_selector():
    assert check_queries(QUERIES) == []
    assert check_queries({"buckets": "", "start": ""}) == []
    assert [name for name, _ in check_queries({"up": "max(up)", "requests": "", "latency": "x"})] == [
        "up", "requests", "latency",
    ]  # fmt: skip


def test_a_value_never_leaves_its_string():
    hostile = 'a"} or vector(1) # \\ \n'
    said = promql.filled('up{host="{host}"}', {"host": hostile})
    assert said == 'up{host="a\\"} or vector(1) # \\\\ \\n"}'
    promql.check(said.replace("{host=", "{h="), ())


def test_a_value_behind_a_regular_expression_matches_itself_alone():
    said = promql.filled('x{a=~"{instances}",b!~"{host}"}[{window}]',
                         {"instances": ["10.0.0.1:80", "b:1"], "host": "a.b", "window": "30s"})  # fmt: skip
    assert said == r'x{a=~"10\\.0\\.0\\.1:80|b:1",b!~"a\\.b"}[30s]'


def test_two_readings_differ_by_what_happened_between_them():
    found = reading(parts(180, 6, 150, at=100.0), first(ok=100, failed=2, fast=90))
    assert (found.kind, found.requests, found.errors) == ("counts", 84, 4)
    assert found.buckets == ((0.1, 60), (math.inf, 84))


def test_the_first_error_ever_counts_though_its_series_is_new():
    found = reading(parts(110, 7, at=100.0), first(ok=100))
    assert (found.requests, found.errors) == (17, 7)


@pytest.mark.parametrize("known", [True, False])
def test_after_a_restart_everything_counted_since_it_counts(known):
    before = first(ok=100, failed=50) | ({} if known else {"start": None})
    found = reading(parts(130, 0, at=100.0, start=2000.0), before)
    assert (found.kind, found.requests, found.errors) == ("counts", 130, 0)
    assert found.buckets == ((0.1, 130), (math.inf, 130))


def test_counters_that_fall_in_one_process_are_no_restart():
    found = reading(parts(50, at=100.0), first(ok=100))
    assert found.kind == "absent" and "did not begin anew" in found.why


def test_a_series_that_is_gone_makes_the_counts_unknown_and_not_smaller():
    found = reading(parts(120, 0, at=100.0), first(ok=100, failed=3))
    assert (found.kind, found.reading) == ("absent", None)
    assert "not whole" in found.why


def test_no_errors_are_zero_only_where_the_label_that_tells_one_is_there():
    assert reading(parts(100, at=100.0, status="code")).kind == "absent"
    summed = FILLED | {"requests": "sum(http_requests_total)"}
    said = parts(100, at=100.0) | {"requests": [({}, 100)]}
    assert reading(said, queries=summed).kind == "absent"
    other = FILLED | {"errors": "failures_total"}
    assert reading(parts(100, at=100.0), queries=other).kind == "absent"


def test_the_server_is_asked_once_for_many_endpoints():
    with site(answering(lambda: vector(parts(), endpoints=2))) as web:
        found = read_counters(Server(web.url), {"a": (FILLED, None), "b": (FILLED, None)})
    assert {name: one.kind for name, one in found.items()} == {"a": "first", "b": "first"}
    assert len(web.asked) == 1


def test_a_token_goes_out_with_the_question_and_stands_in_no_answer(monkeypatch, tmp_path):
    monkeypatch.setenv("PROM_TOKEN", "s3cret")
    (tmp_path / "token").write_text("s4cret\n")
    with site({}) as web:
        for reference in ("env:PROM_TOKEN", f"file:{tmp_path}/token"):
            with pytest.raises(NoAnswer) as error:
                ask(Server(web.url, token=reference), "up")
            assert "cret" not in error.value.sentence
    assert [asked.headers["authorization"] for asked in web.asked] == ["Bearer s3cret", "Bearer s4cret"]


@pytest.mark.parametrize("reference", ["env:NOT_SET_AT_ALL", "file:/no/such/file", "plain", "env:TWO_WORDS"])
def test_without_a_usable_token_nothing_is_asked(reference, monkeypatch):
    monkeypatch.setenv("TWO_WORDS", "a b\nHost: other")
    with site(answering(lambda: vector(parts()))) as web, pytest.raises(NoAnswer) as error:
        ask(Server(web.url, token=reference), "up")
    assert web.asked == [] and error.value.kind == "down"
    assert "other" not in error.value.sentence


@pytest.mark.parametrize(
    ("series", "kind", "value"),
    [
        ({"seen": [({}, 0.0)], "value": [({}, 3.5)]}, "stale", None),
        ({"seen": [], "value": []}, "absent", None),
        ({"seen": [({}, None)], "value": [({}, 3.5), ({"a": "b"}, 1)]}, "absent", None),
        ({"seen": [({}, None)], "value": [({}, "NaN")]}, "absent", None),
        ({"seen": [({}, None)], "value": [({}, 3.5)]}, "value", 3.5),
    ],
)
def test_a_check_has_one_fresh_value_or_none(series, kind, value):
    now = time.time()
    said = {part: [(labels, now if one is None else one) for labels, one in rows] for part, rows in series.items()}
    with site(answering(lambda: vector(said))) as web:
        [sample] = measure_checks([{"name": "queue", "source": "prometheus", "query": "queue"}], Server(web.url), NOW)
    assert (sample.source, sample.endpoint, sample.kind, sample.value) == ("check:queue", "", kind, value)
    assert bool(sample.why) == (kind != "value")


def test_a_check_without_a_declared_server_is_absent():
    [sample] = measure_checks([{"name": "queue", "query": "queue"}], None, NOW)
    assert (sample.kind, sample.value) == ("absent", None)
