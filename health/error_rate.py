"""The rule on errors: proven above the rollback rate fails, below the success rate passes, between is degraded. Pure.

Two tests say "failed", and each takes half of `alpha`, so that a well version fails in at most that share of windows:
the sequential one of health/sequential.py at every look, and one exact test of the whole window and of its end as it
closes.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from health import sequential
from health.evidence import Evidence, Traffic
from health.finding import AS_BEFORE, COMMON_CAUSE, DEGRADED, FAIL, NOT_APPLIED, PASS, Finding
from health.measured import Figures, add_up


@dataclass(frozen=True, slots=True)
class _Failing:
    """A span in which too much failed, and what proves it."""

    since: datetime
    errors: int
    requests: int
    told: str


def error_rate(evidence: Evidence, traffic: Traffic) -> Finding:
    """Judge one source's counts."""
    failing = _proven(evidence, traffic) or _as_it_closed(evidence, traffic)
    if failing:
        return _failed(evidence, traffic, failing)
    rules, whole = evidence.rules, traffic.whole
    if whole.requests < rules.min_requests:
        because = f"{whole.requests} requests were seen; {rules.min_requests} are needed for a rate."
        return Finding("error_rate", NOT_APPLIED, because, traffic.source, samples=whole.requests)
    worst = _worst(evidence, traffic)
    rate = worst.errors / worst.requests
    outcome, more = (PASS, "") if rate < rules.max_error_rate else (DEGRADED, "")
    if outcome == DEGRADED and _as_before(evidence, traffic, worst.errors, worst.requests):
        outcome, more = AS_BEFORE, f" It is no worse than before ({_name(traffic)})."
    elif rate > rules.rollback_error_rate:
        more = f" That is above {rules.rollback_error_rate:.0%}, but not yet proven."
    return _finding(traffic, outcome, worst.errors, worst.requests, more, rules.max_error_rate)


def is_proven_good(evidence: Evidence, traffic: Traffic) -> bool:
    """Whether a pass may stand on these counts: enough of them, and the upper bound of their rate tolerated."""
    rules, whole = evidence.rules, traffic.whole
    enough = whole.requests >= rules.min_requests
    return enough and sequential.is_below(whole.errors, whole.requests, rules.tolerated, rules.pass_confidence)


def _proven(evidence: Evidence, traffic: Traffic) -> _Failing | None:
    """The sequential test: asked at every look, and never wrong more often for it."""
    rules = evidence.rules
    restart = max(1, round(rules.recent_seconds / rules.blip_seconds))
    proof = sequential.proof(traffic.stretches, rules.tolerated, rules.rollback_error_rate, restart)
    if not proof.reaches(rules.alpha / 2):
        return None
    since = evidence.opened_at + timedelta(seconds=proof.since * rules.blip_seconds)
    odds = math.exp(min(proof.log_evidence, 20.0))
    told = (
        f" That more than {rules.tolerated:.2g} of them fail is proven ({odds:.0f} to 1, {2 / rules.alpha:.0f} asked)."
    )
    return _Failing(since, proof.errors, proof.requests, told)


def _as_it_closed(evidence: Evidence, traffic: Traffic) -> _Failing | None:
    """The exact test: one look, at what was measured until the window was to close.

    The whole window is held against the success rate, its end against the line between: the end has fewer requests,
    and a version that is only degraded must not fail by a bad draw of them.
    """
    rules = evidence.rules
    lines = (rules.max_error_rate, rules.tolerated)
    for (since, figures), line in zip(traffic.closing, lines, strict=False):
        errors, requests = figures.errors, figures.requests
        if errors <= rules.rollback_error_rate * requests:
            continue
        if sequential.tail(errors, requests, line) <= rules.alpha / 2 / len(lines):
            return _Failing(since, errors, requests, f" Where {line:.2g} fail, that hardly ever happens.")
    return None


def _failed(evidence: Evidence, traffic: Traffic, failing: _Failing) -> Finding:
    rules, outcome, more = evidence.rules, FAIL, failing.told
    old = add_up(sample for sample in traffic.still_on_from if sample.at >= failing.since)
    if old.requests >= rules.hard_stop_requests and old.errors > rules.rollback_error_rate * old.requests:
        outcome = COMMON_CAUSE
        more += f" So did {old.errors} of {old.requests} on the hosts still on the old version."
    elif _as_before(evidence, traffic, failing.errors, failing.requests):
        outcome, more = AS_BEFORE, f" It is no worse than before ({_name(traffic)})."
    return _finding(traffic, outcome, failing.errors, failing.requests, more, rules.rollback_error_rate)


def _worst(evidence: Evidence, traffic: Traffic) -> Figures:
    """The whole window, or its end where that is worse than chance makes it."""
    rules, (whole, recent) = evidence.rules, traffic.spans[:2]
    if recent.requests < rules.min_requests or recent.errors * whole.requests <= whole.errors * recent.requests:
        return whole
    chance = sequential.tail(recent.errors, recent.requests, rules.max_error_rate)
    return recent if chance <= 1 - rules.pass_confidence else whole


def _as_before(evidence: Evidence, traffic: Traffic, errors: int, requests: int) -> bool:
    """Say whether so many errors are still likely at the baseline's rate (binomial)."""
    if traffic.compared is None:
        return False
    before = traffic.compared.figures
    rate = before.errors / before.requests
    expected = requests * rate
    return errors <= expected + evidence.rules.noise_sigmas * math.sqrt(expected * (1 - rate))


def _finding(traffic: Traffic, outcome: str, errors: int, requests: int, more: str, threshold: float) -> Finding:
    rate = errors / requests
    because = f"{errors} of {requests} requests failed ({rate:.2%}).{more}"
    before = traffic.compared
    return Finding(
        "error_rate", outcome, because, traffic.source, rate, threshold, requests,
        before.name if before else None, before.figures.error_rate if before else None,
    )  # fmt: skip


def _name(traffic: Traffic) -> str:
    return traffic.compared.name if traffic.compared else ""
