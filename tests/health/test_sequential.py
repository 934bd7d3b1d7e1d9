"""The tests on counts, against exact sums, simulated chance and the properties that they promise."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from health.sequential import Stretch, at_most, capped, is_below, log_ratio, proof, stretches, tail, upper_bound

LINE, ABOVE, RESTART = 0.03, 0.05, 5


def exactly(errors: int, requests: int, ratio: Fraction) -> float:
    return float(
        sum(math.comb(requests, k) * ratio**k * (1 - ratio) ** (requests - k) for k in range(errors, requests + 1))
    )


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 120), st.data(), st.integers(1, 99))
def test_the_tails_are_those_of_the_binomial_law(requests, data, percent):
    errors = data.draw(st.integers(0, requests))
    wanted = exactly(errors, requests, Fraction(percent, 100))
    assert tail(errors, requests, percent / 100) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert at_most(errors - 1, requests, percent / 100) == pytest.approx(1 - wanted, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("errors", "requests", "bound"),
    # By the rule of three, and from tables of the Poisson law for larger numbers.
    [(0, 100, 0.0295), (0, 300, 0.00994), (1, 1000, 0.00473), (10, 100_000, 0.00017), (3, 3, 1.0)],
)
def test_the_upper_bound_is_the_exact_one(errors, requests, bound):
    assert upper_bound(errors, requests, 0.95) == pytest.approx(bound, rel=0.01)


def test_nothing_is_known_of_no_requests():
    assert upper_bound(0, 0, 0.95) == 1
    assert not is_below(0, 0, 0.5, 0.95)
    assert log_ratio(0, 0, LINE) == pytest.approx(0)
    assert proof((), LINE, ABOVE, RESTART).log_evidence == -math.inf


def test_a_huge_count_neither_overflows_nor_takes_long():
    many = 2**31 - 1
    assert log_ratio(many, many, LINE) > 1e9
    assert log_ratio(0, many, LINE) < -1e6
    assert tail(many // 50, many, 0.01) == 0
    assert upper_bound(0, many, 0.95) < 1e-8
    assert proof((Stretch(0, many, many),), LINE, ABOVE, RESTART).log_evidence < math.inf


@pytest.mark.parametrize("line", [0.0, 1.0, 1e-9, 0.7, 0.999])
def test_any_line_has_an_answer(line):
    answer = proof((Stretch(0, 5, 10), Stretch(1, 10, 10)), line, 0.0, RESTART)
    assert not math.isnan(answer.log_evidence)


def test_samples_are_grouped_by_time_and_errors_never_exceed_requests():
    counts = [(0.2, 1, 10), (59.9, 1, 10), (60.0, 30, 20), (899, 0, 5)]
    assert stretches(counts, 60) == (Stretch(0, 2, 20), Stretch(1, 20, 20), Stretch(14, 0, 5))


@given(st.integers(0, 5000), st.data())
def test_the_cap_never_adds_an_error(requests, data):
    errors = data.draw(st.integers(0, requests))
    assert 0 <= capped(errors, requests, LINE) <= errors


def test_one_blip_however_large_is_no_proof_and_two_bad_minutes_are():
    well = [Stretch(number, 0, 1000) for number in range(4)]
    assert not proof([*well, Stretch(4, 1000, 1000)], LINE, ABOVE, RESTART).reaches(0.005)
    bad = [Stretch(number, 200, 1000) for number in range(3)]
    assert proof(bad, LINE, ABOVE, RESTART).reaches(0.005)


def test_a_long_good_time_does_not_hide_a_bad_end():
    window = [Stretch(number, 0, 500) for number in range(600)] + [Stretch(600 + n, 60, 500) for n in range(6)]
    answer = proof(window, LINE, ABOVE, RESTART)
    assert answer.reaches(0.005)
    assert (answer.since, answer.requests) == (600, 3000)


def test_a_span_below_the_rollback_rate_proves_nothing_however_long_it_is():
    assert not proof([Stretch(n, 40, 1000) for n in range(1000)], LINE, ABOVE, RESTART).reaches(0.5)


def drawn(rng: random.Random, per_minute: int, ratio: float, length: int) -> list[Stretch]:
    window = []
    for number in range(length):
        requests = rng.binomialvariate(per_minute * 10, 0.1)
        window.append(Stretch(number, rng.binomialvariate(requests, ratio) if requests else 0, requests))
    return window


@pytest.mark.parametrize("per_minute", [1, 5, 20, 100, 500])
def test_at_the_line_itself_at_most_alpha_of_windows_are_ever_taken_for_bad(per_minute):
    """Looked at after each minute; the bound holds for the rate that is hardest to tell from a bad one."""
    rng, alarms, runs = random.Random(per_minute), 0, 300
    for _ in range(runs):
        window = drawn(rng, per_minute, LINE, 30)
        alarms += any(proof(window[:n], LINE, LINE, RESTART).reaches(0.05) for n in range(1, 31))
    # 5 % of 300 is 15; more than 26 would be seen once in 250 such tests if the bound were just met.
    assert alarms <= 26


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=1, max_size=40))
def test_the_evidence_never_exceeds_what_the_uncapped_ratio_of_its_best_span_allows(pairs):
    window = [Stretch(number, min(pair), max(pair)) for number, pair in enumerate(pairs)]
    best = max(
        log_ratio(sum(s.errors for s in window[begin:]), sum(s.requests for s in window[begin:]), LINE)
        for begin in range(0, len(window), RESTART)
    )
    assert proof(window, LINE, 0.0, RESTART).log_evidence <= best + 1e-9
