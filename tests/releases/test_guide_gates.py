"""The preset `guide`: each gate by its number, the newest evidence of these bytes, and waivers that end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from releases.bumps import Bump, Change
from releases.facts import Numbers, Piece, SourceFacts, Waived
from releases.gates import GATES, NEVER_WAIVED, check, reasons_against

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HERE, BEFORE = "a" * 64, "b" * 64


def piece(kind: str, summary: dict[str, Any], *, subject: str = "", digest: str = HERE, number: int = 1) -> Piece:
    return Piece(number, kind, subject, digest, summary, "cid")


def cases(passed: int = 5, failed: int = 0, errors: int = 0, skipped: int = 0, **more: Any) -> Piece:
    counts = {"passed": passed, "failed": failed, "errors": errors, "skipped": skipped}
    return piece("tests", {"total": sum(counts.values()), **counts}, **more)


def coverage(covered: int, valid: int, **more: Any) -> Piece:
    return piece("coverage", {"covered": covered, "valid": valid, "rate": 0}, **more)


def scan(**found: int) -> Piece:
    return piece("vulnerabilities", {"critical": 0, "high": 0, "moderate": 0, "low": 0, "unknown": 0, **found})


def review(reviewer: str = "bo", approved: bool = True, **more: Any) -> Piece:
    return piece("review", {"reviewer": reviewer, "approved": approved, "commit": "c1"}, subject=reviewer, **more)


def verdicts(kind: str, total: int, *failed: str) -> Piece:
    return piece(kind, {"total": total, "failed": len(failed), "names": list(failed)})


EVIDENCE = (
    cases(subject="unit"), coverage(80, 100), scan(moderate=3, low=9), review(), verdicts("policy", 3),
    verdicts("crv", 4),
)  # fmt: skip
GOOD = SourceFacts(
    deployment="d1", environment="staging", status="deployed", version="1.2.3", digest_deployed=HERE, digest_now=HERE,
    smoke="passed", smoke_run="s1", target="production", registrants=frozenset({"alice"}), evidence=EVIDENCE,
    quiet=True, quiet_said="No errors.", way_back="1.2.2-aaaaaaaaaaaa", backup_command=True,
)  # fmt: skip


def with_evidence(*pieces: Piece) -> SourceFacts:
    """The good facts with other evidence of these pieces' kinds."""
    kinds = {one.kind for one in pieces}
    return replace(GOOD, evidence=tuple(one for one in EVIDENCE if one.kind not in kinds) + pieces)


def without(kind: str) -> SourceFacts:
    return replace(GOOD, evidence=tuple(one for one in EVIDENCE if one.kind != kind))


def failed(facts: SourceFacts, *waivers: Waived, **how: Any) -> dict[str, str]:
    return {one.name: one.reason for one in check("guide", facts, waivers, now=NOW, **how) if not one.passed}


def test_everything_the_guide_asks_for_passes_every_gate():
    assert failed(GOOD) == {}
    assert [one.name for one in check("guide", GOOD)] == list(GATES)


CLOSED = [
    (without("tests"), "tests_passed", "There is no evidence of tests: send a JUnit file."),
    (with_evidence(cases(5, failed=1)), "tests_passed", "Tests: 1 of 6 tests did not pass (evidence 1)."),
    (with_evidence(cases(5, errors=1)), "tests_passed", "1 of 6 tests did not pass"),
    (with_evidence(cases(0)), "tests_passed", "no test was run"),
    (with_evidence(cases(0, skipped=4)), "tests_passed", "no test was run"),
    (with_evidence(cases(subject="unit"), cases(3, failed=2, subject="integration", number=2)), "tests_passed",
     "Tests (integration): 2 of 5 tests did not pass (evidence 2)."),
    (with_evidence(cases(digest=BEFORE)), "tests_passed", "Evidence 1 of tests is about other bytes: send it again."),
    (with_evidence(cases(subject="unit"), cases(subject="integration", digest=BEFORE)), "tests_passed", "other bytes"),
    (with_evidence(piece("tests", {})), "tests_passed", "a free report that cannot be judged: send a JUnit file"),
    (without("coverage"), "coverage_enough", "no evidence of coverage"),
    (with_evidence(coverage(79_999, 100_000)), "coverage_enough", "79999 of 100000 lines are covered, less than 80 %"),
    (with_evidence(coverage(0, 0)), "coverage_enough", "0 of 0 lines"),
    (without("vulnerabilities"), "no_vulnerabilities", "send a SARIF, npm audit or pip-audit file"),
    (with_evidence(scan(high=2)), "no_vulnerabilities", "Vulnerabilities: 2 high found"),
    (with_evidence(scan(critical=1, high=1)), "no_vulnerabilities", "1 critical and 1 high found"),
    (with_evidence(scan(unknown=1)), "no_vulnerabilities", "1 unknown found"),
    (without("review"), "reviewed", "0 of 1 approving reviews by another person"),
    (with_evidence(review(approved=False)), "reviewed", "0 of 1 approving reviews"),
    (with_evidence(review("Alice")), "reviewed", "The only approval is by alice, who registered it"),
    (with_evidence(review(digest=BEFORE)), "reviewed", "is about other bytes: have this version reviewed"),
    (without("policy"), "policy_passed", "no evidence of policy"),
    (with_evidence(verdicts("policy", 3, "no-root")), "policy_passed", "1 of 3 rules failed (no-root)"),
    (without("crv"), "crv_passed", "no evidence of crv"),
    (with_evidence(verdicts("crv", 100, "units")), "crv_passed", "1 of 100 validators failed (units), 100 % must pass"),
    (replace(GOOD, running="1.2.2", changes=(Change("pay", "was removed", Bump.MAJOR),)), "version_bumped",
     "1.2.3 is a PATCH after 1.2.2, but pay was removed: that is a MAJOR, so number it 2.0.0 or higher."),
    (replace(GOOD, running="1.3.0"), "version_bumped", "1.2.3 is not newer than 1.3.0, which production runs."),
    (replace(GOOD, running="1.2.2", changes=None), "version_bumped", "cannot be compared"),
    (replace(GOOD, quiet=False, quiet_said="web1 wrote 3 errors."), "logs_quiet", "staging: web1 wrote 3 errors."),
    (replace(GOOD, quiet=None, quiet_said="It was never watched."), "logs_quiet", "It was never watched."),
    (replace(GOOD, way_back=""), "rollback_ready", "no version to go back to, and nobody has attested"),
    (replace(GOOD, one_way="contract"), "rollback_ready", "over which nothing goes back by itself, and nobody has att"),
    (replace(GOOD, backup_command=False), "backup_made", "has no backup command, and nobody has attested backup_made"),
    (replace(GOOD, smoke=None), "smoke_passed", "No smoke tests were run"),
    (replace(GOOD, withdrawn=True), "not_withdrawn", "was withdrawn"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "gate", "words"), CLOSED)
def test_one_missing_or_bad_fact_closes_its_gate_alone_and_says_why(facts, gate, words):
    told = failed(facts)
    assert list(told) == [gate]
    assert words in told[gate]


@pytest.mark.parametrize("running", ["", "1.2.2", "1.2.3", "0.9.0"])
def test_a_first_a_newer_and_the_same_version_are_numbered_rightly(running):
    assert failed(replace(GOOD, running=running)) == {}
    assert failed(replace(GOOD, running="0.9.0", changes=(Change("pay", "was removed", Bump.MAJOR),))) == {}


def test_a_second_subject_that_is_good_does_not_hide_the_first():
    assert list(failed(with_evidence(coverage(10, 100, subject="a"), coverage(100, 100, subject="b")))) == [
        "coverage_enough"
    ]


def test_the_numbers_of_a_policy_hold():
    strict = replace(GOOD, numbers=Numbers(coverage=90, reviews=2, crv=100))
    assert list(failed(strict)) == ["coverage_enough", "reviewed"]
    lenient = replace(with_evidence(verdicts("crv", 4, "units")), numbers=Numbers(crv=75))
    assert failed(lenient) == {}


@pytest.mark.parametrize(
    ("change", "kind", "gate"),
    [
        ({"way_back": ""}, "rollback_plan_tested", "rollback_ready"),
        ({"one_way": "irreversible"}, "rollback_plan_tested", "rollback_ready"),
        ({"backup_command": False}, "backup_made", "backup_made"),
    ],
)
def test_what_a_person_attests_of_these_bytes_opens_a_gate(change, kind, gate):
    said = piece(kind, {"note": "We did it on Friday."})
    facts = replace(GOOD, **change, evidence=(*EVIDENCE, said))
    [answer] = [one for one in check("guide", facts) if one.name == gate]
    assert (answer.passed, answer.reason) == (True, "cid attests: We did it on Friday.")
    old = replace(facts, evidence=(*EVIDENCE, replace(said, digest=BEFORE)))
    assert "about other bytes" in failed(old)[gate]


def waived(gate: str = "tests_passed", hours: float = 24, digest: str = HERE) -> Waived:
    return Waived(gate, "bo", "flaky on CI", NOW + timedelta(hours=hours), digest, "anna")


def test_a_waiver_lets_its_gate_pass_and_says_by_whom_until_when_and_why():
    facts = without("tests")
    [answer] = [one for one in check("guide", facts, [waived()], now=NOW) if one.name == "tests_passed"]
    assert answer.passed
    assert answer.reason.startswith("Waived by anna until 2026-05-02 12:00 UTC: flaky on CI (There is no evidence")
    assert answer.evidence["waiver"]["owner"] == "bo"


@pytest.mark.parametrize(
    ("waiver", "words"),
    [
        (waived(hours=-1), "A waiver by anna expired at 2026-05-01 11:00 UTC."),
        (waived(hours=0), "expired"),
        (waived(digest=BEFORE), "A waiver by anna is about other bytes."),
        (waived("coverage_enough"), "There is no evidence of tests"),
    ],
)
def test_a_waiver_that_ended_or_is_of_something_else_counts_for_nothing(waiver, words):
    assert words in failed(without("tests"), waiver)["tests_passed"]


@pytest.mark.parametrize("gate", sorted(NEVER_WAIVED))
def test_what_was_withdrawn_or_changed_is_never_waived(gate):
    facts = replace(GOOD, withdrawn=True, digest_deployed=BEFORE)
    assert gate in failed(facts, waived(gate))


def test_looked_at_again_a_gate_of_time_breaks_nothing():
    assert failed(replace(GOOD, quiet=False), again=True) == {}
    assert reasons_against(check("guide", without("tests"), again=True))
