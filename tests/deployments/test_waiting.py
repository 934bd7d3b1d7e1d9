"""Whoever waits is woken by what ends the wait, and what was asked for is looked at again at the start."""

from datetime import timedelta

from aureus import clock
from deployments import edits, execution, leases, lifecycle, smoke
from deployments.fleet import locking
from deployments.models import Deployment, Environment, Freeze, Installation
from releases import registry
from tests.deployments.conftest import ALICE, BOB

TESTS = [{"name": "health", "endpoint": "/health"}]


def asked(fleet, number: str) -> Deployment:
    deployment = lifecycle.deploy(fleet.version(number).pk, "staging", actor=ALICE)
    fleet.run()
    deployment.refresh_from_db()
    return deployment


def only_sweep(fleet) -> None:
    """What sweep and workers do by themselves: nobody pushes anything."""
    for _ in range(60):
        woken = leases.sweep() + fleet.hints
        fleet.hints = []
        for deployment_id, lane in woken:
            execution.work_on(deployment_id, lane, fleet.outside, fleet.hint)
        if not woken:
            return


def test_a_no_lets_the_next_in_line_go_on(fleet):
    fleet.environment("staging", approvals=1, queue="order")
    first, second = asked(fleet, "1.0.0"), asked(fleet, "1.1.0")
    lifecycle.approve(second.pk, actor=BOB)
    only_sweep(fleet)
    second.refresh_from_db()
    assert "waits behind" in second.reason
    lifecycle.reject(first.pk, actor=BOB, comment="not today")
    only_sweep(fleet)
    second.refresh_from_db()
    assert second.status == "deployed", second.reason


def test_a_plan_that_fits_no_more_lets_the_next_in_line_go_on(fleet):
    here = fleet.environment("staging", approvals=1, queue="order")
    first, second = asked(fleet, "1.0.0"), asked(fleet, "1.1.0")
    lifecycle.approve(second.pk, actor=BOB)
    only_sweep(fleet)
    Deployment.objects.filter(pk=first.pk).update(strategy="gone")
    Installation.objects.filter(pk=here.pk).update(revision=2)
    Deployment.objects.filter(pk=first.pk).update(wake_at=clock.now(), hinted_at=None)
    only_sweep(fleet)
    first.refresh_from_db()
    second.refresh_from_db()
    assert first.outcome == "stale"
    assert "waits behind" not in second.reason


def test_who_waits_for_a_lock_goes_on_when_it_is_lifted(fleet):
    fleet.environment("staging")
    locking.lock("staging", actor=BOB, reason="moving house")
    waiting = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    only_sweep(fleet)
    waiting.refresh_from_db()
    assert waiting.reason.startswith("staging is locked by bob since ")
    assert waiting.reason.endswith("UTC: moving house")
    locking.unlock("staging", actor=ALICE)
    only_sweep(fleet)
    waiting.refresh_from_db()
    assert waiting.status == "deployed", waiting.reason


def test_who_waits_for_a_freeze_goes_on_when_it_is_cut_short(fleet):
    here = fleet.environment("staging")
    now = clock.now()
    freeze = Freeze(environment=here.environment, starts=now, ends=now + timedelta(days=7), reason="holidays")
    edits.edited(freeze, changed=["ends"], actor=BOB)
    waiting = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    only_sweep(fleet)
    waiting.refresh_from_db()
    assert "holidays" in waiting.reason
    freeze.ends = clock.now()
    edits.edited(freeze, changed=["ends"], actor=BOB)
    only_sweep(fleet)
    waiting.refresh_from_db()
    assert waiting.status == "deployed", waiting.reason


def promoted(fleet) -> tuple[Deployment, Deployment]:
    fleet.environment("staging")
    fleet.environment("production", promote_from="staging", approvals=1)
    source = fleet.deployed("1.0.0")
    run = smoke.ask(source, TESTS, asked_by="ci")
    type(run).objects.filter(pk=run.pk).update(verdict="passed", status="passed")
    promotion, _ = lifecycle.promote(source.pk, actor=ALICE)
    fleet.run()
    return source, promotion


def test_smoke_tests_that_failed_since_the_promotion_end_it_at_the_start(fleet):
    source, promotion = promoted(fleet)
    run = smoke.ask(source, TESTS, asked_by="ci")
    type(run).objects.filter(pk=run.pk).update(verdict="failed", status="failed")
    lifecycle.approve(promotion.pk, actor=BOB)
    fleet.run()
    promotion.refresh_from_db()
    assert (promotion.status, promotion.outcome) == ("failed", "stale")
    assert "smoke tests failed" in promotion.reason.lower()


def test_smoke_tests_that_run_again_do_not_end_a_promotion(fleet):
    source, promotion = promoted(fleet)
    smoke.ask(source, TESTS, asked_by="ci")
    lifecycle.approve(promotion.pk, actor=BOB)
    fleet.run()
    promotion.refresh_from_db()
    assert promotion.status == "deployed", promotion.reason


def test_who_waits_for_a_yes_begins_when_the_policy_asks_for_none_any_more(fleet):
    here = fleet.environment("staging", approvals=1)
    waiting = asked(fleet, "1.0.0")
    assert waiting.status == "awaiting_approval"
    environment = Environment.objects.get(pk=here.environment_id)
    environment.policy = {**environment.policy, "approvals": 0}
    edits.edited(environment, changed=["policy"], actor=BOB)
    only_sweep(fleet)
    waiting.refresh_from_db()
    assert waiting.status == "deployed", waiting.reason


def test_a_version_withdrawn_while_it_waits_for_a_yes_ends_it_and_lets_the_next_go_on(fleet):
    fleet.environment("staging", approvals=1, queue="order")
    first, second = asked(fleet, "1.0.0"), asked(fleet, "1.1.0")
    lifecycle.approve(second.pk, actor=BOB)
    only_sweep(fleet)
    registry.withdraw(first.version_id, reason="it sends every mail twice", actor=BOB)
    only_sweep(fleet)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, first.outcome) == ("failed", "stale")
    assert "withdrawn" in first.reason
    assert second.status == "deployed", second.reason
