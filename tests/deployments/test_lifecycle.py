"""A deployment from wish to end, on real rows with fake hosts."""

import pytest

from aureus.journal.models import Event
from aureus.journal.refusals import Conflict, NotAllowed
from deployments import lifecycle
from deployments.models import Deployment, Step
from tests.deployments.conftest import ALICE, BOB, ROOT


def kinds(deployment: Deployment) -> list[str]:
    return list(Event.objects.filter(stream=deployment.stream).order_by("seq").values_list("kind", flat=True))


def test_a_version_reaches_every_host(fleet):
    here = fleet.environment("staging", strategy="all-at-once")
    deployment = fleet.deployed("1.0.0")
    assert fleet.running(here) == {"staging-1": "1.0.0", "staging-2": "1.0.0", "staging-3": "1.0.0"}
    assert set(deployment.targets.values_list("state", flat=True)) == {"on_to"}
    assert kinds(deployment)[:3] == ["deployment.requested", "deployment.in_progress", "step.started"]
    assert kinds(deployment)[-1] == "deployment.deployed"


def test_hosts_change_one_after_the_other_and_are_out_of_the_balancer_meanwhile(fleet):
    here = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    deployment = fleet.deployed("1.1.0")
    order = list(deployment.steps.filter(kind="activate").order_by("started_at").values_list("target", flat=True))
    assert order == ["staging-1", "staging-2", "staging-3"]
    assert fleet.traffic.read() == {"staging-1": 100, "staging-2": 100, "staging-3": 100}
    assert set(fleet.running(here).values()) == {"1.1.0"}


def test_a_host_that_never_becomes_healthy_fails_the_deployment_and_what_was_changed_goes_back(fleet):
    here = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    fleet.sick.add(("staging-2", "1.1.0"))
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fail_verify_by_deadline(fleet, deployment)
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "error")
    assert "staging-2 is not healthy with 1.1.0" in deployment.reason
    rollback = deployment.rollbacks.get()
    assert rollback.status == "deployed"
    assert set(fleet.running(here).values()) == {"1.0.0"}
    untouched = [line for line in fleet.hosts.at("staging-3").site(ROOT).ledger if line[2] == "activate@main"]
    assert {line[3].rsplit("-", 1)[0] for line in untouched} == {"1.0.0"}
    assert fleet.traffic.read() == {"staging-1": 100, "staging-2": 100, "staging-3": 100}
    states = dict(deployment.targets.values_list("name", "state"))
    assert states == {"staging-1": "on_back", "staging-2": "on_back", "staging-3": "untouched"}


def fail_verify_by_deadline(fleet, deployment):
    """Play on, with the deadline of every waiting health check already passed."""
    for _ in range(60):
        Step.objects.filter(deployment=deployment, kind="verify", attempts__gt=0, status="pending").update(
            deadline_at="2026-01-01T00:00:00Z"
        )
        fleet.hurry()
        try:
            fleet.run(rounds=3)
            return
        except AssertionError:
            continue
    raise AssertionError("it never ended")


def test_without_a_good_version_there_is_no_way_back_and_the_host_is_owed(fleet):
    fleet.environment("staging", hosts=2)
    fleet.sick.add(("*", "1.0.0"))
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    fail_verify_by_deadline(fleet, deployment)
    deployment.refresh_from_db()
    assert deployment.status == "failed"
    assert not deployment.rollbacks.exists()
    assert list(deployment.targets.values_list("name", "state")) == [("staging-1", "owed"), ("staging-2", "untouched")]
    assert "no way back" in deployment.incidents.get().text.lower()


def test_a_rollback_by_hand_brings_the_version_before(fleet):
    here = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    rollback, new = lifecycle.roll_back(second.pk, actor=ALICE, reason="customers complain")
    assert new
    fleet.run()
    second.refresh_from_db()
    rollback.refresh_from_db()
    assert (rollback.status, second.status) == ("deployed", "rolled_back")
    assert set(fleet.running(here).values()) == {"1.0.0"}
    assert lifecycle.roll_back(second.pk, actor=ALICE, reason="again") == (rollback, False)


def test_a_rollback_of_what_is_not_current_names_the_current_one(fleet):
    fleet.environment("staging")
    first, second = fleet.deployed("1.0.0"), fleet.deployed("1.1.0")
    with pytest.raises(Conflict, match=str(second.pk)):
        lifecycle.roll_back(first.pk, actor=ALICE, reason="oops")


def test_there_is_no_rollback_without_a_version_that_proved_good(fleet):
    fleet.environment("staging")
    first = fleet.deployed("1.0.0")
    with pytest.raises(Conflict, match="no way back"):
        lifecycle.roll_back(first.pk, actor=ALICE, reason="oops")


def test_a_rollback_during_a_running_deployment_takes_its_place_and_covers_what_both_touched(fleet):
    here = fleet.environment("staging", hosts=2)
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    third = lifecycle.deploy(fleet.version("1.2.0").pk, "staging", actor=ALICE)
    fleet.sick.add(("staging-1", "1.2.0"))
    fleet.play_until(lambda: third.targets.filter(claimed_at__isnull=False).exists())
    rollback, _ = lifecycle.roll_back(second.pk, actor=BOB, reason="both are bad")
    third.refresh_from_db()
    assert (third.status, third.outcome) == ("failed", "superseded")
    fleet.run()
    assert set(rollback.targets.filter(claimed_at__isnull=False).values_list("name", flat=True)) == {
        "staging-1",
        "staging-2",
    }
    assert set(fleet.running(here).values()) == {"1.0.0"}


def test_the_requester_does_not_approve_and_another_person_does(fleet):
    fleet.environment("staging", approvals=1)
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    fleet.run(rounds=5)
    deployment.refresh_from_db()
    assert deployment.status == "awaiting_approval"
    with pytest.raises(NotAllowed, match="somebody else"):
        lifecycle.approve(deployment.pk, actor=ALICE)
    lifecycle.approve(deployment.pk, actor=BOB)
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "deployed"


def test_a_no_ends_it(fleet):
    fleet.environment("staging", approvals=1)
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    lifecycle.reject(deployment.pk, actor=BOB, comment="not today")
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "rejected")


def test_production_takes_versions_by_promotion_after_smoke_tests(fleet):
    fleet.environment("staging")
    fleet.environment("production", promote_from="staging")
    version = fleet.version("1.0.0")
    with pytest.raises(Conflict, match="by promotion"):
        lifecycle.deploy(version.pk, "production", actor=ALICE)
    staged = fleet.deployed("1.0.0")
    with pytest.raises(Conflict, match="No smoke tests were run"):
        lifecycle.promote(staged.pk, actor=ALICE)


def test_a_newer_waiting_deployment_supersedes_an_older_one_in_production_only(fleet):
    fleet.environment("staging", queue="supersede", approvals=1)
    older = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    older.refresh_from_db()
    assert (older.status, older.outcome) == ("failed", "superseded")


def test_an_edit_of_the_environment_makes_the_plan_anew_and_loses_its_approvals(fleet):
    here = fleet.environment("staging", approvals=2)
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    lifecycle.approve(deployment.pk, actor=BOB)
    before = deployment.plan_hash
    type(here).objects.filter(pk=here.pk).update(revision=2)
    fleet.run(rounds=5)
    deployment.refresh_from_db()
    assert deployment.plan_hash != before
    assert "waits for 2 approvals" in deployment.reason


def test_answers_that_arrive_after_the_end_change_nothing(fleet):
    here = fleet.environment("staging")
    fleet.deployed("1.0.0")
    fleet.hosts.at("staging-1").key_changed = True
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.run()
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "error")
    assert "staging-1" in deployment.reason
    assert set(fleet.running(here).values()) == {"1.0.0"}
    assert kinds(deployment).count("step.passed") + kinds(deployment).count("step.late_answer") == 2
