"""Reports that are malformed, lie, or attack their reader: for each its bytes and words of the refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from releases.reports import LARGEST

HERE = Path(__file__).with_name("fixtures")
MB = 2**20
Row = tuple[bytes, str]


def sarif(results: Any, rules: Any = ()) -> bytes:
    run = {"tool": {"driver": {"name": "x", "rules": list(rules)}}, "results": results}
    return json.dumps({"version": "2.1.0", "runs": [run]}).encode()


def changed(file: str, *replaced: tuple[str, str]) -> bytes:
    """A fixture with some words replaced; each of them must be there."""
    text = (HERE / file).read_text()
    for before, after in replaced:
        assert before in text, before
        text = text.replace(before, after, 1)
    return text.encode()


def coverage_json(**entry: Any) -> bytes:
    given = {"executed_lines": [1, 2], "missing_lines": [3], "summary": {"covered_lines": 2, "num_statements": 3}}
    totals = {"covered_lines": 2, "num_statements": 3}
    return json.dumps({"files": {"a.py": {**given, **entry}}, "totals": totals}).encode()


def pip(*dependencies: Any) -> bytes:
    return json.dumps({"dependencies": list(dependencies)}).encode()


ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
BOMB = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">{ENTITIES}]><testsuite><testcase name="&e9;"/></testsuite>'
SUITE = '<testsuite tests="{}"{}><testcase name="a"/><testcase name="b">{}</testcase></testsuite>'
ITSELF = '<!DOCTYPE x SYSTEM "file:///etc/passwd">'

JUNIT: dict[str, Row] = {
    "entity bomb": (BOMB.encode(), "document type of its own"),
    "quadratic entity": (
        f'<!DOCTYPE x [<!ENTITY a "{"a" * 50000}">]><testsuite>{"&a;" * 50000}</testsuite>'.encode(),
        "document type of its own",
    ),
    "external entity": (
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><testsuite>&a;</testsuite>',
        "document type of its own",
    ),
    "default attribute": (b'<!DOCTYPE x [<!ATTLIST testcase a CDATA "b">]><testsuite/>', "document type of its own"),
    "entity of a foreign DTD": (f"{ITSELF}<testsuite>&secret;</testsuite>".encode(), "entities"),
    "undeclared entity": (b"<testsuite>&a;</testsuite>", "undefined entity"),
    "nesting": (b"<testsuite>" * 1_000_000, "nested deeper than 100"),
    "too many elements": (b"<testsuite>" + b"<a/>" * 1_000_001, "more than 1000000 elements"),
    "too many names": (b"<testsuite>" + b"".join(b"<a%d/>" % n for n in range(2000)), "names of elements"),
    "huge tag": (b"<testsuite " + b"".join(b'a%d="" ' % n for n in range(400_000)), "tag or comment"),
    "huge attribute": (b'<testsuite name="' + b"x" * 4 * MB + b'"/>', "tag or comment"),
    "huge comment": (b"<testsuite><!--" + b"x" * 4 * MB + b"--></testsuite>", "tag or comment"),
    "latin-1": (
        '<?xml version="1.0" encoding="iso-8859-1"?><testsuite name="ü"/>'.encode("latin-1"),
        "iso-8859-1: write it as UTF-8",
    ),
    "utf-7": (b'<?xml version="1.0" encoding="utf-7"?><testsuite/>', "utf-7"),
    "wrong encoding": (b'<?xml version="1.0" encoding="utf-16"?><testsuite/>', "not whole XML"),
    "latin-1 undeclared": ('<testsuite name="ü"/>'.encode("latin-1"), "not whole XML"),
    "cut off": ((HERE / "pytest.xml").read_bytes()[:-40], "not whole XML"),
    "two roots": (b"<testsuite/><testsuite/>", "not whole XML"),
    "attribute twice": (b'<testsuite tests="1" tests="0"/>', "not whole XML"),
    "null bytes": (b"<testsuite>\x00</testsuite>", "not whole XML"),
    "JSON as XML": (b"{}", "not whole XML"),
    "binary": (bytes(range(256)) * 10, "not whole XML"),
    "a form's wrapping": (b"--x\r\nContent-Disposition: form-data\r\n\r\n<testsuite/>", "not whole XML"),
    "empty": (b" \n", "empty"),
    "too large": (b" " * (LARGEST + 1), "at most"),
    "another root": (b'<coverage line-rate="1"/>', "begins with <coverage>"),
    "more tests stated": (SUITE.format(3, "", "").encode(), "lies about totals"),
    "fewer tests stated": (SUITE.format(1, "", "").encode(), "lies about totals"),
    "failures denied": (SUITE.format(2, ' failures="0"', "<failure/>").encode(), "lies about totals"),
    "failures invented": (SUITE.format(2, ' failures="1"', "").encode(), "lies about totals"),
    "errors denied": (SUITE.format(2, ' errors="0"', "<error/>").encode(), "lies about totals"),
    "skipped denied": (SUITE.format(2, ' skipped="0"', "<skipped/>").encode(), "lies about totals"),
    "root lies": (changed("jest-junit.xml", ('tests="3" failures="1"', 'tests="3" failures="0"')), "lies about totals"),
    "a suite without its cases": (
        b'<testsuites><testsuite tests="900" failures="0"/></testsuites>',
        "lies about totals",
    ),
    "negative": (SUITE.format(-2, "", "").encode(), "no whole number"),
    "words for numbers": (SUITE.format("many", "", "").encode(), "no whole number"),
    "foreign digits": (SUITE.format("٢", "", "").encode(), "no whole number"),
    "endless number": (SUITE.format("9" * 5000, "", "").encode(), "no whole number"),
    "failed without failure": (b'<testsuite><testcase name="a" status="failed"/></testsuite>', "holds no <failure>"),
    "failure outside": (b'<testsuite><failure/><testcase name="a"/></testsuite>', "outside of a test case"),
    "failure hidden deeper": (
        b"<testsuite><testcase><x><failure/></x></testcase></testsuite>",
        "outside of a test case",
    ),
    "case in a case": (b"<testsuite><testcase><testcase/></testcase></testsuite>", "stands in no suite"),
    "case in nothing": (b"<testsuite><x><testcase/></x></testsuite>", "stands in no suite"),
    "suite in a case": (b"<testsuite><testcase><testsuite/></testcase></testsuite>", "suite within a test case"),
}
COBERTURA: dict[str, Row] = {
    "parameter entity": (
        b'<!DOCTYPE x [<!ENTITY % a SYSTEM "http://127.0.0.1/x.dtd"> %a;]><coverage line-rate="1"/>',
        "document type of its own",
    ),
    "covered lines invented": (
        changed("coverage-py.xml", ('lines-covered="20"', 'lines-covered="21"')),
        "lies about totals",
    ),
    "lines left out": (changed("coverage-py.xml", ('<line number="1" hits="1"/>', "")), "lies about totals"),
    "rate invented": (
        b'<coverage line-rate="0.99"><class><lines><line hits="0"/><line hits="1"/></lines></class></coverage>',
        "lies about totals",
    ),
    "rate above one": (b'<coverage line-rate="80"/>', "no number from 0 to 1"),
    "rate that is none": (b'<coverage line-rate="nan"/>', "no number from 0 to 1"),
    "no rate": (b"<coverage/>", "line-rate"),
    "line without hits": (b'<coverage line-rate="1"><class><lines><line/></lines></class></coverage>', "without hits"),
    "negative hits": (
        b'<coverage line-rate="1"><class><lines><line hits="-1"/></lines></class></coverage>',
        "no whole number",
    ),
}
COVERAGE_PY: dict[str, Row] = {
    "JSON nesting": (b'{"a":' * 3_000_000, "nested deeper than 64"),
    "JSON closing early": (b"]" * 500_000 + b"[" * 500_000, "more than 400000 objects"),
    "too many objects": (b"[" + b"{}," * 420_000, "more than 400000 objects"),
    "too many numbers": (b"[" + b"1," * 2_100_000, "more than 2000000 values"),
    "unending string": (b'{"a":"' + b'\\"' * 2_000_000, "not whole JSON"),
    "quotes and backslashes": (b'\\"' * 2_000_000, "not whole JSON"),
    "big number": (b'{"files":' + b"9" * 100_000 + b"}", "too many digits"),
    "not a number": (b'{"files": NaN}', "NaN is no JSON number"),
    "a key twice": (b'{"files": {}, "files": {}}', "twice"),
    "JSON in UTF-16": ("{}".encode("utf-16"), "not UTF-8"),
    "JSON in latin-1": ('{"ü": 1}'.encode("latin-1"), "not UTF-8"),
    "a list": (b"[]", "must be a JSON object"),
    "totals invented": (
        changed("coverage-py.json", ('"covered_lines": 20', '"covered_lines": 21')),
        "lies about totals",
    ),
    "executed twice": (coverage_json(executed_lines=[1, 1]), "names a line twice"),
    "executed and missed": (coverage_json(missing_lines=[2]), "both executed and missed"),
    "lines as text": (coverage_json(executed_lines=["1", "2"]), "list of line numbers"),
    "true as a line": (coverage_json(executed_lines=[True, 2]), "list of line numbers"),
    "summary missing": (coverage_json(summary=None), "must be an object"),
    "no totals": (b'{"files": {}}', "no files and totals"),
}
SARIF: dict[str, Row] = {
    "older SARIF": (b'{"version": "1.0.0", "runs": []}', "SARIF 2.1.0"),
    "no runs": (b'{"version": "2.1.0", "runs": []}', "nothing was scanned"),
    "no results": (sarif(None), "scanned nothing"),
    "broken scan": (
        changed("codeql.sarif", ('"executionSuccessful": true', '"executionSuccessful": false')),
        "broke down",
    ),
    "a finding that passes": (sarif([{"kind": "pass", "level": "error"}]), "one of them is wrong"),
    "unknown level": (sarif([{"level": "fine"}]), "does not know"),
    "unknown kind": (sarif([{"kind": "ignored"}]), "does not know"),
    "rule out of reach": (sarif([{"ruleIndex": 5}]), "is not there"),
    "another rule's index": (sarif([{"ruleId": "a", "ruleIndex": 0}], [{"id": "b"}]), "points to b"),
    "severity below zero": (sarif([{"properties": {"security-severity": "-1"}}]), "from 0 to 10"),
    "severity that is none": (sarif([{"properties": {"security-severity": "nan"}}]), "from 0 to 10"),
}
NPM_AUDIT: dict[str, Row] = {
    "totals denied": (changed("npm-audit.json", ('"critical": 2', '"critical": 0')), "lies about totals"),
    "sum wrong": (changed("npm-audit.json", ('"total": 3}', '"total": 0}')), "lies about totals"),
    "items removed": (
        b'{"auditReportVersion": 2, "vulnerabilities": {}, "metadata": {"vulnerabilities": {"high": 3}}}',
        "lies about totals",
    ),
    "severity lowered": (
        changed("npm-audit.json", ('"minimist", "severity": "critical"', '"minimist", "severity": "low"')),
        "an advisory that is worse",
    ),
    "npm 6 totals denied": (changed("npm-audit-6.json", ('"high": 2', '"high": 0')), "lies about totals"),
    "npm error": (b'{"error": {"code": "ENOAUDIT"}}', "ended with an error"),
    "no metadata": (b'{"auditReportVersion": 2, "vulnerabilities": {}}', "metadata"),
    "version 3": (b'{"auditReportVersion": 3}', "none of `npm audit --json`"),
    "invented severity": (
        changed("npm-audit.json", ('"debug", "severity": "low"', '"debug", "severity": "fine"')),
        "one of info",
    ),
}
PIP_AUDIT: dict[str, Row] = {
    "nothing audited": (pip(), "no dependency that was audited"),
    "everything skipped": (pip({"name": "a", "skip_reason": "no"}), "no dependency that was audited"),
    "vulns missing": (pip({"name": "a", "version": "1"}), "vulns of a"),
    "vulns no list": (pip({"name": "a", "vulns": 0}), "vulns of a"),
    "nameless": (pip({"vulns": []}), "the name of a dependency"),
    "another report": (sarif([]), "no dependencies"),
}
OTHERS: dict[str, tuple[str, str, bytes, str]] = {
    "a format of another kind": ("tests", "cobertura", b"<coverage/>", "is none of tests"),
    "an unknown format": ("tests", "trx", b"<TestRun/>", "is none of tests"),
    "an unknown kind": ("horoscope", "", b"{}", "not of horoscope"),
    "unclear": ("vulnerabilities", "", b"{}", "say its format"),
    "two formats in one": (
        "vulnerabilities",
        "",
        b'{"runs": 1, "tool": 1, "dependencies": 1, "vulns": 1}',
        "say its format",
    ),
}
BY_FORMAT = (
    ("tests", "junit", JUNIT),
    ("coverage", "cobertura", COBERTURA),
    ("coverage", "coverage-py", COVERAGE_PY),
    ("vulnerabilities", "sarif", SARIF),
    ("vulnerabilities", "npm-audit", NPM_AUDIT),
    ("vulnerabilities", "pip-audit", PIP_AUDIT),
)
HOSTILE: dict[str, tuple[str, str, bytes, str]] = OTHERS | {
    f"{name}: {case}": (kind, name, *row) for kind, name, rows in BY_FORMAT for case, row in rows.items()
}
"""Kind, format, bytes, and words of the refusal."""
