"""The rules by which a version is judged: each reads the evidence and answers one finding. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from health.baseline import Baseline, Compared
from health.measured import Figures, Sample, add_up, between, probes_of, unhealthy_for, worst_tail

PASS, FAIL, DEGRADED = "pass", "fail", "degraded"
AS_BEFORE, COMMON_CAUSE, NOT_APPLIED = "no worse than before", "common cause", "not applied"


@dataclass(frozen=True, slots=True)
class Rules:
    """Every threshold. The first eight come from the deployment guide, the rest say how much evidence they need.

    max_error_rate, max_p95: success is an error rate below the one and a p95 (seconds) below the other.
    rollback_error_rate, latency_ratio, latency_floor: failed above this rate, or at a p95 that is more than this
    share and at least this many seconds above the baseline's. unhealthy_seconds: failed when a host is unhealthy so
    long. hard_stop_share, hard_stop_requests, hard_stop_probes: failed at once when this share of so many requests
    fails, or all hosts' probes fail so many times in a row. min_requests: rates of fewer say nothing. min_probes:
    so many probes without a failure may pass a quiet service alone. recent_seconds: rates are also judged over this
    newest stretch, so that a long good time does not hide a bad end. stale_seconds: older measurements count as none.
    noise_sigmas, noise_latency: within these of the baseline is no worse than before.
    """

    max_error_rate: float = 0.01
    max_p95: float = 0.5
    rollback_error_rate: float = 0.05
    latency_ratio: float = 0.5
    latency_floor: float = 0.05
    unhealthy_seconds: float = 300
    hard_stop_share: float = 0.5
    hard_stop_requests: int = 10
    hard_stop_probes: int = 2
    min_requests: int = 100
    min_probes: int = 30
    recent_seconds: float = 300
    stale_seconds: float = 90
    noise_sigmas: float = 2
    noise_latency: float = 0.1


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's answer. Times are seconds; `value` is None where nothing could be measured."""

    rule: str
    outcome: str
    because: str
    source: str = ""
    value: float | None = None
    threshold: float | None = None
    samples: int = 0
    baseline: str | None = None
    baseline_value: float | None = None

    def as_record(self) -> dict[str, Any]:
        """Answer it for JSON, which knows no infinity: `above` then says so."""
        endless = self.value is not None and math.isinf(self.value)
        return {
            "rule": self.rule, "outcome": self.outcome, "because": self.because, "source": self.source,
            "value": None if endless else self.value, "above_largest_bucket": endless, "threshold": self.threshold,
            "samples": self.samples, "baseline": self.baseline,
            "baseline_value": self.baseline_value if self.baseline_value not in (None, math.inf) else None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evidence:
    """The samples of one window as the rules read them: whole, and its newest stretch."""

    rules: Rules
    samples: tuple[Sample, ...]
    still_on_from: tuple[Sample, ...]
    spans: tuple[Figures, ...]
    compared: Compared | None
    now: datetime

    @property
    def whole(self) -> Figures:
        return self.spans[0]


def gather(rules: Rules, samples: Sequence[Sample], baseline: Baseline, opened_at: datetime, now: datetime) -> Evidence:
    """Sort samples into the window; what was measured before it opened or after `now` does not count."""
    inside = between(samples, opened_at, now)
    still = between(baseline.still_on_from, opened_at, now)
    recent = between(inside, now - timedelta(seconds=rules.recent_seconds), now)
    compared = Baseline(still, baseline.before_start).compared(rules.min_requests)
    return Evidence(rules, inside, still, (add_up(inside), add_up(recent)), compared, now)


def hard_stop_errors(evidence: Evidence) -> Finding:
    """At once: at least half of at least ten recent requests fail."""
    rules = evidence.rules
    errors, requests = _worst(evidence, evidence.samples)
    if not requests:
        return Finding("hard_stop_errors", NOT_APPLIED, f"Fewer than {rules.hard_stop_requests} requests were seen.")
    share = errors / requests
    outcome, because = PASS, f"At worst {errors} of the newest {requests} requests failed."
    if share >= rules.hard_stop_share:
        outcome, because = FAIL, f"{errors} of the newest {requests} requests failed."
        old_errors, old_requests = _worst(evidence, evidence.still_on_from)
        if old_requests and old_errors / old_requests >= rules.hard_stop_share:
            outcome = COMMON_CAUSE
            because += f" So did {old_errors} of {old_requests} on the hosts still on the old version."
    return Finding("hard_stop_errors", outcome, because, "requests", share, rules.hard_stop_share, requests)


def hard_stop_probes(evidence: Evidence) -> Finding:
    """At once: every host's newest probes failed, twice in a row."""
    failing, asked = _all_failing(evidence, evidence.samples)
    times = evidence.rules.hard_stop_probes
    if not asked:
        return Finding("hard_stop_probes", NOT_APPLIED, "No recent probe was made.")
    if not failing:
        return Finding("hard_stop_probes", PASS, "Not all probes failed.", "probe", 0, times, asked)
    outcome, because = FAIL, f"The probes of all {asked} hosts failed {times} times in a row."
    if _all_failing(evidence, evidence.still_on_from)[0]:
        outcome, because = COMMON_CAUSE, because + " So did those of all hosts still on the old version."
    return Finding("hard_stop_probes", outcome, because, "probe", times, times, asked)


def unhealthy(evidence: Evidence) -> Finding:
    """A host that stays unhealthy for five minutes fails; one that is unhealthy now is degraded."""
    name, longest, failing = _sickest(evidence.samples)
    limit = evidence.rules.unhealthy_seconds
    if name is None:
        return Finding("unhealthy", NOT_APPLIED, "No probe was made.")
    if longest >= limit:
        outcome, because = FAIL, f"{name} has been unhealthy for {longest:.0f} s."
        old, old_longest, _ = _sickest(evidence.still_on_from)
        if old_longest >= limit:
            outcome, because = COMMON_CAUSE, f"{because} So has {old}, still on the old version."
    elif failing:
        outcome, because = DEGRADED, f"{name} is unhealthy, so far for {longest:.0f} s."
    else:
        outcome, because = PASS, "Every host answered its newest probe."
    return Finding("unhealthy", outcome, because, "probe", longest, limit, evidence.whole.probes)


def error_rate(evidence: Evidence) -> Finding:
    """Below 1 % passes, above 5 % fails, in between is degraded; the worse of the whole window and its end counts."""
    rules = evidence.rules
    enough = [figures for figures in evidence.spans if figures.requests >= rules.min_requests]
    if not enough:
        because = f"{evidence.whole.requests} requests were seen; {rules.min_requests} are needed for a rate."
        return Finding("error_rate", NOT_APPLIED, because, "requests", samples=evidence.whole.requests)
    worst = max(enough, key=lambda figures: (figures.errors / figures.requests, figures.requests))
    rate = worst.errors / worst.requests
    because = f"{worst.errors} of {worst.requests} requests failed ({rate:.2%})."
    threshold = rules.rollback_error_rate if rate > rules.rollback_error_rate else rules.max_error_rate
    outcome, more = _rate_outcome(evidence, worst, rate)
    return _against(
        evidence, Finding("error_rate", outcome, because + more, "requests", rate, threshold, worst.requests),
        lambda figures: figures.error_rate,
    )  # fmt: skip


def latency(evidence: Evidence) -> Finding:
    """A p95 more than half above the baseline's, and by at least 50 ms, fails."""
    rules = evidence.rules
    slowest = _slowest(evidence)
    before = evidence.compared
    if slowest is None or before is None or before.figures.timed < rules.min_requests:
        because = "There are not enough timed requests on both sides to compare."
        return Finding("latency", NOT_APPLIED, because, "requests")
    p95, old = slowest.p95 or 0.0, before.figures.p95 or 0.0
    worse = not math.isinf(old) and p95 > old * (1 + rules.latency_ratio) and p95 - old >= rules.latency_floor
    because = f"The p95 is {_seconds(p95)}; on {before.name} it is {_seconds(old)}."
    threshold = None if math.isinf(old) else max(old * (1 + rules.latency_ratio), old + rules.latency_floor)
    return _against(
        evidence,
        Finding("latency", FAIL if worse else PASS, because, "requests", p95, threshold, slowest.timed),
        lambda figures: figures.p95,
    )


def p95(evidence: Evidence) -> Finding:
    """A p95 below 500 ms passes, else it is degraded; without a histogram the probes' own times are read."""
    rules, before = evidence.rules, evidence.compared
    slowest = _slowest(evidence)
    if slowest is None:
        return _probe_p95(evidence)
    value = slowest.p95 or 0.0
    outcome, because = PASS, f"The p95 of {slowest.timed} requests is {_seconds(value)}."
    if value >= rules.max_p95:
        outcome = DEGRADED
        old = before.figures.p95 if before and before.figures.timed >= rules.min_requests else None
        if old is not None and value <= old * (1 + rules.noise_latency):
            outcome, because = AS_BEFORE, because + f" It is no worse than before ({_seconds(old)})."
    finding = Finding("p95", outcome, because, "requests", value, rules.max_p95, slowest.timed)
    return _against(evidence, finding, lambda figures: figures.p95)


def probe_failures(evidence: Evidence) -> Finding:
    """More failed probes than the rollback rate are degraded, even if every host answers now."""
    rules, whole = evidence.rules, evidence.whole
    if whole.probes < rules.min_probes:
        because = f"{whole.probes} probes were made; {rules.min_probes} are needed for a rate."
        return Finding("probe_failures", NOT_APPLIED, because, "probe", samples=whole.probes)
    share = whole.probe_failures / whole.probes
    outcome = DEGRADED if share > rules.rollback_error_rate else PASS
    because = f"{whole.probe_failures} of {whole.probes} probes failed."
    return Finding("probe_failures", outcome, because, "probe", share, rules.rollback_error_rate, whole.probes)


ALL: tuple[Callable[[Evidence], Finding], ...] = (
    hard_stop_errors, hard_stop_probes, unhealthy, error_rate, latency, p95, probe_failures,
)  # fmt: skip


def _worst(evidence: Evidence, samples: Sequence[Sample]) -> tuple[int, int]:
    recent = between(samples, evidence.now - timedelta(seconds=evidence.rules.recent_seconds), evidence.now)
    return worst_tail(recent, evidence.rules.hard_stop_requests)


def _all_failing(evidence: Evidence, samples: Sequence[Sample]) -> tuple[bool, int]:
    """Say whether all hosts' newest probes failed, one of them at least often enough; and how many hosts were asked."""
    rules = evidence.rules
    fresh = between(samples, evidence.now - timedelta(seconds=rules.stale_seconds), evidence.now)
    newest = [probes[-rules.hard_stop_probes :] for probes in probes_of(fresh).values()]
    down = all(not probe.healthy for probes in newest for probe in probes)
    often = any(len(probes) >= rules.hard_stop_probes for probes in newest)
    return bool(newest) and down and often, len(newest)


def _sickest(samples: Sequence[Sample]) -> tuple[str | None, float, bool]:
    """Answer the host whose probes fail longest, for how many seconds, and whether it fails at all."""
    hosts = [
        (unhealthy_for(probes).total_seconds(), not probes[-1].healthy, name)
        for name, probes in probes_of(samples).items()
    ]
    if not hosts:
        return None, 0.0, False
    seconds, failing, name = max(hosts)
    return name, seconds, failing


def _rate_outcome(evidence: Evidence, figures: Figures, rate: float) -> tuple[str, str]:
    rules = evidence.rules
    if rate < rules.max_error_rate:
        return PASS, ""
    failed = rate > rules.rollback_error_rate
    old = add_up(evidence.still_on_from)
    if failed and old.requests >= rules.hard_stop_requests and old.errors > rules.rollback_error_rate * old.requests:
        told = f" So did {old.errors} of {old.requests} on the hosts still on the old version."
        return COMMON_CAUSE, told
    if evidence.compared and _within_noise(figures, evidence.compared.figures, rules.noise_sigmas):
        return AS_BEFORE, f" It is no worse than before, on {evidence.compared.name}."
    return (FAIL, "") if failed else (DEGRADED, "")


def _within_noise(figures: Figures, before: Figures, sigmas: float) -> bool:
    """Say whether so many errors are still likely at the baseline's rate (binomial)."""
    rate = before.errors / before.requests
    expected = figures.requests * rate
    return figures.errors <= expected + sigmas * math.sqrt(expected * (1 - rate))


def _slowest(evidence: Evidence) -> Figures | None:
    timed = [figures for figures in evidence.spans if figures.timed >= evidence.rules.min_requests]
    return max(timed, key=lambda figures: (figures.p95 or 0.0, figures.timed), default=None)


def _probe_p95(evidence: Evidence) -> Finding:
    rules, whole = evidence.rules, evidence.whole
    value, samples = whole.probe_p95, len(whole.probe_seconds)
    if value is None or samples < rules.min_probes:
        because = f"Too few answers were timed: {whole.timed} requests, {samples} probes."
        return Finding("p95", NOT_APPLIED, because)
    outcome = PASS if value < rules.max_p95 else DEGRADED
    because = f"The p95 of {samples} probes is {_seconds(value)}; requests were not timed."
    return Finding("p95", outcome, because, "probe", value, rules.max_p95, samples)


def _against(evidence: Evidence, finding: Finding, value: Callable[[Figures], float | None]) -> Finding:
    if evidence.compared is None:
        return finding
    return Finding(
        finding.rule, finding.outcome, finding.because, finding.source, finding.value, finding.threshold,
        finding.samples, evidence.compared.name, value(evidence.compared.figures),
    )  # fmt: skip


def _seconds(value: float) -> str:
    return "above the largest bucket" if math.isinf(value) else f"{value * 1000:.0f} ms"
