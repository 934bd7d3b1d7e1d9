"""A window judged anew: the same looks, the policy's holds, and what cannot be told."""

from dataclasses import replace
from datetime import timedelta

import pytest

from health.baseline import Baseline
from health.checks import read_checks
from health.replay import Past, replay
from health.verdicts import Policy
from tests.health.test_verdicts import RULES, at, minutes, scrape

HOLDING = Policy(max_hold=timedelta(minutes=5))


def past(samples, *, ended=900, superseded=False, still=()) -> Past:
    return Past(tuple(samples), Baseline(tuple(still)), ("h1",), at(0), at(600), at(ended), superseded)


def tried(samples, rules=RULES, policy=HOLDING, checks=(), **how):
    return replay(past(samples, **how), rules, checks, policy)


def test_a_window_that_passed_passes_again_at_its_close():
    answer = tried(minutes(11), ended=630)
    assert (answer.result, answer.decided_at) == ("pass", at(630))


def test_a_stricter_policy_would_have_stopped_it_and_says_when_and_by_which_rule():
    strict = replace(RULES, max_error_rate=0.002, rollback_error_rate=0.01)
    answer = tried(minutes(10, 500, 15), strict, ended=600)
    assert (answer.result, answer.rule) == ("fail", "error_rate")
    assert at(0) < answer.decided_at < at(600)
    assert any(row["rule"] == "error_rate" and row["value"] == 0.03 for row in answer.record["rules"])
    assert tried(minutes(10, 500, 15), ended=600).result == "undecided"


def test_a_hold_lasts_as_long_as_this_policy_says_and_ends_as_it_says():
    three_percent = minutes(20, 100, 3)
    assert tried(three_percent, ended=1200).decided_at == at(930)
    assert tried(three_percent, ended=1200).result == "fail"
    going_on = replace(HOLDING, actions={"degraded": "continue"})
    assert tried(three_percent, policy=going_on, ended=1200).result == "inconclusive"
    assert tried(three_percent, policy=going_on, ended=1200).decided_at == at(630)


def test_a_hold_ends_by_itself_when_it_can_be_judged_again():
    silent = [scrape(second, kind="down") for second in (570, 630)]
    answer = tried([*minutes(8), *silent, scrape(690)], ended=1000)
    assert (answer.result, answer.decided_at) == ("pass", at(690))


def test_samples_that_end_before_a_decision_are_said_to():
    answer = tried(minutes(3), ended=180)
    assert (answer.result, answer.decided_at) == ("undecided", None)
    assert "samples end before" in answer.sentence


def test_a_window_without_samples_is_said_to_have_none():
    answer = tried([])
    assert (answer.result, answer.of) == ("undecided", 0)
    assert "No samples are kept" in answer.sentence


@pytest.mark.parametrize(("count", "result"), [(5, "pass"), (0, "superseded")])
def test_the_next_start_closed_it_on_what_it_had(count, result):
    samples = minutes(count) if count else [scrape(30, 10)]
    assert tried(samples, ended=300, superseded=True).result == result


def test_a_window_of_very_many_moments_is_looked_at_evenly_and_says_so():
    answer = tried([scrape(s / 2, 1) for s in range(0, 1800)], ended=900)
    assert answer.of == 1801
    samples = [scrape(s / 2, 1) for s in range(0, 1800)]
    undecided = replay(replace(past(samples), closes_at=at(2000)), RULES, (), HOLDING)
    assert undecided.looks == 600


def test_checks_are_judged_as_well():
    [check] = read_checks([{"name": "queue", "source": "prometheus", "query": "x", "comparison": "<", "bound": 5}])
    bad = replace(scrape(100), endpoint="", source="check:queue", kind="value", requests=0, buckets=(), value=9.0)
    answer = tried([*minutes(10), bad], checks=[check])
    assert (answer.result, answer.rule, answer.decided_at) == ("fail", "check:queue", at(100))
