"""Checks: what may be declared, what readings make of them, and what a missing value means."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health.checks import LONGEST_QUERY, Check, ChecksInvalid, read_checks
from health.verdicts import Sample, judge
from tests.health.test_verdicts import GOOD, RULES, Baseline, at, finding, probe, verdict

QUEUE = {"name": "queue", "source": "prometheus", "query": "queue_length", "comparison": "<", "bound": 100}


def reading(second: float, value: float | None = 1.0, kind="value", name="queue") -> Sample:
    return Sample("", None, f"check:{name}", kind, at(second), value=value)


def judged(readings, *, now=600, closes=600, traffic=GOOD, **declared):
    checks = read_checks([{**QUEUE, **declared}])
    return judge(
        RULES, [*traffic, *readings], Baseline(), opened_at=at(0), closes_at=at(closes), now=at(now), checks=checks
    )


def test_a_check_whose_every_reading_holds_passes_with_the_rest():
    answer = judged([reading(580), reading(590)])
    assert answer.result == "pass"
    row = finding(answer, "check:queue")
    assert (row["outcome"], row["value"], row["threshold"], row["source"]) == ("pass", 1.0, 100, "prometheus")


@pytest.mark.parametrize(
    ("comparison", "value", "holds"),
    [
        ("<", 99, 1),
        ("<", 100, 0),
        ("<=", 100, 1),
        ("<=", 101, 0),
        (">", 101, 1),
        (">", 100, 0),
        (">=", 100, 1),
        (">=", 99, 0),
    ],
)
def test_each_comparison_means_what_it_says(comparison, value, holds):
    assert judged([reading(590, value)], comparison=comparison).result == ("pass" if holds else "fail")


def test_one_reading_more_than_allowed_fails_at_once():
    bad = [reading(second, 200) for second in (10, 30, 50)]
    good = [reading(second) for second in (20, 40, 60)]
    assert judged([*bad, *good], failures_allowed=3, now=61).result == "open"
    answer = judged([*bad, *good], failures_allowed=2, now=61)
    assert (answer.result, answer.rule) == ("fail", "check:queue")
    assert "3 of 6 readings failed; 2 may" in answer.sentence


def test_too_many_failed_readings_in_a_row_fail_even_where_more_are_allowed_in_all():
    row = [reading(10, 200), reading(20, 200)]
    apart = [reading(10, 200), reading(20), reading(30, 200)]
    limits = {"failures_allowed": 5, "consecutive": 1, "now": 31}
    assert judged(row, **limits).result == "fail"
    assert judged(apart, **limits).result == "open"


MISSING = [
    ([], "no_data"),
    ([reading(590, None, "absent")], "no_data"),
    ([reading(590, None, "value")], "no_data"),
    ([reading(590, math.nan)], "no_data"),
    ([reading(590, math.inf)], "no_data"),
    ([reading(590, None, "down")], "source_down"),
    ([reading(590, None, "stale")], "stale"),
    ([reading(400)], "stale"),
    ([reading(400), reading(590, None, "down")], "source_down"),
]


@pytest.mark.parametrize(("readings", "cause"), MISSING)
def test_a_missing_value_is_inconclusive_with_its_cause_and_never_a_pass(readings, cause):
    answer = judged(readings)
    assert (answer.result, answer.cause, answer.rule) == ("inconclusive", cause, "check:queue")
    assert finding(answer, "check:queue")["outcome"] == "not measured"


@pytest.mark.parametrize(("readings", "cause"), MISSING)
def test_a_value_that_is_not_required_says_nothing_where_it_is_missing(readings, cause):
    answer = judged(readings, required=False)
    assert answer.result == "pass"
    assert finding(answer, "check:queue")["outcome"] == "not applied"


def test_a_value_that_is_not_required_counts_where_it_is_there():
    assert judged([reading(590, 200)], required=False).result == "fail"


def test_a_source_that_was_down_for_a_moment_does_not_hold():
    assert judged([reading(560), reading(590, None, "down")]).result == "pass"


def test_readings_of_a_check_are_no_traffic_and_no_host():
    answer = judged([reading(590)], traffic=[*GOOD, *[probe(s) for s in range(560, 600)]])
    assert answer.result == "pass"
    assert list(answer.record["sources"]) == ["scrape"]
    assert verdict([reading(590)]).cause == "no_data"


def test_every_error_of_every_check_is_told_at_once_by_its_place():
    declared = [
        {"name": "Queue", "source": "tea leaves", "query": 5, "comparison": "=", "bound": math.nan, "colour": 1},
        "queue",
        {"name": "a", "source": "prometheus"},
        {**QUEUE, "failures_allowed": -1, "consecutive": True, "required": "yes"},
        {**QUEUE, "name": "rows", "failures_allowed": 1, "consecutive": 2},
        QUEUE, QUEUE,
    ]  # fmt: skip
    with pytest.raises(ChecksInvalid) as refusal:
        read_checks(declared)
    places = {path for path, _ in refusal.value.errors}
    wanted = {f"checks[0].{name}" for name in ("name", "source", "query", "comparison", "bound", "colour")}
    wanted |= {"checks[1]"} | {f"checks[2].{name}" for name in ("query", "comparison", "bound")}
    wanted |= {f"checks[3].{name}" for name in ("failures_allowed", "consecutive", "required")}
    assert places == wanted | {"checks[4].consecutive", "checks"}


@pytest.mark.parametrize("declared", [None, 5, {"name": "x"}, [QUEUE | {"query": "x" * (LONGEST_QUERY + 1)}]])
def test_what_is_no_list_of_checks_is_refused(declared):
    with pytest.raises(ChecksInvalid):
        read_checks(declared)


def test_the_journal_needs_no_query():
    [check] = read_checks([{"name": "journal", "source": "journal", "comparison": "<=", "bound": 0}])
    assert (check.query, check.failures_allowed, check.required) == ("", 0, True)


VALUES = st.floats() | st.none()
KINDS = st.sampled_from(["value"] * 4 + ["down", "absent", "stale"])


@given(st.lists(st.builds(reading, st.integers(0, 600), VALUES, KINDS), max_size=20))
def test_no_readings_without_a_fresh_good_value_ever_pass(readings):
    answer = judged(readings)
    fresh = [s for s in readings if s.kind == "value" and s.value is not None and s.value < 100 and s.value > -math.inf]
    if answer.result == "pass":
        assert any(at(600) - s.at <= timedelta(seconds=90) for s in fresh)


def test_a_check_survives_its_row():
    check = Check("queue", "prometheus", "queue_length", "<", 100, 3, 2, False)
    assert Check(**check.as_json()) == check
