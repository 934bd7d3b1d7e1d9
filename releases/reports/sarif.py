"""SARIF 2.1, as CodeQL, Semgrep, Trivy and others write it. Pure.

A result's severity is the `security-severity` of its rule (GitHub's bounds), or else its level. What a tool marks as
suppressed counts all the same: letting a finding pass is a waiver's business, which has an owner and an end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from releases.reports import json_text
from releases.reports.json_text import mapping, objects
from releases.reports.summaries import ReportInvalid, Vulnerabilities

BY_LEVEL = {"error": "high", "warning": "moderate", "note": "low", "none": "low"}
NO_FINDING = frozenset({"pass", "notApplicable", "informational"})
FINDING = frozenset({"fail", "open", "review"})
BOUNDS = ((9.0, "critical"), (7.0, "high"), (4.0, "moderate"), (0.0, "low"))
Rules = list[list[dict[str, Any]]]


def parse(octets: bytes) -> Vulnerabilities:
    """Count the findings of all runs. Raises ReportInvalid."""
    report = json_text.read(octets)
    version = report.get("version")
    if not isinstance(version, str) or not version.startswith("2.1"):
        raise ReportInvalid(f"the report is SARIF {str(version)[:20]}: write it as SARIF 2.1.0")
    runs = objects(report.get("runs"), "runs")
    if not runs:
        raise ReportInvalid("the report has no run: nothing was scanned")
    found: Counter[str] = Counter()
    for number, run in enumerate(runs):
        _run(run, f"runs[{number}]", found)
    return Vulnerabilities(dict(found))


def _run(run: Mapping[str, Any], where: str, found: Counter[str]) -> None:
    tool = mapping(run.get("tool"), f"{where}.tool")
    parts = [mapping(tool.get("driver"), f"{where}.tool.driver"), *objects(tool.get("extensions", []), "extensions")]
    rules = [objects(part.get("rules", []), f"{where} rules") for part in parts]
    by_id = {rule["id"]: rule for part in rules for rule in part if isinstance(rule.get("id"), str)}
    for invocation in objects(run.get("invocations", []), f"{where}.invocations"):
        if invocation.get("executionSuccessful") is False:
            raise ReportInvalid(f"{where} says that the scan broke down: mend it, and send its report")
    if run.get("results") is None:
        raise ReportInvalid(f"{where} has no results, so it scanned nothing; a clean scan has an empty list")
    for number, result in enumerate(objects(run["results"], f"{where}.results")):
        severity = _severity(result, rules, by_id, f"{where}.results[{number}]")
        if severity:
            found[severity] += 1


def _severity(result: Mapping[str, Any], rules: Rules, by_id: Mapping[str, dict[str, Any]], where: str) -> str:
    """The severity of a result; "" for one that is no finding."""
    kind, level = result.get("kind", "fail"), result.get("level")
    if level is not None and level not in BY_LEVEL:
        raise ReportInvalid(f"{where} has the level {str(level)[:20]}, which SARIF does not know")
    if kind in NO_FINDING:
        if level not in (None, "none"):
            raise ReportInvalid(f"{where} is a {kind} with the level {level}: one of them is wrong")
        return ""
    if kind not in FINDING:
        raise ReportInvalid(f"{where} has the kind {str(kind)[:20]}, which SARIF does not know")
    if result.get("baselineState") == "absent":
        return ""
    rule = _rule(result, rules, by_id, where)
    scores = [_score(holder, where) for holder in (rule, result)]
    known = [score for score in scores if score is not None]
    if known:
        return next(name for bound, name in BOUNDS if max(known) >= bound)
    default = mapping(rule.get("defaultConfiguration", {}), f"{where} rule").get("level")
    return BY_LEVEL.get(level or default or "warning", "unknown")


def _rule(
    result: Mapping[str, Any], rules: Rules, by_id: Mapping[str, dict[str, Any]], where: str
) -> Mapping[str, Any]:
    """The rule of a result, by its index in the tool or an extension, or by its id; {} where it is not described."""
    named = mapping(result.get("rule", {}), f"{where}.rule")
    name = result.get("ruleId", named.get("id"))
    index = result.get("ruleIndex", named.get("index", -1))
    part = mapping(named.get("toolComponent", {}), f"{where}.rule.toolComponent").get("index", -1)
    if type(index) is not int or type(part) is not int or not (name is None or isinstance(name, str)):
        raise ReportInvalid(f"{where} names its rule by something that is no id and no index")
    if index >= 0:
        if not part + 1 < len(rules) or index >= len(rules[part + 1]):
            raise ReportInvalid(f"{where} points to the rule number {index}, which is not there")
        rule = rules[part + 1][index]
        if name is not None and name != rule.get("id") and not name.startswith(f"{rule.get('id')}/"):
            raise ReportInvalid(f"{where} is of the rule {name[:80]}, but points to {str(rule.get('id'))[:80]}")
        return rule
    return by_id.get(name, {}) if name is not None else {}


def _score(holder: Mapping[str, Any], where: str) -> float | None:
    value = mapping(holder.get("properties", {}), f"{where} properties").get("security-severity")
    if value is None:
        return None
    try:
        score = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):
        score = -1.0
    if not 0.0 <= score <= 10.0:
        raise ReportInvalid(f"{where} has the security-severity {str(value)[:20]}, which is no number from 0 to 10")
    return score
