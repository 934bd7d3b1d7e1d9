"""The JSON report of coverage.py (`coverage json`), format 2 and 3. Pure."""

from __future__ import annotations

from typing import Any

from releases.reports import json_text
from releases.reports.json_text import mapping, whole
from releases.reports.summaries import Coverage, ReportInvalid, lies


def parse(octets: bytes) -> Coverage:
    """Count executed and missing lines of all files. Raises ReportInvalid."""
    report = json_text.read(octets)
    if "files" not in report or "totals" not in report:
        raise ReportInvalid("the report has no files and totals, as `coverage json` writes them")
    covered = valid = 0
    for name, entry in mapping(report["files"], "files").items():
        run, missing = _lines(mapping(entry, f"files.{name[:80]}"), name[:80])
        covered, valid = covered + run, valid + run + missing
    _compare(mapping(report["totals"], "totals"), covered, valid, "the totals")
    return Coverage(covered, valid)


def _lines(entry: dict[str, Any], name: str) -> tuple[int, int]:
    executed, missing = (_numbers(entry.get(key), f"{key} of {name}") for key in ("executed_lines", "missing_lines"))
    if executed & missing:
        raise ReportInvalid(f"{name} has lines that were both executed and missed")
    _compare(mapping(entry.get("summary"), f"summary of {name}"), len(executed), len(executed | missing), name)
    return len(executed), len(missing)


def _numbers(value: object, where: str) -> set[int]:
    if not isinstance(value, list) or not all(type(number) is int and number >= 0 for number in value):
        raise ReportInvalid(f"{where} must be a list of line numbers")
    found = set(value)
    if len(found) != len(value):
        raise ReportInvalid(f"{where} names a line twice")
    return found


def _compare(stated: dict[str, Any], covered: int, valid: int, where: str) -> None:
    for name, counted in (("covered_lines", covered), ("num_statements", valid)):
        if whole(stated.get(name), f"{name} of {where}") != counted:
            raise lies(f"{name} of {where}", stated[name], counted)
