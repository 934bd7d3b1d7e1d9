"""Reports, attestations, waivers and gates by the command."""

from __future__ import annotations

import pytest

from deployments.models import Deployment
from releases.models import Evidence, Version, Waiver
from tests.cli.conftest import deployment_of, run, speak_as
from tests.releases.hostile import HERE


@pytest.fixture
def staged(world) -> Deployment:
    world.environment("staging")
    world.environment("production", promote_from="staging", gates="guide")
    return deployment_of(world)


def test_a_report_is_sent_and_what_it_comes_to_is_told(staged):
    done = run("evidence", "shop@1.0.0", "tests", str(HERE / "pytest.xml"), "--subject", "unit")
    assert done.code == 0, done.err
    assert "tests as junit: total 5, errors 0, failed 0, passed 4, skipped 1" in done.out
    row = Evidence.objects.get()
    assert (row.subject, row.by) == ("unit", "rita")
    told = run(
        "evidence", "shop@1.0.0", "coverage", str(HERE / "coverage-py.json"), "--format", "coverage-py", "--json"
    )
    assert told.json["summary"]["covered"] == 20


def test_a_report_that_cannot_be_judged_ends_with_2_and_its_sentence(staged, tmp_path):
    lying = tmp_path / "junit.xml"
    lying.write_text('<testsuite tests="9"/>')
    done = run("evidence", "shop@1.0.0", "tests", str(lying))
    assert (done.code, "lies about totals" in done.err) == (2, True)
    assert run("evidence", "shop@1.0.0", "tests", str(tmp_path / "none.xml")).code == 2
    assert not Evidence.objects.exists()


def test_a_person_attests_and_an_approver_waives(staged, monkeypatch):
    done = run("attest", "shop@1.0.0", "on_call_named", "--person", "Bo")
    assert (done.code, "rita attests on_call_named: Bo is on call." in done.out) == (0, True)
    said = run("attest", "shop@1.0.0", "documentation_updated")
    assert (said.code, "note must be text" in said.err) == (2, True)
    words = (
        "waive",
        "shop@1.0.0",
        "crv_passed",
        "-e",
        "production",
        "--owner",
        "bo",
        "--reason",
        "no CRV",
        "--days",
        "30",
    )
    assert run(*words).code == 1, "a release manager is no approver"
    speak_as("anna", monkeypatch)
    done = run(*words)
    assert done.code == 0, done.err
    assert Waiver.objects.get().by == "anna"
    assert run("unwaive", "shop@1.0.0", "crv_passed", "-e", "production").code == 0
    assert Waiver.objects.get().lifted_by == "anna"


def test_gates_tell_each_reason_and_end_with_1_where_it_may_not_go_on(staged):
    done = run("gates", str(staged.pk))
    assert done.code == 1
    assert "There is no evidence of tests: send a JUnit file." in done.out
    assert done.out.splitlines()[-1] == "it may not go to production"
    told = run("gates", str(staged.pk), "--json").json
    assert told["canPromote"] is False
    assert len(told["checks"]) == 14
    assert Version.objects.get().sealed_at is not None
