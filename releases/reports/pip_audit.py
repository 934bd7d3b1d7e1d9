"""`pip-audit --format json`. Pure.

It names no severities. What is known to be vulnerable counts as high, unless the report gives a severity: for the
vulnerability or for one of its aliases, as a word.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from releases.reports import json_text
from releases.reports.json_text import line, objects
from releases.reports.summaries import ReportInvalid, Vulnerabilities

WORDS = {"critical": "critical", "high": "high", "moderate": "moderate", "medium": "moderate", "low": "low"}
ORDER = ("critical", "high", "moderate", "low")


def parse(octets: bytes) -> Vulnerabilities:
    """Count the vulnerabilities of all dependencies. Raises ReportInvalid."""
    report = json_text.read_any(octets)
    if not isinstance(report, dict) or "dependencies" not in report:
        raise ReportInvalid("the report has no dependencies, as `pip-audit --format json` writes them")
    found: Counter[str] = Counter()
    unaudited = 0
    dependencies = objects(report["dependencies"], "dependencies")
    for dependency in dependencies:
        name = line(dependency.get("name"), "the name of a dependency")
        if "skip_reason" in dependency and "vulns" not in dependency:
            unaudited += 1
            continue
        for vulnerability in objects(dependency.get("vulns"), f"vulns of {name}"):
            line(vulnerability.get("id"), f"the id of a vulnerability of {name}")
            found[_severity(vulnerability)] += 1
    if len(dependencies) == unaudited:
        raise ReportInvalid("the report has no dependency that was audited: name the requirements or the environment")
    return Vulnerabilities(dict(found), unaudited)


def _severity(vulnerability: dict[str, Any]) -> str:
    aliases = vulnerability.get("aliases", [])
    holders = [vulnerability, *(one for one in aliases if isinstance(one, dict))] if isinstance(aliases, list) else []
    words = [WORDS.get(str(one.get("severity", "")).lower()) for one in holders]
    return next((severity for severity in ORDER if severity in words), "high")
