"""`npm audit --json`: report version 2 (npm 7 and newer) and the older one of npm 6. Pure.

Version 2 counts vulnerable packages, npm 6 advisories; the totals of npm 6 count the paths to them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from releases.reports import json_text
from releases.reports.json_text import mapping, objects, whole
from releases.reports.summaries import ReportInvalid, Vulnerabilities, lies

RANKS = ("info", "low", "moderate", "high", "critical")


def parse(octets: bytes) -> Vulnerabilities:
    """Count by severity; `info` counts as low. Raises ReportInvalid."""
    report = json_text.read(octets)
    if "error" in report:
        raise ReportInvalid("npm audit ended with an error and looked at nothing: run it again")
    if report.get("auditReportVersion") == 2:
        found = paths = _packages(mapping(report.get("vulnerabilities"), "vulnerabilities"))
    elif "auditReportVersion" not in report and "advisories" in report:
        found, paths = _advisories(mapping(report["advisories"], "advisories"))
    else:
        raise ReportInvalid("the report is none of `npm audit --json`: auditReportVersion 2, or advisories of npm 6")
    stated = mapping(mapping(report.get("metadata"), "metadata").get("vulnerabilities"), "metadata.vulnerabilities")
    _compare(stated, found, paths)
    return Vulnerabilities({**found, "low": found["low"] + found["info"]})


def _packages(packages: Mapping[str, Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, entry in packages.items():
        package = mapping(entry, f"vulnerabilities.{name[:80]}")
        severity = _rank(package.get("severity"), name)
        via = package.get("via")
        if not isinstance(via, list):
            raise ReportInvalid(f"via of {name[:80]} must be a list")
        worst = [_rank(one.get("severity"), name) for one in via if isinstance(one, dict)]
        if any(RANKS.index(one) > RANKS.index(severity) for one in worst):
            raise ReportInvalid(f"{name[:80]} states the severity {severity}, and has an advisory that is worse")
        found[severity] += 1
    return found


def _advisories(advisories: Mapping[str, Any]) -> tuple[Counter[str], Counter[str]]:
    found: Counter[str] = Counter()
    paths: Counter[str] = Counter()
    for number, entry in advisories.items():
        advisory = mapping(entry, f"advisories.{number[:80]}")
        severity = _rank(advisory.get("severity"), number)
        found[severity] += 1
        for finding in objects(advisory.get("findings", []), "findings"):
            ways = finding.get("paths", [])
            paths[severity] += len(ways) if isinstance(ways, list) else 0
    return found, paths


def _rank(value: object, where: str) -> str:
    if not isinstance(value, str) or value not in RANKS:
        raise ReportInvalid(f"{where[:80]} has the severity {str(value)[:20]}: one of {', '.join(RANKS)} was expected")
    return value


def _compare(stated: Mapping[str, Any], found: Counter[str], paths: Counter[str]) -> None:
    told = {name: whole(stated.get(name, 0), f"metadata.vulnerabilities.{name}") for name in RANKS}
    for counted in (found, paths):
        if all(told[name] == counted[name] for name in RANKS):
            total = whole(stated.get("total", counted.total()), "metadata.vulnerabilities.total")
            if total != counted.total():
                raise lies("the vulnerabilities", total, counted.total())
            return
    raise lies("the vulnerabilities", told, {name: found[name] for name in RANKS})
