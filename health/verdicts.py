"""From samples to a verdict: pass, fail, inconclusive with a cause, or still open; then what follows. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from health import rules as judged
from health.baseline import Baseline
from health.checks import Check, evaluate
from health.error_rate import is_proven_good
from health.evidence import Evidence, gather, is_traffic
from health.finding import AS_BEFORE, COMMON_CAUSE, DEGRADED, DISAGREE, FAIL, NOT_APPLIED, NOT_MEASURED, Finding
from health.measured import ABSENT, COUNTS, DOWN, FIRST, STALE, Figures, Sample, probes_of
from health.sequential import upper_bound
from health.thresholds import Rules

__all__ = ["Baseline", "Check", "Decision", "Policy", "Rules", "Sample", "Verdict", "judge", "policy_for"]

CAUSES = ("no_data", "low_traffic", "source_down", "stale", "common_cause", "degraded", "sources_disagree")
AT_ONCE = ("common_cause", "sources_disagree")
"""Causes that something failed in front of: people are told before the window closes."""
HOLD, CONTINUE, ROLLBACK = "hold", "continue", "rollback"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`result` is pass, fail, inconclusive or open. `cause` says why an inconclusive one is; `rule` which one decided.

    `basis` is what a pass stands on: traffic or probe. `record` is JSON that a person can read.
    """

    result: str
    cause: str
    rule: str
    basis: str
    sentence: str
    degraded: bool
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Policy:
    """What follows from an inconclusive verdict: an action per cause (hold if not named), and the end of a hold."""

    actions: Mapping[str, str] = field(default_factory=dict)
    max_hold: timedelta = timedelta(minutes=30)
    after_max_hold: str = ROLLBACK


@dataclass(frozen=True, slots=True)
class Decision:
    """`action` is hold (until `until`), continue or rollback."""

    action: str
    until: datetime | None
    sentence: str


def judge(
    rules: Rules,
    samples: Sequence[Sample],
    baseline: Baseline,
    *,
    opened_at: datetime,
    closes_at: datetime | None,
    now: datetime,
    endpoints: Collection[str] = (),
    checks: Sequence[Check] = (),
) -> Verdict:
    """Judge the samples of the endpoints that run the new content. A failure counts at once, a pass only at the close.

    `endpoints` names those that must have been measured; `closes_at=now` asks for a verdict on what there is.
    """
    evidence = gather(rules, samples, baseline, opened_at, now, closes_at)
    rows = (*judged.findings(evidence), *evaluate(checks, evidence.counted, now, rules.stale_seconds))
    findings = judged.with_common_cause(evidence, rows)
    result, cause, rule, basis, sentence = _answer(evidence, findings, frozenset(endpoints))
    degraded = any(finding.outcome == DEGRADED for finding in findings)
    if result != "fail" and cause not in AT_ONCE and (closes_at is None or now < closes_at):
        sentence = f"The window is still open. If it closed now: {sentence}"
        result, cause, rule, basis = "open", "", "", ""
    record = _record(evidence, findings, opened_at, closes_at)
    record |= {"result": result, "cause": cause, "rule": rule, "basis": basis, "sentence": sentence}
    return Verdict(result, cause, rule, basis, sentence, degraded, record)


def policy_for(cause: str, policy: Policy, now: datetime, held_since: datetime) -> Decision:
    """Say what follows from an inconclusive verdict that has been so since `held_since`."""
    action = policy.actions.get(cause, HOLD)
    ends = held_since + policy.max_hold
    if action != HOLD:
        return Decision(action, None, f"By policy, {cause} means {action}.")
    if now < ends:
        return Decision(HOLD, ends, f"Held because of {cause} until {ends:%H:%M:%S} UTC, then {policy.after_max_hold}.")
    minutes = policy.max_hold.total_seconds() / 60
    return Decision(
        policy.after_max_hold, None, f"Held because of {cause} for the longest time allowed ({minutes:.0f} minutes)."
    )


def _answer(
    evidence: Evidence, findings: tuple[Finding, ...], endpoints: frozenset[str]
) -> tuple[str, str, str, str, str]:
    """Answer (result, cause, rule, basis, sentence) as if the window closed now."""
    speaking = (
        (FAIL, "fail", ""),
        (COMMON_CAUSE, "inconclusive", "common_cause"),
        (DISAGREE, "inconclusive", "sources_disagree"),
    )
    for outcome, result, cause in speaking:
        for finding in findings:
            if finding.outcome == outcome:
                return result, cause, finding.rule, "", finding.because
    unknown = _not_measured(evidence, endpoints)
    if unknown:
        return "inconclusive", unknown[0], "", "", unknown[1]
    for finding in findings:
        if finding.outcome == NOT_MEASURED:
            return "inconclusive", finding.cause, finding.rule, "", finding.because
    for finding in findings:
        if finding.outcome == DEGRADED:
            return "inconclusive", "degraded", finding.rule, "", finding.because
    return _proven(evidence, findings, endpoints)


def _proven(
    evidence: Evidence, findings: tuple[Finding, ...], endpoints: frozenset[str]
) -> tuple[str, str, str, str, str]:
    """Nothing speaks against it: is there enough that speaks for it?"""
    whole, probes, rules = evidence.main.whole, evidence.probes, evidence.rules
    timed = any(finding.rule == "p95" and finding.outcome != NOT_APPLIED for finding in findings)
    if whole.requests >= rules.min_requests:
        if not timed:
            return "inconclusive", "no_data", "p95", "", "Nothing tells how long the answers took."
        as_before = [finding.rule for finding in findings if finding.outcome == AS_BEFORE]
        before = " (no worse than before)" if as_before else ""
        if "error_rate" not in as_before and not is_proven_good(evidence, evidence.main):
            return "inconclusive", "low_traffic", "error_rate", "", _too_few(evidence)
        told = f"{whole.errors} of {whole.requests} requests failed and every rule passed{before}."
        return "pass", "", "", "traffic", told
    if timed and _probes_suffice(evidence, endpoints):
        told = f"The service is quiet ({whole.requests} requests); {probes.probes} probes, none failed."
        return "pass", "", "", "probe", told
    told = (
        f"{whole.requests} of {rules.min_requests} requests and {probes.probes} of {rules.min_probes} probes were "
        f"seen; {whole.errors} and {probes.probe_failures} of them failed."
    )
    return "inconclusive", "low_traffic", "", "", told


def _too_few(evidence: Evidence) -> str:
    whole, rules = evidence.main.whole, evidence.rules
    bound = upper_bound(whole.errors, whole.requests, rules.pass_confidence)
    return (
        f"{whole.errors} of {whole.requests} requests failed: too few to be {rules.pass_confidence:.0%} sure that less "
        f"than {rules.tolerated:.2%} fail; it may be {bound:.2%}."
    )


def _probes_suffice(evidence: Evidence, endpoints: frozenset[str]) -> bool:
    probes, rules = evidence.probes, evidence.rules
    asked = probes_of(evidence.samples)
    everyone = endpoints | {s.endpoint for s in evidence.samples if s.endpoint}
    seen = [traffic.whole for traffic in evidence.traffic]
    quiet = all(whole.errors == 0 or whole.errors < rules.max_error_rate * whole.requests for whole in seen)
    return probes.probes >= rules.min_probes and probes.probe_failures == 0 and everyone <= set(asked) and quiet


def _not_measured(evidence: Evidence, endpoints: frozenset[str]) -> tuple[str, str] | None:
    """Answer (cause, sentence) when something that should have been measured was not."""
    sources: dict[tuple[str, bool, str], list[Sample]] = {}
    for sample in evidence.samples:
        if sample.source == "probe" or is_traffic(sample):
            sources.setdefault((sample.endpoint, sample.source != "probe", sample.source), []).append(sample)
    seen = {name for name, _, _ in sources}
    unseen = sorted(endpoints - seen)
    if unseen or not seen:
        return "no_data", f"Nothing was measured on {', '.join(unseen) or 'any host'}."
    for (name, _, _), samples in sorted(sources.items()):
        cause = _gap(evidence, name or "all hosts", samples)
        if cause:
            return cause
    return None


def _gap(evidence: Evidence, name: str, samples: Sequence[Sample]) -> tuple[str, str] | None:
    """Look whether the newest measurement of one source of one host is fresh, and if not, why."""
    source, newest = samples[-1].source, samples[-1].kind
    measured = [s.at for s in samples if s.kind == COUNTS and (s.source != "probe" or s.healthy is not None)]
    limit = timedelta(seconds=evidence.rules.stale_seconds)
    if measured and evidence.now - measured[-1] <= limit:
        return None
    if newest == DOWN or (not measured and newest == COUNTS):
        return "source_down", f"The {source} of {name} does not answer."
    if newest == ABSENT:
        return "no_data", f"The {source} of {name} answers, but without the declared metric."
    if newest == FIRST:
        return "no_data", f"The {source} of {name} was read only once, so nothing can be counted yet."
    if newest == STALE and not measured:
        return "stale", f"The {source} of {name} has only ever answered with something old."
    age = (evidence.now - measured[-1]).total_seconds()
    return "stale", f"The newest {source} measurement of {name} is {age:.0f} s old."


def _record(
    evidence: Evidence, findings: tuple[Finding, ...], opened_at: datetime, closes_at: datetime | None
) -> dict[str, Any]:
    before = evidence.main.compared
    return {
        "at": evidence.now.isoformat(),
        "opened_at": opened_at.isoformat(),
        "closes_at": closes_at.isoformat() if closes_at else None,
        "rules": [finding.as_record() for finding in findings],
        "figures": _figures(evidence.main.whole, evidence.probes),
        "sources": {one.source: _figures(one.whole, one.whole) for one in evidence.traffic if one.samples},
        "baseline": {"name": before.name, **_figures(before.figures, before.figures)} if before else None,
    }


def _figures(traffic: Figures, probes: Figures) -> dict[str, Any]:
    p95 = traffic.p95
    return {
        "requests": traffic.requests,
        "errors": traffic.errors,
        "error_rate": traffic.error_rate,
        "p95": p95 if p95 is not None and p95 != float("inf") else None,
        "probes": probes.probes,
        "probe_failures": probes.probe_failures,
        "probe_p95": probes.probe_p95,
    }
