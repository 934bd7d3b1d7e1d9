"""Smoke runs that CI asks for: what counts, what is lost and found again, and what a failure does."""

from datetime import timedelta

import pytest

from aureus import clock
from aureus.journal.refusals import Conflict, Invalid
from deployments import lifecycle, smoke
from deployments.models import Deployment
from health.models import SmokeRun
from tests.deployments.conftest import ALICE

TESTS = [{"name": "home", "endpoint": "/health"}]


@pytest.fixture
def deployed(fleet) -> Deployment:
    fleet.environment("staging")
    return fleet.deployed("1.0.0")


def asked_a_while_ago(deployment: Deployment) -> SmokeRun:
    run = smoke.request(deployment.pk, TESTS, actor=ALICE)
    SmokeRun.objects.filter(pk=run.pk).update(at=clock.now() - timedelta(seconds=60))
    return run


def test_a_run_whose_message_was_lost_is_hinted_again_and_not_twice_at_once(deployed):
    run = asked_a_while_ago(deployed)
    assert smoke.due() == [str(run.uuid)]
    assert smoke.due() == []


def test_of_two_workers_one_carries_a_run_out(fleet, deployed):
    run = smoke.request(deployed.pk, TESTS, actor=ALICE)
    assert smoke.taken_up(str(run.uuid)) is not None
    assert smoke.taken_up(str(run.uuid)) is None
    assert smoke.due() == []


def test_a_run_whose_worker_was_lost_is_carried_out_by_another_and_after_three_losses_has_failed(deployed):
    run = asked_a_while_ago(deployed)
    for _ in range(smoke.ATTEMPTS):
        assert smoke.taken_up(str(run.uuid)) is not None
        SmokeRun.objects.filter(pk=run.pk).update(lease_until=clock.now(), not_before=clock.now())
        assert smoke.due() == [str(run.uuid)]
    assert smoke.taken_up(str(run.uuid)) is None
    run.refresh_from_db()
    assert (run.verdict, run.results[0]["error"]) == ("failed", smoke.LOST)


def test_a_run_that_reached_no_host_has_failed_and_blocks_promotion(fleet, deployed):
    fleet.environment("production", promote_from="staging")
    run = smoke.request(deployed.pk, TESTS, actor=ALICE)
    smoke.carry_out_asked(str(run.uuid), fleet.outside, fleet.hint)
    run.refresh_from_db()
    assert run.verdict == "failed"
    with pytest.raises(Conflict, match="smoke tests failed"):
        lifecycle.promote(deployed.pk, actor=ALICE)


def test_where_the_policy_says_so_a_failed_run_undoes_the_deployment(fleet):
    fleet.environment("staging", on_failed_smoke="rollback")
    fleet.deployed("1.0.0")
    second = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.run()
    run = smoke.request(second.pk, TESTS, actor=ALICE)
    smoke.carry_out_asked(str(run.uuid), fleet.outside, fleet.hint)
    rollback = second.rollbacks.get()
    assert (str(rollback.pk), "rollback") in fleet.hints
    assert "smoke test home failed" in rollback.because


def test_only_what_runs_there_now_can_be_tested(fleet, deployed):
    fleet.deployed("1.1.0")
    with pytest.raises(Conflict, match="not what runs there now"):
        smoke.request(deployed.pk, TESTS, actor=ALICE)


def test_tests_that_mean_nothing_are_refused_with_every_error(deployed):
    with pytest.raises(Invalid) as refusal:
        smoke.request(deployed.pk, [{"name": ""}, {"name": "x", "endpoint": "http://evil"}], actor=ALICE)
    assert len(refusal.value.errors) >= 2
