"""A promotion under the gates of the guide: refused with the sentence that helps, and looked at again at its start."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from aureus import clock
from aureus.journal.actor import EVERYWHERE, Actor, Role
from aureus.journal.refusals import Conflict
from deployments import lifecycle, smoke
from deployments.gating import checks
from deployments.models import Deployment, Installation
from deployments.snapshot import policy_of
from health import windows
from health.models import SmokeRun, Window
from health.quiet import JOURNAL
from health.verdicts import Sample
from releases import evidence, waiving
from releases.gates import WAIVABLE
from releases.models import Evidence, Version, Waiver
from tests.deployments.conftest import ALICE, Fleet
from tests.releases.hostile import HERE, sarif

CID = Actor("key:ci", "key", {EVERYWHERE: frozenset({Role.CI})}, "cid")
ANNA = Actor("anna", "user", {EVERYWHERE: frozenset({Role.APPROVER})})
RITA = Actor("rita", "user", {EVERYWHERE: frozenset({Role.RELEASE_MANAGER})})
RULES = {"rules": [{"name": "no-root", "passed": True}]}
CRV = {"validators": [{"name": "units", "valid": True}]}
REVIEW = {"reviewer": "bo", "approved": True, "commit": "abc"}


@pytest.fixture
def staged(fleet: Fleet) -> Deployment:
    """1.1.0 is in staging, smoke-tested and quiet for forty minutes; production has a good 1.0.0."""
    fleet.environment("staging", hosts=1, window=7200, sources=["probe", "journal"])
    production = fleet.environment("production", hosts=1, promote_from="staging", gates="guide", direct=True)
    fleet.deployed("1.0.0", "production")
    Installation.objects.filter(pk=production.pk).update(backup_command="true")
    staged = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.run()
    run = smoke.ask(staged, [{"name": "home", "endpoint": "/"}], asked_by="ci")
    SmokeRun.objects.filter(pk=run.pk).update(status="passed", verdict="passed", ended_at=clock.now())
    opened = clock.now() - timedelta(minutes=40)
    Window.objects.filter(subject=staged.pk).update(opens_at=opened, closed_at=None, next_sample_at=None)
    hear(staged, (20, 0), (1, 0))
    staged.refresh_from_db()
    return staged


def hear(deployment: Deployment, *errors: tuple[float, float]) -> None:
    """Looks at staging's journal: so many minutes ago, so many errors."""
    window, now = Window.objects.get(subject=deployment.pk), clock.now()
    windows.store(window, [
        Sample("staging-1", window.content, JOURNAL, "value", now - timedelta(minutes=minutes), value=count)
        for minutes, count in errors
    ])  # fmt: skip


def prove(version: Version, *but: str) -> None:
    """Everything that CI sends, but some kinds."""
    files = {
        "tests": ("junit", (HERE / "pytest.xml").read_bytes()),
        "coverage": ("cobertura", (HERE / "coverage-py.xml").read_bytes()),
        "vulnerabilities": ("sarif", sarif([])),
        "review": ("json", json.dumps(REVIEW).encode()),
        "policy": ("json", json.dumps(RULES).encode()),
        "crv": ("json", json.dumps(CRV).encode()),
    }
    for kind, (name, octets) in files.items():
        if kind not in but:
            evidence.add_file(version.pk, kind, octets, name=name, actor=CID)


def waive(version: Version, gate: str, **more: Any) -> Waiver:
    how = {"environment": "production", "owner": "bo", "reason": "flaky on CI", "actor": ANNA, **more}
    return waiving.waive(version.pk, gate, **{"expires_at": clock.now() + timedelta(days=1), **how})


def promote(staged: Deployment) -> Deployment:
    return lifecycle.promote(staged.pk, actor=ALICE, environment="production")[0]


def refusal(staged: Deployment) -> str:
    with pytest.raises(Conflict) as refused:
        promote(staged)
    assert refused.value.code == "gates_failed"
    return refused.value.sentence


def test_a_version_with_all_its_evidence_is_promoted(fleet, staged):
    Installation.objects.filter(environment__name="production").update(backup_command="")
    prove(staged.version)
    evidence.add(staged.version_id, "backup_made", {"note": "The nightly dump is from 03:00."}, actor=RITA)
    to = promote(staged)
    fleet.run()
    to.refresh_from_db()
    assert to.status == "deployed", to.reason


def test_without_evidence_it_is_refused_with_every_sentence(staged):
    said = refusal(staged)
    for kind in ("tests", "coverage", "vulnerabilities", "policy", "crv"):
        assert f"There is no evidence of {kind}" in said
    assert "0 of 1 approving reviews by another person" in said
    assert not staged.promotions.exists()


def test_evidence_of_other_bytes_does_not_count(staged):
    prove(staged.version)
    Evidence.objects.filter(kind="tests").update(digest="b" * 64)
    [row] = Evidence.objects.filter(kind="tests")
    assert f"Evidence {row.pk} of tests is about other bytes: send it again." in refusal(staged)


def test_a_newer_report_counts_instead_of_an_older_one(staged):
    prove(staged.version)
    evidence.add_file(staged.version_id, "tests", (HERE / "pytest-failed.xml").read_bytes(), actor=CID)
    assert "Tests: 4 of 4 tests did not pass" in refusal(staged)
    prove(staged.version)
    assert promote(staged)


def test_every_subject_must_pass(staged):
    prove(staged.version)
    failed = (HERE / "pytest-failed.xml").read_bytes()
    evidence.add_file(staged.version_id, "tests", failed, subject="integration", actor=CID)
    assert "Tests (integration): 4 of 4 tests did not pass" in refusal(staged)


def test_a_waiver_opens_its_gate_until_it_expires(staged):
    prove(staged.version, "tests")
    waiver = waive(staged.version, "tests_passed")
    assert promote(staged)
    Waiver.objects.filter(pk=waiver.pk).update(at="2026-01-01T00:00:00Z", expires_at="2026-01-02T00:00:00Z")
    Deployment.objects.filter(source=staged).update(source=None)
    said = refusal(staged)
    assert "There is no evidence of tests" in said
    assert "A waiver by anna expired at 2026-01-02 00:00 UTC." in said


def test_a_waiver_holds_in_its_environment_and_for_these_bytes_alone(staged):
    prove(staged.version, "tests")
    waiver = waive(staged.version, "tests_passed", environment="elsewhere")
    assert "There is no evidence of tests" in refusal(staged)
    Waiver.objects.filter(pk=waiver.pk).update(environment="production", digest="b" * 64)
    assert "A waiver by anna is about other bytes." in refusal(staged)


def test_what_was_waived_holds_again_once_it_is_taken_back(staged):
    prove(staged.version, "tests")
    waive(staged.version, "tests_passed")
    waiving.unwaive(staged.version_id, "tests_passed", environment="production", actor=ANNA)
    assert "There is no evidence of tests" in refusal(staged)


def test_every_gate_that_may_be_waived_is_judged_and_a_waiver_of_each_opens_the_way(fleet, staged):
    Installation.objects.filter(environment__name="production").update(backup_command="")
    for gate in WAIVABLE:
        waive(staged.version, gate)
    to = Installation.objects.get(environment__name="production")
    assert all(one.passed for one in checks(staged, to, policy_of(to)))


def test_a_report_that_fails_meanwhile_ends_a_promotion_that_waits(fleet, staged):
    Installation.objects.filter(environment__name="production").update(policy_overrides={"approvals": 1})
    prove(staged.version)
    waiting = promote(staged)
    fleet.run()
    evidence.add_file(staged.version_id, "tests", (HERE / "pytest-failed.xml").read_bytes(), actor=CID)
    lifecycle.approve(waiting.pk, actor=ANNA)
    fleet.run()
    waiting.refresh_from_db()
    assert (waiting.status, waiting.outcome) == ("failed", "stale")
    assert "4 of 4 tests did not pass" in waiting.reason


def test_errors_that_staging_writes_meanwhile_hold_a_promotion_and_do_not_end_it(fleet, staged):
    prove(staged.version)
    waiting = promote(staged)
    hear(staged, (0.5, 2))
    for _ in range(5):
        lifecycle.advance(waiting.pk, "deploy")
    waiting.refresh_from_db()
    assert waiting.status == "pending"
    assert waiting.reason.startswith("soaks in staging: staging-1 wrote 2 errors at ")
    waive(staged.version, "logs_quiet")
    for _ in range(5):
        lifecycle.advance(waiting.pk, "deploy")
    waiting.refresh_from_db()
    assert waiting.status == "in_progress"


def test_errors_within_the_half_hour_refuse_it(staged):
    prove(staged.version)
    hear(staged, (10, 3))
    assert "staging: staging-1 wrote 3 errors at" in refusal(staged)


def test_without_a_good_version_and_a_backup_people_have_to_attest(fleet, staged):
    Deployment.objects.filter(installation__environment__name="production").update(good_at=None)
    Installation.objects.filter(environment__name="production").update(backup_command="")
    prove(staged.version)
    said = refusal(staged)
    assert "production has no version to go back to, and nobody has attested rollback_plan_tested." in said
    assert "has no backup command, and nobody has attested backup_made." in said
    for kind in ("rollback_plan_tested", "backup_made"):
        evidence.add(staged.version_id, kind, {"note": "Tried on the standby on Friday."}, actor=RITA)
    assert promote(staged)
