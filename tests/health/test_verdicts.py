"""The rules of judging, one table per rule, and what must hold for any samples at all."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health.verdicts import Baseline, Policy, Rules, Sample, judge, policy_for

OPENED = datetime(2026, 1, 1, 12, tzinfo=UTC)
CLOSES = OPENED + timedelta(minutes=10)
RULES = Rules()
FAST = ((0.1, 90), (0.5, 100), (math.inf, 100))


def at(seconds: float) -> datetime:
    return OPENED + timedelta(seconds=seconds)


def scrape(seconds: float, requests=100, errors=0, buckets=None, endpoint="h1", kind="counts") -> Sample:
    buckets = timed(requests, 0.1) if buckets is None else buckets
    return Sample(endpoint, "1.1.0-aaaaaaaaaaaa", "scrape", kind, at(seconds), requests, errors, buckets)


def timed(requests: int, seconds: float) -> tuple[tuple[float, int], ...]:
    """A histogram in which every request took the given time, with bounds at it and 1 % below."""
    return ((seconds * 0.99, 0), (seconds, requests), (math.inf, requests))


def probe(seconds: float, healthy=True, endpoint="h1", took: float | None = 0.02) -> Sample:
    return Sample(endpoint, "1.1.0-aaaaaaaaaaaa", "probe", "counts", at(seconds), healthy=healthy, seconds=took)


def probes(count: int, *, failed=0, endpoint="h1", until=600) -> list[Sample]:
    """So many probes one second apart; the failed ones lie alone in the middle."""
    start = until - count
    bad = {start + 5 + 3 * number for number in range(failed)}
    return [probe(second, second not in bad, endpoint) for second in range(start, until)]


def verdict(samples, baseline=(), before=(), *, now=600, closes=CLOSES, rules=RULES, endpoints=()):
    return judge(
        rules, samples, Baseline(tuple(baseline), tuple(before)),
        opened_at=OPENED, closes_at=closes, now=at(now), endpoints=endpoints,
    )  # fmt: skip


def finding(answer, rule):
    return next(row for row in answer.record["rules"] if row["rule"] == rule)


def short(answer):
    return (answer.result, answer.cause or answer.rule)


GOOD = [scrape(590, 1000, 9)]


def test_a_window_that_went_well_passes_on_traffic_when_it_closes():
    answer = verdict(GOOD)
    assert (answer.result, answer.basis, answer.degraded) == ("pass", "traffic", False)
    assert "9 of 1000 requests failed" in answer.sentence


def test_a_good_window_stays_open_until_it_closes():
    assert verdict(GOOD, now=599.9).result == "open"
    assert verdict(GOOD, closes=None).result == "open"
    assert verdict(GOOD, now=600).result == "pass"


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (9, ("pass", "")),
        (10, ("inconclusive", "degraded")),
        (50, ("inconclusive", "degraded")),
        (51, ("fail", "error_rate")),
    ],
)
def test_the_error_rate_passes_below_one_percent_and_fails_above_five(errors, expected):
    answer = verdict([scrape(590, 1000, errors)])
    assert short(answer) == expected
    assert answer.degraded is (expected[1] == "degraded")


def minutes(count: int, requests=100, errors=0, *, start=0, **how) -> list[Sample]:
    """A scrape each minute."""
    return [scrape(start + 60 * number + 30, requests, errors, **how) for number in range(count)]


def test_a_rate_fails_as_soon_as_it_is_proven_and_not_for_one_bad_minute():
    assert short(verdict(minutes(5, errors=6), now=300)) == ("open", "")
    assert short(verdict(minutes(9, errors=6), now=540)) == ("fail", "error_rate")
    assert short(verdict(minutes(1, errors=20), now=60)) == ("open", "")
    assert short(verdict(minutes(2, errors=20), now=120)) == ("fail", "error_rate")


def test_six_percent_is_rolled_back_half_a_percent_passes_and_three_are_held():
    long, at_the_end = OPENED + timedelta(minutes=30), 1800

    def closing(pattern):
        return short(verdict([scrape(60 * m + 59, 100, pattern[m % len(pattern)]) for m in range(30)], now=at_the_end,
                             closes=long))  # fmt: skip

    assert closing([6]) == ("fail", "error_rate")
    assert closing([0, 1]) == ("pass", "")
    assert closing([3]) == ("inconclusive", "degraded")


def test_the_spacing_of_samples_does_not_decide():
    """The same 20 % of 100 requests a minute, sampled each 0.2 s, each second and each 300 s."""
    dense = [scrape(s / 5, 1 if s % 3 == 0 else 0, 1 if s % 15 == 0 else 0) for s in range(5 * 180)]
    each_second = [scrape(s, 5, 1) for s in range(180)]
    sparse = [scrape(300, 500, 100), scrape(600, 500, 100), scrape(900, 500, 100)]
    assert short(verdict(dense, now=180)) == ("fail", "error_rate")
    assert short(verdict(each_second, now=180)) == ("fail", "error_rate")
    assert short(verdict(sparse, now=900, closes=None)) == ("fail", "error_rate")


def test_a_bad_end_is_proven_in_a_window_that_is_still_open():
    well = minutes(60)
    assert short(verdict([*well, *minutes(6, errors=15, start=3600)], now=3960, closes=None)) == ("fail", "error_rate")


def test_a_close_above_five_percent_that_chance_explains_is_held_and_not_failed():
    few = [scrape(590, 30, 2)]
    assert short(verdict(few, rules=replace(RULES, min_requests=30))) == ("inconclusive", "degraded")
    assert short(verdict([scrape(590, 30, 4)], rules=replace(RULES, min_requests=30))) == ("fail", "error_rate")


def test_what_came_after_the_close_of_a_held_window_counts_by_the_sequential_test_alone():
    held = [*minutes(9, errors=2), *minutes(2, start=600, errors=8)]
    assert short(verdict(held, now=720)) == ("inconclusive", "degraded")


def test_a_pass_needs_as_many_requests_as_make_it_sure():
    assert short(verdict([scrape(590, 100, 0)])) == ("pass", "")
    answer = verdict([scrape(590, 120, 1)])
    assert short(answer) == ("inconclusive", "low_traffic")
    assert "it may be 3.89%" in answer.sentence
    assert short(verdict([scrape(590, 160, 1)])) == ("pass", "")


def seen_by(source: str, samples: list[Sample]) -> list[Sample]:
    return [replace(sample, source=source) for sample in samples]


def test_two_sources_that_disagree_are_held_at_once_and_never_passed():
    errors, well = minutes(9, errors=10), seen_by("prometheus", minutes(9))
    answer = verdict([*errors, *well], now=540)
    assert (answer.result, answer.cause, answer.rule) == ("inconclusive", "sources_disagree", "error_rate")
    assert "scrape: " in answer.sentence and "prometheus says otherwise" in answer.sentence
    assert verdict([*errors, *well]).cause == "sources_disagree"


def test_of_two_sources_the_worst_applies_and_they_are_never_added_up():
    assert short(verdict([*GOOD, *seen_by("prometheus", [scrape(590, 1000, 20)])])) == ("inconclusive", "degraded")
    assert short(verdict([*GOOD, *seen_by("prometheus", [scrape(590, 10, 6)])])) == ("fail", "hard_stop_errors")
    too_little = [*minutes(10, errors=10), *seen_by("prometheus", [scrape(590, 50)])]
    assert short(verdict(too_little)) == ("fail", "error_rate")
    halves = [scrape(590, 60), *seen_by("prometheus", [scrape(590, 60)])]
    assert short(verdict(halves)) == ("inconclusive", "low_traffic")
    assert verdict(halves).record["figures"]["requests"] == 60


def test_one_of_two_sources_that_is_down_holds():
    answer = verdict([*GOOD, replace(scrape(590), source="prometheus", kind="down")])
    assert short(answer) == ("inconclusive", "source_down")
    assert "prometheus of h1" in answer.sentence


def test_a_baseline_is_compared_source_by_source():
    slow = seen_by("prometheus", [scrape(590, 1000, 0, timed(1000, 0.1), "h2")])
    row = finding(verdict([scrape(590, 1000, 0, timed(1000, 0.4))], slow), "latency")
    assert row["outcome"] == "not applied"


def test_a_long_good_time_does_not_hide_a_bad_end():
    assert short(verdict([scrape(100, 100_000), scrape(590, 1000, 60)])) == ("fail", "error_rate")


@pytest.mark.parametrize(
    ("requests", "errors", "result"), [(10, 5, "fail"), (9, 9, "open"), (11, 5, "open"), (10, 4, "open")]
)
def test_half_of_ten_requests_failing_is_a_hard_stop(requests, errors, result):
    answer = verdict([scrape(5, requests, errors)], now=6)
    assert answer.result == result
    assert answer.rule == ("hard_stop_errors" if result == "fail" else "")


def test_a_hard_stop_looks_at_the_newest_requests_and_not_at_all_of_them():
    assert short(verdict([scrape(100, 50_000), scrape(101, 10, 5)], now=102)) == ("fail", "hard_stop_errors")


@pytest.mark.parametrize(
    ("samples", "result"),
    [
        ([probe(1, False), probe(2, False)], "fail"),
        ([probe(2, False)], "open"),
        ([probe(1), probe(2, False)], "open"),
        ([probe(1, False), probe(2, True), probe(3, False)], "open"),
        ([probe(1, False), probe(2, False), probe(1, True, "h2"), probe(2, True, "h2")], "open"),
        ([probe(1, False), probe(2, False), probe(1, False, "h2"), probe(2, False, "h2")], "fail"),
    ],
)
def test_all_probes_failing_twice_in_a_row_is_a_hard_stop(samples, result):
    assert verdict(samples, now=3).result == result


@pytest.mark.parametrize(("seconds", "expected"), [(299, ("open", "")), (300, ("fail", "unhealthy"))])
def test_one_host_unhealthy_for_five_minutes_fails(seconds, expected):
    sick = [probe(second, False) for second in range(0, seconds + 1)]
    well = [probe(second, True, "h2") for second in range(0, seconds + 1)]
    assert short(verdict(sick + well, now=seconds + 1)) == expected


def test_a_host_that_is_unhealthy_at_the_close_is_degraded_and_one_good_probe_ends_it():
    well = probes(40, endpoint="h2")
    assert short(verdict([*GOOD, *well, probe(590, False)])) == ("inconclusive", "degraded")
    assert verdict([*GOOD, *well, probe(590, False), probe(595)]).result == "pass"


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (0.30, 0.20, ("pass", "")),
        (0.31, 0.20, ("fail", "latency")),
        (0.06, 0.02, ("pass", "")),
        (0.07, 0.019, ("fail", "latency")),
        (0.51, 0.40, ("inconclusive", "degraded")),
        (0.49, 0.40, ("pass", "")),
        (0.82, 0.80, ("pass", "")),
        (0.90, 0.80, ("inconclusive", "degraded")),
    ],
)
def test_latency_is_judged_against_the_baseline_and_the_limit(new, old, expected):
    def exact(seconds):
        return ((seconds * 0.9999999, 0), (seconds, 1000), (math.inf, 1000))

    samples, baseline = [scrape(590, 1000, 0, exact(new))], [scrape(590, 1000, 0, exact(old), "h2")]
    assert short(verdict(samples, baseline)) == expected


def test_latency_without_a_baseline_is_only_held_against_the_limit():
    answer = verdict([scrape(590, 1000, 0, timed(1000, 0.6))])
    assert short(answer) == ("inconclusive", "degraded")
    assert finding(answer, "latency")["outcome"] == "not applied"


def test_latency_above_the_largest_bucket_is_never_fast_and_never_breaks_the_record():
    endless = ((0.1, 10), (math.inf, 1000))
    answer = verdict([scrape(590, 1000, 0, endless)], [scrape(590, 1000, 0, timed(1000, 0.1), "h2")])
    assert short(answer) == ("fail", "latency")
    assert finding(answer, "p95")["above_largest_bucket"] is True
    json.dumps(answer.record, allow_nan=False)


def test_the_baseline_is_named():
    new, old = [scrape(590, 1000, 0)], scrape(590, 1000, 0, timed(1000, 0.1), "h2")
    assert finding(verdict(new, [old]), "latency")["baseline"] == "the hosts still on the old version"
    earlier = replace(old, at=at(-60))
    assert finding(verdict(new, before=[earlier]), "latency")["baseline"] == "the time before the start"


def test_a_rate_no_worse_than_before_passes_and_says_so():
    new, before = [scrape(590, 1000, 22)], [scrape(-60, 10_000, 200)]
    answer = verdict(new, before=before)
    assert answer.result == "pass"
    assert "no worse than before" in answer.sentence
    assert finding(answer, "error_rate")["outcome"] == "no worse than before"
    assert short(verdict([scrape(590, 1000, 40)], before=before)) == ("inconclusive", "degraded")


@pytest.mark.parametrize(
    ("new", "old", "rule"),
    [
        (minutes(10, 1000, 100), minutes(10, 1000, 90, endpoint="h2"), "error_rate"),
        ([scrape(590, 20, 20)], [scrape(590, 10, 5, endpoint="h2")], "hard_stop_errors"),
        (
            [probe(598, False), probe(599, False)],
            [probe(598, False, "h2"), probe(599, False, "h2")],
            "hard_stop_probes",
        ),
        (
            [probe(s, False) for s in range(290, 600)] + probes(310, endpoint="h3"),
            [probe(s, False, "h2") for s in range(290, 600)] + probes(310, endpoint="h4"),
            "unhealthy",
        ),
    ],
)
def test_what_the_old_hosts_fail_too_is_a_common_cause_and_no_failure(new, old, rule):
    assert verdict(new).result == "fail"
    answer = verdict(new, old, now=600, closes=None)
    assert (answer.result, answer.cause, answer.rule) == ("inconclusive", "common_cause", rule)


IDLE = [probe(598, False, "warm-1"), probe(599, False, "warm-2")]
"""The old side of a blue-green deployment: it has no traffic, and its newest probes fail."""


@pytest.mark.parametrize(
    ("new", "rule"),
    [
        ([scrape(599, 50, 40)], "hard_stop_errors"),
        ([probe(598, False), probe(599, False)], "hard_stop_probes"),
        ([probe(s, False) for s in range(290, 600)] + probes(9, endpoint="h3"), "unhealthy"),
        (minutes(9, errors=10), "error_rate"),
        ([scrape(599, 1000, 0, timed(1000, 0.9))], "latency"),
    ],
)
def test_an_old_side_without_traffic_shows_a_common_cause_by_its_probes(new, rule):
    earlier = [scrape(-60, 1000, 0, timed(1000, 0.1))]
    assert short(verdict(new, before=earlier, closes=None)) == ("fail", rule)
    answer = verdict(new, IDLE, earlier, closes=None)
    assert (answer.result, answer.cause, answer.rule) == ("inconclusive", "common_cause", rule)
    assert "warm-1, warm-2" in answer.sentence


@pytest.mark.parametrize(
    "old",
    [
        [*IDLE, probe(599, True, "warm-1")],
        [replace(p, at=at(500)) for p in IDLE],
        [replace(p, healthy=None) for p in IDLE],
        [replace(p, kind="down") for p in IDLE],
        [],
    ],
)
def test_without_fresh_probes_that_all_failed_there_is_no_common_cause(old):
    assert short(verdict([scrape(599, 50, 40)], old, closes=None)) == ("fail", "hard_stop_errors")


def together(begins: int, ends: int, *, endpoint: str) -> list[Sample]:
    """A probe a second, failed while both versions are down."""
    return [probe(second, not begins <= second < ends, endpoint) for second in range(600)]


def test_what_failed_while_both_versions_were_down_counts_no_more_when_they_are_well_again():
    broken = [scrape(second, 20, 20 if 100 <= second <= 260 else 0) for second in range(0, 600, 10)]
    down = together(100, 200, endpoint="h1")
    old = together(100, 200, endpoint="warm-1")
    assert verdict([*broken, *down], old, now=199, closes=None).cause == "common_cause"
    assert short(verdict([*broken, *down], old, now=205, closes=None)) == ("open", "")
    answer = verdict([*broken, *down], old)
    assert (answer.result, answer.basis) == ("pass", "traffic")
    assert short(verdict([*broken, *down])) == ("fail", "error_rate")


def test_what_was_counted_in_the_round_in_which_the_outage_began_tells_of_it_too():
    """A probe was answered just before and the counters were read just after."""
    down, old = together(100, 200, endpoint="h1"), together(100, 200, endpoint="warm-1")
    well = [scrape(second, 20, 0) for second in range(0, 600, 10)]
    assert short(verdict([*well, scrape(99, 400, 400), *down], old)) == ("pass", "")
    assert short(verdict([*well, scrape(98, 400, 400), *down], old)) == ("fail", "error_rate")


def test_a_version_that_stays_down_when_the_old_one_is_well_again_fails_by_what_came_after():
    new, old = together(100, 600, endpoint="h1"), together(100, 200, endpoint="warm-1")
    assert verdict(new, old, now=199, closes=None).cause == "common_cause"
    assert short(verdict(new, old, now=200, closes=None)) == ("open", "")
    assert short(verdict(new, old, now=201, closes=None)) == ("fail", "hard_stop_probes")


def test_an_old_side_that_is_down_alone_hides_nothing_afterwards():
    broken = [scrape(second, 20, 4) for second in range(0, 300, 10)]
    well, old = together(0, 0, endpoint="h1"), together(10, 290, endpoint="warm-1")
    assert short(verdict([*broken, *well], old, now=299, closes=None)) == ("fail", "error_rate")


def test_an_outage_in_a_bake_does_not_fail_the_window_after_in_which_nobody_is_on_the_old_version():
    """h2 was on the old version until 300 s; both were down from 100 s to 200 s."""
    new = [*together(100, 200, endpoint="h1"), *(p for p in together(0, 0, endpoint="h2") if p.at >= at(300))]
    old = [p for p in together(100, 200, endpoint="h2") if p.at < at(300)]
    broken = [scrape(second, 20, 20 if 100 <= second <= 260 else 0) for second in range(0, 600, 10)]
    changed = Baseline((), (), tuple(old))
    answer = judge(RULES, [*new, *broken], changed, opened_at=OPENED, closes_at=CLOSES, now=at(600))
    assert (answer.result, answer.basis) == ("pass", "traffic")


def test_a_quiet_service_passes_on_its_probes_though_both_versions_were_down_for_a_while():
    assert verdict(together(100, 130, endpoint="h1"), together(100, 130, endpoint="warm-1")).basis == "probe"


def test_the_hosts_before_they_were_changed_are_compared_with_first_and_never_a_common_cause():
    slow, quick = timed(1000, 0.4), timed(1000, 0.1)
    changed = Baseline((), (scrape(-60, 1000, 0, slow),), (scrape(100, 1000, 0, quick, "h2"),))
    answer = judge(RULES, [scrape(590, 1000, 0, slow)], changed, opened_at=OPENED, closes_at=None, now=at(600))
    row = finding(answer, "latency")
    assert (answer.result, row["baseline"]) == ("fail", "the hosts before they were changed")
    sick = Baseline((), (), (probe(598, False, "h2"), probe(599, False, "h2")))
    answer = judge(RULES, [scrape(590, 50, 40)], sick, opened_at=OPENED, closes_at=None, now=at(600))
    assert answer.result == "fail"


def test_a_trouble_before_the_start_is_no_common_cause():
    before = [replace(scrape(0, 20, 20), at=at(-5))]
    assert short(verdict([scrape(590, 20, 20)], before=before)) == ("fail", "hard_stop_errors")
    assert short(verdict([scrape(590, 20, 20)], before)) == ("fail", "hard_stop_errors")


def test_a_failure_that_the_old_hosts_do_not_share_stays_one_beside_a_common_cause():
    new = [scrape(590, 1000, 600)]
    old = [scrape(590, 1000, 90, endpoint="h2")]
    assert short(verdict(new, old)) == ("fail", "hard_stop_errors")


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (probes(30), ("pass", "")),
        (probes(29), ("inconclusive", "low_traffic")),
        (probes(40, failed=1), ("inconclusive", "low_traffic")),
        (probes(30, failed=2), ("inconclusive", "degraded")),
        ([*probes(30), scrape(590, 20, 0)], ("pass", "")),
        ([*probes(30), scrape(590, 20, 1)], ("inconclusive", "low_traffic")),
        ([*probes(30), scrape(590, 20, 0, endpoint="h2")], ("inconclusive", "low_traffic")),
        ([replace(p, seconds=0.6) for p in probes(30)], ("inconclusive", "degraded")),
        ([replace(p, seconds=None) for p in probes(30)], ("inconclusive", "low_traffic")),
    ],
)
def test_thirty_probes_without_a_failure_may_pass_a_quiet_service_alone(samples, expected):
    answer = verdict(samples)
    assert short(answer) == expected
    assert answer.basis == ("probe" if expected[0] == "pass" else "")


@pytest.mark.parametrize(
    ("samples", "cause", "words"),
    [
        ([], "no_data", "any host"),
        ([replace(scrape(590), kind="first")], "no_data", "only once"),
        ([replace(scrape(590), kind="absent"), *probes(60)], "no_data", "without the declared metric"),
        ([scrape(590, 1000, buckets=())], "no_data", "how long"),
        ([scrape(590, 99)], "low_traffic", "99 of 100 requests"),
        ([scrape(300, 1000), replace(scrape(595), kind="down")], "source_down", "scrape of h1 does not answer"),
        ([replace(scrape(595), kind="down"), *probes(60)], "source_down", "does not answer"),
        ([scrape(509, 1000)], "stale", "91 s old"),
        ([*GOOD, probe(100)], "stale", "probe measurement of h1 is 500 s old"),
        ([*GOOD, replace(probe(599), healthy=None)], "source_down", "probe of h1"),
    ],
)
def test_what_could_not_be_measured_is_inconclusive_with_its_cause(samples, cause, words):
    answer = verdict(samples)
    assert short(answer) == ("inconclusive", cause)
    assert words in answer.sentence


def test_one_source_that_was_down_for_a_moment_does_not_hold():
    assert verdict([*GOOD, replace(scrape(595), kind="down")]).result == "pass"


def test_a_host_that_nobody_measured_is_named():
    answer = verdict(GOOD, endpoints=("h1", "h2"))
    assert short(answer) == ("inconclusive", "no_data")
    assert "h2" in answer.sentence


def test_what_was_measured_before_the_window_opened_or_after_now_does_not_count():
    assert short(verdict([scrape(-1, 1000), scrape(601, 1000)])) == ("inconclusive", "no_data")


def test_the_record_says_rule_value_samples_threshold_source_and_time():
    answer = verdict([scrape(590, 1000, 60)])
    row = finding(answer, "error_rate")
    assert (row["value"], row["threshold"], row["samples"], row["source"]) == (0.06, 0.05, 1000, "scrape")
    assert answer.record["at"] == at(600).isoformat()
    assert answer.record["figures"]["requests"] == 1000
    assert (answer.record["result"], answer.record["rule"]) == ("fail", "error_rate")
    json.dumps(answer.record, allow_nan=False)


def test_a_cause_is_held_until_the_longest_hold_and_then_ends_by_policy():
    policy = Policy(actions={"low_traffic": "continue"}, max_hold=timedelta(minutes=5), after_max_hold="rollback")
    assert policy_for("low_traffic", policy, at(0), at(0)).action == "continue"
    held = policy_for("stale", policy, at(299), at(0))
    assert (held.action, held.until) == ("hold", at(300))
    assert policy_for("stale", policy, at(300), at(0)).action == "rollback"
    staging = replace(policy, after_max_hold="continue")
    assert policy_for("degraded", staging, at(300), at(0)).action == "continue"


HOSTS = st.sampled_from(["h1", "h2", "h3"])
SCRAPES = st.builds(
    lambda second, requests, share, slow, endpoint, kind: scrape(
        second, requests, int(requests * share), timed(requests, slow), endpoint, kind
    ),
    st.integers(0, 600), st.integers(0, 400), st.sampled_from([0, 0.005, 0.02, 0.06, 0.5, 1]),
    st.sampled_from([0.01, 0.2, 0.8]), HOSTS, st.sampled_from(["counts"] * 5 + ["down", "absent", "first"]),
)  # fmt: skip
PROBES = st.builds(probe, st.integers(0, 600), st.booleans(), HOSTS)
MANY = st.lists(SCRAPES | PROBES, max_size=40)
OLD = MANY.map(lambda samples: [replace(sample, endpoint="old-" + sample.endpoint) for sample in samples])


@given(MANY, OLD, st.randoms())
def test_the_order_of_samples_does_not_matter(samples, old, random):
    shuffled, mixed = list(samples), list(old)
    random.shuffle(shuffled)
    random.shuffle(mixed)
    assert verdict(samples, old) == verdict(shuffled, mixed)


def test_of_two_probes_of_one_moment_the_failed_one_counts():
    both = [probe(0, True, "h1"), probe(0, False, "h1")]
    for samples in (both, both[::-1]):
        assert finding(verdict(samples), "unhealthy")["outcome"] == "degraded"


@given(MANY, OLD)
def test_nothing_passes_without_data(samples, old):
    answer = verdict(samples, old)
    if answer.result == "pass":
        figures = answer.record["figures"]
        assert figures["requests"] >= RULES.min_requests or figures["probes"] >= RULES.min_probes
    unmeasured = [replace(sample, kind="down") for sample in samples]
    assert verdict(unmeasured, old).result == "inconclusive"


@given(
    MANY,
    st.lists(
        SCRAPES.map(lambda s: replace(s, kind="counts", errors=s.requests))
        | PROBES.map(lambda p: replace(p, healthy=False)),
        min_size=1,
        max_size=10,
    ),
)
def test_adding_failures_never_turns_a_failure_of_requests_or_probes_into_anything_else(samples, failures):
    if verdict(samples).result == "fail":
        assert verdict(samples + failures).result == "fail"


@given(MANY, OLD, st.integers(0, 599))
def test_an_open_window_never_passes(samples, old, now):
    assert verdict(samples, old, now=now).result != "pass"
    assert verdict(samples, old, closes=None).result != "pass"


@given(MANY, OLD)
def test_every_record_is_json(samples, old):
    json.dumps(verdict(samples, old).record, allow_nan=False)
