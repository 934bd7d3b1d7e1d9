"""The rules by which a version is judged: each reads the evidence and answers one finding. Pure."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from health.error_rate import error_rate
from health.evidence import Evidence, Traffic
from health.finding import AS_BEFORE, COMMON_CAUSE, DEGRADED, DISAGREE, FAIL, NOT_APPLIED, PASS, Finding
from health.measured import Figures, Sample, between, probes_of, unhealthy_for, worst_tail
from health.thresholds import Rules

__all__ = ["Finding", "Rules", "findings", "with_common_cause"]


def findings(evidence: Evidence) -> list[Finding]:
    """What every rule answers: each source of traffic by itself, so that the worst of them applies."""
    sources = evidence.traffic
    return [
        *(hard_stop_errors(evidence, traffic) for traffic in sources),
        hard_stop_probes(evidence),
        unhealthy(evidence),
        *_agreed([error_rate(evidence, traffic) for traffic in sources]),
        *(latency(evidence, traffic) for traffic in sources),
        *_p95s(evidence),
        probe_failures(evidence),
    ]


def with_common_cause(evidence: Evidence, found: Sequence[Finding]) -> tuple[Finding, ...]:
    """Where every host that is still on the old version is down, what fails tells of what both versions need.

    There is nobody to go back to then. One failed probe of each is enough: the next look knows more.
    """
    fresh = between(
        evidence.still_on_from, evidence.now - timedelta(seconds=evidence.rules.stale_seconds), evidence.now
    )
    hosts = probes_of(fresh)
    if not hosts or any(probes[-1].healthy for probes in hosts.values()):
        return tuple(found)
    told = f" The newest probe of every host still on the old version ({', '.join(hosts)}) failed as well."
    return tuple(
        replace(one, outcome=COMMON_CAUSE, because=one.because + told) if one.outcome == FAIL else one for one in found
    )


def _agreed(rates: list[Finding]) -> list[Finding]:
    """Of two sources with enough requests one must be wrong when one fails and the other passes: which is not known."""
    well = next((one for one in rates if one.outcome in (PASS, AS_BEFORE)), None)
    if well is None:
        return rates
    told = f" {well.source} says otherwise: {well.because}"
    return [
        replace(one, outcome=DISAGREE, because=f"{one.source}: {one.because}{told}") if one.outcome == FAIL else one
        for one in rates
    ]


def hard_stop_errors(evidence: Evidence, traffic: Traffic) -> Finding:
    """At once: at least half of at least ten recent requests fail."""
    rules = evidence.rules
    errors, requests = _worst(evidence, traffic.samples)
    if not requests:
        because = f"Fewer than {rules.hard_stop_requests} requests were seen."
        return Finding("hard_stop_errors", NOT_APPLIED, because, traffic.source)
    share = errors / requests
    outcome, because = PASS, f"At worst {errors} of the newest {requests} requests failed."
    if share >= rules.hard_stop_share:
        outcome, because = FAIL, f"{errors} of the newest {requests} requests failed."
        old_errors, old_requests = _worst(evidence, traffic.still_on_from)
        if old_requests and old_errors / old_requests >= rules.hard_stop_share:
            outcome = COMMON_CAUSE
            because += f" So did {old_errors} of {old_requests} on the hosts still on the old version."
    return Finding("hard_stop_errors", outcome, because, traffic.source, share, rules.hard_stop_share, requests)


def hard_stop_probes(evidence: Evidence) -> Finding:
    """At once: every host's newest probes failed, twice in a row."""
    failing, asked = _all_failing(evidence)
    times = evidence.rules.hard_stop_probes
    if not asked:
        return Finding("hard_stop_probes", NOT_APPLIED, "No recent probe was made.")
    if not failing:
        return Finding("hard_stop_probes", PASS, "Not all probes failed.", "probe", 0, times, asked)
    because = f"The probes of all {asked} hosts failed {times} times in a row."
    return Finding("hard_stop_probes", FAIL, because, "probe", times, times, asked)


def unhealthy(evidence: Evidence) -> Finding:
    """A host that stays unhealthy for five minutes fails; one that is unhealthy now is degraded."""
    name, longest, failing = _sickest(evidence.counted)
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
    return Finding("unhealthy", outcome, because, "probe", longest, limit, evidence.probes.probes)


def latency(evidence: Evidence, traffic: Traffic) -> Finding:
    """A p95 more than half above the baseline's, and by at least 50 ms, fails."""
    rules = evidence.rules
    slowest = _slowest(evidence, traffic)
    before = traffic.compared
    if slowest is None or before is None or before.figures.timed < rules.min_requests:
        because = "There are not enough timed requests on both sides to compare."
        return Finding("latency", NOT_APPLIED, because, traffic.source)
    p95, old = slowest.p95 or 0.0, before.figures.p95 or 0.0
    worse = not math.isinf(old) and p95 > old * (1 + rules.latency_ratio) and p95 - old >= rules.latency_floor
    because = f"The p95 is {_seconds(p95)}; that of {before.name} is {_seconds(old)}."
    threshold = None if math.isinf(old) else max(old * (1 + rules.latency_ratio), old + rules.latency_floor)
    return _against(
        traffic, Finding("latency", FAIL if worse else PASS, because, traffic.source, p95, threshold, slowest.timed)
    )


def p95(evidence: Evidence, traffic: Traffic) -> Finding | None:
    """A p95 below 500 ms passes, else it is degraded; None where the source timed too few."""
    rules, before = evidence.rules, traffic.compared
    slowest = _slowest(evidence, traffic)
    if slowest is None:
        return None
    value = slowest.p95 or 0.0
    outcome, because = PASS, f"The p95 of {slowest.timed} requests is {_seconds(value)}."
    if value >= rules.max_p95:
        outcome = DEGRADED
        old = before.figures.p95 if before and before.figures.timed >= rules.min_requests else None
        if old is not None and value <= old * (1 + rules.noise_latency):
            outcome, because = AS_BEFORE, because + f" It is no worse than before ({_seconds(old)})."
    finding = Finding("p95", outcome, because, traffic.source, value, rules.max_p95, slowest.timed)
    return _against(traffic, finding)


def _p95s(evidence: Evidence) -> list[Finding]:
    """Each source that timed enough; without one the probes' own times are read."""
    timed = (p95(evidence, traffic) for traffic in evidence.traffic)
    return [finding for finding in timed if finding is not None] or [_probe_p95(evidence)]


def probe_failures(evidence: Evidence) -> Finding:
    """More failed probes than the rollback rate are degraded, even if every host answers now."""
    rules, whole = evidence.rules, evidence.probes
    if whole.probes < rules.min_probes:
        because = f"{whole.probes} probes were made; {rules.min_probes} are needed for a rate."
        return Finding("probe_failures", NOT_APPLIED, because, "probe", samples=whole.probes)
    share = whole.probe_failures / whole.probes
    outcome = DEGRADED if share > rules.rollback_error_rate else PASS
    because = f"{whole.probe_failures} of {whole.probes} probes failed."
    return Finding("probe_failures", outcome, because, "probe", share, rules.rollback_error_rate, whole.probes)


def _worst(evidence: Evidence, samples: Sequence[Sample]) -> tuple[int, int]:
    recent = between(samples, evidence.now - timedelta(seconds=evidence.rules.recent_seconds), evidence.now)
    return worst_tail(recent, evidence.rules.hard_stop_requests)


def _all_failing(evidence: Evidence) -> tuple[bool, int]:
    """Say whether all hosts' newest probes failed, one of them at least often enough; and how many hosts were asked."""
    rules = evidence.rules
    fresh = between(evidence.counted, evidence.now - timedelta(seconds=rules.stale_seconds), evidence.now)
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


def _slowest(evidence: Evidence, traffic: Traffic) -> Figures | None:
    timed = [figures for figures in traffic.spans if figures.timed >= evidence.rules.min_requests]
    return max(timed, key=lambda figures: (figures.p95 or 0.0, figures.timed), default=None)


def _probe_p95(evidence: Evidence) -> Finding:
    rules, probes = evidence.rules, evidence.probes
    value, samples = probes.probe_p95, len(probes.probe_seconds)
    if value is None or samples < rules.min_probes:
        because = f"Too few answers were timed: {evidence.main.whole.timed} requests, {samples} probes."
        return Finding("p95", NOT_APPLIED, because)
    outcome = PASS if value < rules.max_p95 else DEGRADED
    because = f"The p95 of {samples} probes is {_seconds(value)}; requests were not timed."
    return Finding("p95", outcome, because, "probe", value, rules.max_p95, samples)


def _against(traffic: Traffic, finding: Finding) -> Finding:
    """Beside the baseline's p95."""
    before = traffic.compared
    if before is None:
        return finding
    return replace(finding, baseline=before.name, baseline_value=before.figures.p95)


def _seconds(value: float) -> str:
    return "above the largest bucket" if math.isinf(value) else f"{value * 1000:.0f} ms"
