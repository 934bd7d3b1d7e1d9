"""JUnit XML: the common ground of surefire, pytest, jest-junit, mocha, go-junit-report and Google Test. Pure.

A case counts by its children: error, failure, skipped; none of them is passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from releases.reports import xml_events
from releases.reports.summaries import Cases, ReportInvalid, lies

SUITES = ("testsuites", "testsuite")
ENDS = ("failure", "error", "skipped")
BAD_WORDS = frozenset({"fail", "failed", "failure", "error", "broken"})
NOT_RUN = frozenset({"notrun", "disabled", "skipped", "ignored", "pending"})
"""Values of `status` and `result` that some tools write instead of a child."""


@dataclass
class _Counts:
    cases: int = 0
    failure: int = 0
    error: int = 0
    skipped: int = 0

    def add(self, other: _Counts) -> None:
        self.cases += other.cases
        self.failure += other.failure
        self.error += other.error
        self.skipped += other.skipped


@dataclass
class _Suite:
    stated: dict[str, int]
    own: _Counts = field(default_factory=_Counts)
    within: _Counts = field(default_factory=_Counts)


class _Junit:
    def __init__(self) -> None:
        self.open: list[_Suite] = []
        self.case: set[str] | None = None
        self.total = self.passed = self.failed = self.errors = self.skipped = 0

    def start(self, path: list[str], attributes: Mapping[str, str]) -> None:
        name = path[-1]
        if len(path) == 1 and name not in SUITES:
            raise ReportInvalid(f"the report begins with <{name[:40]}>, not with <testsuites> or <testsuite>")
        if name in SUITES:
            if self.case is not None:
                raise ReportInvalid("the report has a suite within a test case")
            self.open.append(_Suite(_stated(attributes)))
        elif name == "testcase":
            if self.case is not None or path[-2] not in SUITES:
                raise ReportInvalid("the report has a test case that stands in no suite")
            self.case = _said(attributes)
        elif name in ENDS:
            if self.case is None or path[-2] != "testcase":
                raise ReportInvalid(f"the report has a <{name}> outside of a test case: a part of the run broke down")
            self.case.add(name)

    def end(self, path: list[str]) -> None:
        if path[-1] == "testcase" and self.case is not None:
            self._count(self.case)
            self.case = None
        elif path[-1] in SUITES:
            suite = self.open.pop()
            suite.within.add(suite.own)
            _compare(suite)
            if self.open:
                self.open[-1].within.add(suite.within)

    def _count(self, case: set[str]) -> None:
        if "said:bad" in case and not case & {"failure", "error"}:
            raise ReportInvalid(
                "a test case says that it failed, and holds no <failure>: send the file as it was written"
            )
        own = self.open[-1].own
        own.cases += 1
        own.failure += "failure" in case
        own.error += "error" in case
        own.skipped += "skipped" in case
        self.total += 1
        if "error" in case:
            self.errors += 1
        elif "failure" in case:
            self.failed += 1
        elif "skipped" in case:
            self.skipped += 1
        else:
            self.passed += 1


def _said(attributes: Mapping[str, str]) -> set[str]:
    words = {attributes.get("status", "").lower(), attributes.get("result", "").lower()}
    if words & BAD_WORDS:
        return {"said:bad"}
    return {"skipped"} if words & NOT_RUN else set()


def _stated(attributes: Mapping[str, str]) -> dict[str, int]:
    names = ("tests", "failures", "errors", "skipped", "disabled")
    found = {name: xml_events.whole(attributes, name) for name in names}
    return {name: count for name, count in found.items() if count is not None}


def _compare(suite: _Suite) -> None:
    """What a suite states holds for its own cases or for all within it: both are usual."""
    if not any(_fits(suite.stated, counts) for counts in (suite.within, suite.own)):
        counts = suite.within
        told = f"{counts.cases} tests, {counts.failure} failures, {counts.error} errors, {counts.skipped} skipped"
        raise lies("a suite", ", ".join(f"{count} {name}" for name, count in suite.stated.items()), told)


def _fits(stated: Mapping[str, int], counts: _Counts) -> bool:
    tests = stated.get("tests", counts.cases)
    # pytest writes a second case for a test that fails and then breaks down in its teardown, and states it once.
    if not counts.cases - counts.error <= tests <= counts.cases:
        return False
    skipped = stated.get("skipped", counts.skipped)
    return (
        stated.get("failures", counts.failure) == counts.failure
        and stated.get("errors", counts.error) == counts.error
        and counts.skipped in (skipped, skipped + stated.get("disabled", 0))
    )


def parse(octets: bytes) -> Cases:
    """Count the cases. Raises ReportInvalid."""
    found = _Junit()
    xml_events.read(octets, found)
    return Cases(found.total, found.passed, found.failed, found.errors, found.skipped)
