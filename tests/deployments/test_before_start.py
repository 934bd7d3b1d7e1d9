"""What a window is compared with where no host is on the old version any more: earlier figures of that version."""

from dataclasses import replace
from datetime import timedelta

import pytest

from aureus import clock
from deployments import lifecycle, replay
from deployments.models import Deployment
from health import earlier, windows
from health.models import Sample, Window
from health.verdicts import Sample as Measured
from tests.deployments.conftest import ALICE, Fleet
from tests.deployments.test_watching import backdate, judged, probes, window_of

BEFORE_START = "the time before the start"
BEFORE_CHANGE = "the hosts before they were changed"


def timed(names, content: str, seconds: float, *, ago: timedelta = timedelta(0), errors=0) -> list[Measured]:
    """200 requests on each of these, all answered within so many seconds."""
    buckets = ((seconds * 0.99, 0), (seconds, 200))
    return [Measured(n, content, "scrape", "counts", clock.now() - ago, 200, errors, buckets) for n in names]


def watched_before(window: Window, seconds: float, *, ago: timedelta = timedelta(0), errors=0) -> None:
    windows.store(window, timed(window.endpoints, window.content, seconds, ago=ago, errors=errors))


def next_one(fleet: Fleet, number: str = "1.1.0") -> tuple[Deployment, Window]:
    deployment = lifecycle.deploy(fleet.version(number).pk, "staging", actor=ALICE)
    fleet.run()
    return deployment, backdate(window_of(deployment))


@pytest.fixture
def first(fleet: Fleet) -> Window:
    fleet.environment("staging")
    return window_of(fleet.deployed("1.0.0"))


def latency(window: Window) -> dict:
    window.refresh_from_db()
    return next(row for row in window.record["rules"] if row["rule"] == "latency")


def test_a_version_that_is_slower_than_the_one_before_is_rolled_back_after_deployed(fleet, first):
    watched_before(first, 0.1)
    deployment, window = next_one(fleet)
    woken = judged(window, timed(window.endpoints, window.content, 0.3))
    assert [lane for _, lane in woken] == ["rollback"]
    row = latency(window)
    assert (window.verdict, row["outcome"], row["baseline"]) == ("fail", "fail", BEFORE_START)
    assert row["baseline_value"] == pytest.approx(0.1, rel=0.01)
    assert window.record["baseline"]["name"] == BEFORE_START
    assert "that of the time before the start is 100 ms" in deployment.rollbacks.get().because


def test_one_that_is_as_slow_as_the_one_before_is_not(fleet, first):
    watched_before(first, 0.3)
    _, window = next_one(fleet)
    assert judged(window, timed(window.endpoints, window.content, 0.3)) == []
    assert latency(window)["outcome"] == "pass"


def test_a_rate_of_errors_that_was_there_before_passes_and_says_so(fleet, first):
    watched_before(first, 0.1, errors=6)
    deployment, window = next_one(fleet)
    well = probes(window, healthy=True, count=2)
    judged(backdate(window, close=True), [*timed(window.endpoints, window.content, 0.1, errors=6), *well])
    window.refresh_from_db()
    deployment.refresh_from_db()
    assert (window.verdict, deployment.good_at is not None) == ("pass", True)
    assert "no worse than before" in window.record["sentence"]


@pytest.mark.parametrize("why", ["too long ago", "it failed", "another version", "only probes"])
def test_without_such_figures_the_rule_does_not_apply(fleet, first, why):
    if why == "only probes":
        windows.store(first, probes(first, healthy=True, count=5))
    else:
        watched_before(first, 0.1, ago=earlier.OLDEST + timedelta(minutes=1) if why == "too long ago" else timedelta(0))
    if why == "it failed":
        Window.objects.filter(pk=first.pk).update(verdict="fail", closed_at=clock.now())
    if why == "another version":
        fleet.deployed("1.0.1")
    _, window = next_one(fleet)
    assert window.before == []
    assert judged(window, timed(window.endpoints, window.content, 0.4)) == []
    assert latency(window)["outcome"] == "not applied"


def test_a_time_in_which_that_version_and_the_one_before_it_were_down_is_left_out(fleet, first):
    now, other = clock.now(), "0.9.0-0123456789ab"
    for ago, healthy in ((20, False), (10, True)):
        both = probes(first, healthy=healthy, count=1, names=["staging-1", "resting"])
        at = now - timedelta(minutes=ago)
        rounds = [replace(s, at=at, content=other if s.endpoint == "resting" else s.content) for s in both]
        windows.store(first, rounds)
    watched_before(first, 0.1, ago=timedelta(minutes=15), errors=200)
    watched_before(first, 0.1)
    _, window = next_one(fleet)
    assert [(row["requests"], row["errors"]) for row in window.before] == [(600, 0)]


def test_what_a_rollback_undid_is_no_measure_of_what_it_brought(fleet, first):
    deployment, window = next_one(fleet)
    watched_before(window, 0.1)
    rollback, _ = lifecycle.roll_back(deployment.pk, actor=ALICE, reason="bad")
    fleet.run()
    assert window_of(rollback).before == []


def test_only_so_many_samples_are_read_and_only_as_the_window_opens(fleet, first, django_assert_num_queries):
    rows = [
        Sample(window=first, endpoint="staging-1", content=first.content, source="scrape", at=clock.now(), requests=1)
        for _ in range(earlier.MOST + 10)
    ]
    Sample.objects.bulk_create(rows)
    _, window = next_one(fleet)
    [kept] = window.before
    assert (kept["source"], kept["requests"]) == ("scrape", earlier.MOST)
    now = clock.now()
    with django_assert_num_queries(2):
        windows.verdict_of(window, now)


def test_a_policy_tried_on_it_compares_with_the_same(fleet, first):
    watched_before(first, 0.1)
    _, window = next_one(fleet)
    judged(window, timed(window.endpoints, window.content, 0.14))
    windows.close(window, "superseded", None, clock.now())
    strict = replay.policy_from("staging", {"rules": {"latency_ratio": 0.2, "latency_floor": 0.01}})
    [found] = replay.try_on("staging", strict, last=1)
    assert (found.now.result, found.now.rule) == ("fail", "latency")
    assert found.now.record["baseline"]["name"] == BEFORE_START


def test_what_bakes_measured_of_the_old_version_is_compared_with_and_never_counted_as_the_new_ones(fleet):
    here = fleet.environment("staging", hosts=2)
    fleet.deployed("1.0.0")
    here.environment.policy |= {"bake": 10.0}
    here.environment.save()
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    for closes in range(2):
        fleet.play_until(lambda: Window.objects.filter(subject=deployment.pk, kind="bake", closed_at=None).exists())
        fleet.play_until(lambda: not deployment.steps.filter(kind="watch", status="running").exists())
        bake = Window.objects.get(subject=deployment.pk, kind="bake", closed_at=None)
        old = [s for name, spot in bake.baseline.items() for s in timed([name], spot["content"], 0.1, errors=100)]
        assert bool(old) is (closes == 0)
        well = probes(bake, healthy=True, count=15)
        judged(backdate(bake, 15, close=True), [*timed(bake.endpoints, bake.content, 0.1), *well, *old])
    fleet.play_until(lambda: Window.objects.filter(subject=deployment.pk, kind="after").exists())
    window = window_of(deployment)
    judged(window, timed(window.endpoints, window.content, 0.1))
    window.refresh_from_db()
    assert window.record["figures"]["requests"] == 200 * 4
    assert window.record["figures"]["errors"] == 0
    assert (window.record["baseline"]["name"], window.record["baseline"]["errors"]) == (BEFORE_CHANGE, 100)
