"""Reports of tools about a version: bytes in, counts out. The table of all formats. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from releases.reports import cobertura, coverage_py, json_text, junit, npm_audit, pip_audit, sarif
from releases.reports.statements import JSON_KINDS
from releases.reports.summaries import ReportInvalid, Summary

LARGEST = 20 * 2**20
"""Bytes of one report."""
JSON = "json"
"""The format of reviews, policy rules and CRV validators, and of what is no file of a tool."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: of which kind of evidence it is, how it is read, and marks that only its files have."""

    kind: str
    parse: Callable[[bytes], Summary]
    marks: tuple[bytes, ...] = ()


FORMATS: dict[str, Format] = {
    "junit": Format("tests", junit.parse, (b"<testsuite",)),
    "cobertura": Format("coverage", cobertura.parse, (b"<coverage",)),
    "coverage-py": Format("coverage", coverage_py.parse, (b'"executed_lines"', b'"totals"')),
    "sarif": Format("vulnerabilities", sarif.parse, (b'"runs"', b'"tool"')),
    "npm-audit": Format("vulnerabilities", npm_audit.parse, (b'"metadata"', b'"vulnerabilities"')),
    "pip-audit": Format("vulnerabilities", pip_audit.parse, (b'"dependencies"', b'"vulns"')),
}
KINDS = (*dict.fromkeys(one.kind for one in FORMATS.values()), *JSON_KINDS)
"""Kinds of evidence that come as files."""


def formats_of(kind: str) -> tuple[str, ...]:
    """The formats in which reports of a kind are read."""
    return (JSON,) if kind in JSON_KINDS else tuple(name for name, one in FORMATS.items() if one.kind == kind)


def read(kind: str, name: str, octets: bytes) -> tuple[str, Summary]:
    """Read a report; (its format, its summary). Without a name the format is guessed. Raises ReportInvalid."""
    known = formats_of(kind)
    if not known:
        raise ReportInvalid(f"files are taken as evidence of {', '.join(KINDS)}, not of {kind[:40]}")
    if len(octets) > LARGEST:
        raise ReportInvalid(f"the report has {len(octets)} bytes; at most {LARGEST} are read")
    if not octets.strip():
        raise ReportInvalid("the report is empty")
    name = name or guess(kind, octets)
    if name not in known:
        raise ReportInvalid(f"the format {name[:40]} is none of {kind}: it is {' or '.join(known)}")
    return name, JSON_KINDS[kind](json_text.read(octets)) if name == JSON else FORMATS[name].parse(octets)


def guess(kind: str, octets: bytes) -> str:
    """The one format of a kind whose marks are in the file. Raises ReportInvalid where it is not one."""
    known = formats_of(kind)
    if len(known) == 1:
        return known[0]
    fits = [name for name in known if all(mark in octets for mark in FORMATS[name].marks)]
    if len(fits) != 1:
        raise ReportInvalid(f"it is not clear what this file is: say its format, {' or '.join(known)}")
    return fits[0]
