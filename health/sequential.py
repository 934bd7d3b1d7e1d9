"""Tests on counts: is a ratio of errors above a line, however often one looks; is it below one? Pure.

The evidence that more than a share p0 of requests fails is an e-process: the likelihood ratio of "the share is g"
against "it is p0", mixed evenly over a grid of g above p0 and over the times at which the trouble may have begun.
Where at most p0 fail its mean never exceeds 1, so it reaches 1/alpha with a probability of at most alpha, over any
number of looks (Ville's inequality; Wald's mixture of likelihood ratios, as in Ramdas et al., "Game-theoretic
statistics and safe anytime-valid inference", Statistical Science 38, 2023). The exact tails are those of the binomial
law, the bound that of Clopper and Pearson (Biometrika 26, 1934).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

GRID = 40
"""So many ratios, spaced evenly in the logarithm, from LEAST to MOST times the line and at most HIGHEST."""
LEAST, MOST, HIGHEST = 1.5, 60.0, 0.9
BLIP_SIGMAS = 3.0
"""Errors of one stretch beyond so many standard deviations above the line count as a blip, and not as evidence."""
NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was counted in one short stretch of a window; `number` is its place since the window opened."""

    number: int
    errors: int
    requests: int


@dataclass(frozen=True, slots=True)
class Proof:
    """The evidence, as a natural logarithm, and the span that carries most of it: since which stretch, its counts."""

    log_evidence: float = NEVER
    since: int = 0
    errors: int = 0
    requests: int = 0

    def reaches(self, alpha: float) -> bool:
        """Whether chance alone would bring so much evidence in at most a share `alpha` of windows."""
        return self.log_evidence >= -math.log(alpha)


def stretches(counts: Iterable[tuple[float, int, int]], seconds: float) -> tuple[Stretch, ...]:
    """Group (seconds since the window opened, errors, requests) by time, whatever the distance between samples."""
    sums: dict[int, tuple[int, int]] = {}
    for since, errors, requests in counts:
        number = int(since // seconds)
        before = sums.get(number, (0, 0))
        sums[number] = (before[0] + min(errors, requests), before[1] + requests)
    return tuple(Stretch(number, *sums[number]) for number in sorted(sums))


def capped(errors: int, requests: int, line: float) -> int:
    """The errors of one stretch that count as evidence: a single bad moment must not decide alone."""
    return min(errors, math.ceil(requests * line + BLIP_SIGMAS * math.sqrt(requests * line * (1 - line))))


def log_ratio(errors: int, requests: int, line: float) -> float:
    """The mixed likelihood ratio of these counts against `line`, as a natural logarithm; 0 without requests."""
    right = requests - errors
    terms = [errors * more + right * less for more, less in _grid(line)]
    return _log_sum(terms) - math.log(len(terms)) if terms else NEVER


def proof(window: Sequence[Stretch], line: float, above: float, restart: int) -> Proof:
    """The evidence that more than `line` fails in a span in which more than `above` was seen to fail.

    Spans begin with the window and again every `restart` stretches, so that a long good time does not hide a bad end.
    The j-th of them has the weight 1/(j(j+1)): together they weigh less than 1, however long the window becomes.
    """
    if not window or not 0 < line < 1:
        return Proof()
    best, terms = Proof(), []
    for position, (since, kept, errors, requests) in enumerate(_spans(window, line, restart), 1):
        if errors <= above * requests:
            continue
        weighed = log_ratio(kept, requests, line) - math.log(position * (position + 1))
        terms.append(weighed)
        if weighed > best.log_evidence:
            best = Proof(weighed, since, errors, requests)
    return Proof(_log_sum(terms), best.since, best.errors, best.requests) if terms else best


def tail(errors: int, requests: int, ratio: float) -> float:
    """The probability of at least so many errors where each request fails with `ratio`."""
    if errors <= 0 or ratio >= 1:
        return 1.0
    if ratio <= 0:
        return 0.0
    if errors <= requests * ratio:
        return 1 - _upward(requests - errors + 1, requests, 1 - ratio)
    return _upward(errors, requests, ratio)


def at_most(errors: int, requests: int, ratio: float) -> float:
    """The probability of at most so many errors where each request fails with `ratio`."""
    return tail(requests - errors, requests, 1 - ratio)


def is_below(errors: int, requests: int, line: float, confidence: float) -> bool:
    """Whether the upper confidence bound of the ratio lies below `line`: so few errors were unlikely at it."""
    return requests > 0 and at_most(errors, requests, line) < 1 - confidence


def upper_bound(errors: int, requests: int, confidence: float) -> float:
    """The exact one-sided upper confidence bound of the ratio (Clopper and Pearson); 1 without requests."""
    low, high = (errors / requests, 1.0) if requests else (1.0, 1.0)
    for _ in range(50):
        middle = (low + high) / 2
        if is_below(errors, requests, middle, confidence):
            high = middle
        else:
            low = middle
    return high


def _spans(window: Sequence[Stretch], line: float, restart: int) -> list[tuple[int, int, int, int]]:
    """Answer (since, capped errors, errors, requests) of each span that reaches to now, the longest first."""
    spans: list[tuple[int, int, int, int]] = []
    kept = errors = requests = 0
    at = len(window)
    for begin in range(window[-1].number // restart, -1, -1):
        while at and window[at - 1].number >= begin * restart:
            at -= 1
            one = window[at]
            kept += capped(one.errors, one.requests, line)
            errors += one.errors
            requests += one.requests
        spans.append((begin * restart, kept, errors, requests))
    return spans[::-1]


@lru_cache(maxsize=64)
def _grid(line: float) -> tuple[tuple[float, float], ...]:
    """(log g/p0, log (1-g)/(1-p0)) for each g of the grid."""
    if not 0 < line < 1:
        return ()
    low = min(LEAST * line, (1 + line) / 2)
    high = max(low, min(HIGHEST, MOST * line))
    ratios = (low * (high / low) ** (step / (GRID - 1)) for step in range(GRID))
    return tuple((math.log(ratio / line), math.log1p(-ratio) - math.log1p(-line)) for ratio in ratios)


def _log_sum(logs: Sequence[float]) -> float:
    highest = max(logs)
    return highest + math.log(math.fsum(math.exp(each - highest) for each in logs))


def _upward(errors: int, requests: int, ratio: float) -> float:
    """The tail from `errors` on, which must lie above the mean: there each term is smaller than the one before."""
    if errors > requests:
        return 0.0
    log_term = (
        math.lgamma(requests + 1) - math.lgamma(errors + 1) - math.lgamma(requests - errors + 1)
        + errors * math.log(ratio) + (requests - errors) * math.log1p(-ratio)
    )  # fmt: skip
    total, term, odds = 0.0, 1.0, ratio / (1 - ratio)
    for count in range(errors, requests + 1):
        total += term
        term *= (requests - count) / (count + 1) * odds
        if term < total * 1e-16:
            break
    return min(1.0, math.exp(log_term) * total)
