"""Reports of real tools are judged rightly, and malformed or hostile ones are refused with a sentence, in bounded
memory."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from releases.reports import read, statements
from releases.reports.summaries import Cases, Coverage, ReportInvalid, Vulnerabilities
from tests.releases.hostile import HERE, HOSTILE, MB, sarif

REAL = [
    ("tests", "pytest.xml", "junit", Cases(5, 4, 0, 0, 1)),
    ("tests", "pytest-failed.xml", "junit", Cases(4, 0, 2, 2, 0)),
    ("tests", "node-test.xml", "junit", Cases(4, 3, 0, 0, 1)),
    ("tests", "ruff-junit.xml", "junit", Cases(2, 0, 2, 0, 0)),
    ("tests", "jest-junit.xml", "junit", Cases(3, 1, 1, 0, 1)),
    ("coverage", "coverage-py.xml", "cobertura", Coverage(20, 21)),
    ("coverage", "coverage-py.json", "coverage-py", Coverage(20, 21)),
    ("coverage", "istanbul-cobertura.xml", "cobertura", Coverage(3, 4)),
    ("vulnerabilities", "ruff.sarif", "sarif", Vulnerabilities({"high": 2})),
    ("vulnerabilities", "codeql.sarif", "sarif", Vulnerabilities({"high": 1, "moderate": 1, "low": 1})),
    ("vulnerabilities", "npm-audit.json", "npm-audit", Vulnerabilities({"critical": 2, "low": 1})),
    ("vulnerabilities", "npm-audit-6.json", "npm-audit", Vulnerabilities({"high": 1, "low": 1})),
    ("vulnerabilities", "pip-audit.json", "pip-audit", Vulnerabilities({"high": 1}, 1)),
]


@pytest.mark.parametrize(("kind", "file", "name", "summary"), REAL, ids=[row[1] for row in REAL])
def test_a_real_report_is_recognised_and_counted_from_its_items(kind, file, name, summary):
    found, counted = read(kind, "", (HERE / file).read_bytes())
    assert found == name
    assert counted.as_json() == summary.as_json()


def test_every_fixture_is_read_and_has_its_origin_told():
    there = {path.name for path in HERE.iterdir()} - {"README.md"}
    assert there == {row[1] for row in REAL}
    told = (HERE / "README.md").read_text()
    assert all(f"`{name}`" in told for name in there)


def test_utf_16_is_read_as_it_is_declared():
    text = '<?xml version="1.0" encoding="utf-16"?><testsuite tests="1"><testcase name="größer"/></testsuite>'
    assert read("tests", "junit", text.encode("utf-16"))[1] == Cases(1, 1, 0, 0, 0)


def test_a_severity_that_pip_audit_does_not_give_is_taken_from_an_alias_and_is_high_otherwise():
    def audited(**more: Any) -> dict[str, Any]:
        vulnerability = {"id": "PYSEC-1", "fix_versions": [], **more}
        report = {"dependencies": [{"name": "a", "version": "1", "vulns": [vulnerability]}]}
        return read("vulnerabilities", "pip-audit", json.dumps(report).encode())[1].as_json()

    assert audited(aliases=["CVE-1"])["high"] == 1
    assert audited(aliases=[{"id": "GHSA-1", "severity": "MEDIUM"}])["moderate"] == 1
    assert audited(severity="low", aliases=[{"id": "GHSA-1", "severity": "critical"}])["critical"] == 1
    assert audited(severity="harmless")["high"] == 1


@pytest.mark.parametrize(
    ("score", "severity"), [("9.0", "critical"), ("8.9", "high"), (7, "high"), ("4.0", "moderate"), ("0.1", "low")]
)
def test_a_security_severity_counts_before_the_level(score, severity):
    rule = {"id": "a", "properties": {"security-severity": score}}
    report = sarif([{"ruleId": "a", "level": "note", "message": {"text": "x"}}], [rule])
    assert read("vulnerabilities", "sarif", report)[1].as_json()[severity] == 1


def test_what_a_tool_suppresses_counts_and_what_is_no_finding_does_not():
    results = [
        {"level": "error", "suppressions": [{"kind": "inSource"}]},
        {"kind": "pass"},
        {"kind": "informational", "level": "none"},
        {"level": "error", "baselineState": "absent"},
    ]
    assert read("vulnerabilities", "sarif", sarif(results))[1] == Vulnerabilities({"high": 1})


@pytest.mark.parametrize(("kind", "name", "octets", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_report_is_refused_with_a_sentence(kind, name, octets, said):
    with pytest.raises(ReportInvalid, match=said) as refusal:
        read(kind, name, octets)
    assert len(str(refusal.value)) < 400


def test_there_are_as_many_hostile_reports_as_were_promised():
    assert len(HOSTILE) >= 60


def peak(run: Callable[[], object]) -> int:
    """The most bytes that Python held during it, beside what was there before."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_xml_is_read_in_the_same_memory_however_long_it_is():
    def report(cases: int) -> bytes:
        case = '<testcase name="a"><system-out>' + "x" * 1000 + "</system-out></testcase>"
        return f'<testsuite tests="{cases}">{case * cases}</testsuite>'.encode()

    short, long = report(100), report(4000)
    assert peak(lambda: read("tests", "junit", long)) < peak(lambda: read("tests", "junit", short)) + MB / 2


ATTACKS = ["junit: entity bomb", "junit: huge tag", "coverage-py: JSON nesting", "coverage-py: too many objects",
           "coverage-py: unending string"]  # fmt: skip


@pytest.mark.parametrize("case", ATTACKS)
def test_what_is_refused_is_never_built_in_memory(case):
    kind, name, octets, _ = HOSTILE[case]

    def refused() -> None:
        with pytest.raises(ReportInvalid):
            read(kind, name, octets)

    assert peak(refused) < len(octets) * 3 + 2 * MB


WRONG_STATEMENTS: list[tuple[str, Any, str]] = [
    ("review", {"reviewer": "bo", "approved": "yes", "commit": "a1"}, "true or false"),
    ("review", {"reviewer": " ", "approved": True, "commit": "a1"}, "reviewer must be text"),
    ("review", {"approved": True, "commit": "a1"}, "reviewer must be text"),
    ("review", {"reviewer": "bo", "approved": True, "commit": "a1", "x": 1}, "a field x"),
    ("review", {"reviewer": "bo\nalice", "approved": True, "commit": "a1"}, "one line"),
    ("review", {"reviewer": "bo\ud800", "approved": True, "commit": "a1"}, "control characters"),
    ("review", {"reviewer": "\u202eob", "approved": True, "commit": "a1"}, "control characters"),
    ("policy", {"rules": []}, "1 to 10000"),
    ("policy", {"rules": [{"name": "a", "passed": True}, {"name": "a", "passed": True}]}, "names a twice"),
    ("policy", {"rules": [{"name": "a"}]}, "true or false"),
    ("policy", [], "must be an object"),
    ("crv", {"validators": [{"name": "a", "valid": True, "confidence": 3}]}, "from 0 to 1"),
    ("crv", {"validators": [{"name": "a", "valid": 1}]}, "true or false"),
    ("documentation_updated", {"note": "done"}, "a sentence"),
    ("documentation_updated", {}, "note must be text"),
    ("on_call_named", {"note": "somebody is on call"}, "person must be text"),
]


@pytest.mark.parametrize(("kind", "report", "said"), WRONG_STATEMENTS)
def test_a_statement_of_another_shape_is_refused(kind, report, said):
    with pytest.raises(ReportInvalid, match=said):
        statements.judged(kind, report)


def test_what_a_refusal_quotes_is_plain_text():
    odd = json.dumps({"files": {"\ud800\x1b[31m\n": 1}, "totals": {}}).encode()
    with pytest.raises(ReportInvalid) as refusal:
        read("coverage", "coverage-py", odd)
    assert str(refusal.value) == "files.??[31m? must be an object"


def test_statements_are_summed_up():
    crv = statements.crv(
        {"validators": [{"name": "a", "valid": True, "confidence": 0.9}, {"name": "b", "valid": False}]}
    )
    assert (crv.percent, crv.as_json()) == (50.0, {"total": 2, "failed": 1, "names": ["b"]})
    on_call = statements.attestation("on_call_named", {"person": "Bo"})
    assert on_call.as_json() == {"note": "Bo is on call.", "person": "Bo"}
    assert statements.judged("tests", {"anything": 1}) is None
