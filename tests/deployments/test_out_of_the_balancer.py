"""A host that was taken out of the balancer comes back, or is said to be out."""

from aureus import lease
from deployments import lifecycle
from deployments.models import Pool, Step
from tests.deployments.conftest import ALICE
from tests.deployments.test_way_back import play_out

ALL = {"staging-1": 100, "staging-2": 100, "staging-3": 100}


def test_a_host_that_does_not_drain_is_put_back_in(fleet):
    here = fleet.environment("staging", balanced=True, drain_within=1)
    fleet.deployed("1.0.0")
    fleet.traffic.flights["staging-1"] = 7
    second = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: second.steps.filter(kind="drain", attempts__gt=0).exists())
    Step.objects.filter(deployment=second, kind="drain").update(deadline_at="2026-01-01T00:00:00Z")
    play_out(fleet, second)
    second.refresh_from_db()
    assert second.status == "failed"
    assert set(fleet.running(here).values()) == {"1.0.0"}
    assert fleet.traffic.read() == ALL
    assert set(here.endpoints.values_list("serving", flat=True)) == {True}


def test_an_abort_while_a_host_is_out_brings_it_back_in(fleet):
    fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    second = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: second.steps.filter(kind="take_out", status="passed").exists())
    lifecycle.abort(second.pk, actor=ALICE, reason="no")
    fleet.run()
    assert fleet.traffic.read() == ALL


def test_a_host_that_went_back_but_takes_no_traffic_is_owed(fleet):
    here = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    rollback, _ = lifecycle.roll_back(second.pk, actor=ALICE, reason="bad")
    fleet.play_until(lambda: rollback.steps.filter(kind="verify", target="staging-1", status="passed").exists())
    fleet.sick.add(("staging-1", "1.0.0"))
    play_out(fleet, rollback)
    rollback.refresh_from_db()
    assert rollback.status == "deployed"
    assert here.endpoints.get(host__name="staging-1").owed
    assert "staging-1" in rollback.reason


def test_a_host_that_was_only_taken_out_keeps_what_it_runs(fleet):
    here = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    type(second).objects.filter(pk=second.pk).update(good_at=None)
    third = lifecycle.deploy(fleet.version("1.2.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: third.steps.filter(kind="take_out", status="passed").exists())
    lifecycle.abort(third.pk, actor=ALICE, reason="no")
    fleet.run()
    assert set(fleet.running(here).values()) == {"1.1.0"}
    assert fleet.traffic.read() == ALL


def test_traffic_that_moved_to_a_host_that_was_only_taken_out_keeps_nobody_from_going_back(fleet):
    here = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    second = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    takes_out = second.steps.filter(kind="take_out", status="passed")
    fleet.play_until(lambda: takes_out.count() == 3)
    lifecycle.abort(second.pk, actor=ALICE, reason="no")
    fleet.run()
    assert second.rollbacks.get().reason == "every step passed"
    assert set(fleet.running(here).values()) == {"1.0.0"}
    assert fleet.traffic.read() == ALL


def test_a_rollback_takes_no_host_out_that_it_will_not_put_back_in(fleet):
    here = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    second = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: second.steps.filter(kind="activate", status="passed").exists())
    fleet.sick.add(("staging-3", "1.0.0"))
    lifecycle.abort(second.pk, actor=ALICE, reason="no")
    fleet.play_until(lambda: not here.deployments.filter(status="in_progress").exists())
    fleet.sick.clear()
    play_out(fleet, second.rollbacks.get())
    assert fleet.traffic.read() == ALL


def test_a_rollback_gives_no_traffic_to_a_host_that_is_owed_since_before(fleet):
    # A canary comes to the owed last, so that this one is not touched.
    here = fleet.environment("staging", balanced=True, strategy="canary")
    fleet.deployed("1.0.0")
    owed = here.endpoints.filter(host__name="staging-3")
    owed.update(owed="it was not proven", serving=False)
    fleet.traffic.set_weights({**ALL, "staging-3": 0}, fence=lease.next_fence())
    Pool.objects.filter(installation=here).update(weights=fleet.traffic.read())
    second = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: second.steps.filter(kind="activate", status="passed").exists())
    lifecycle.abort(second.pk, actor=ALICE, reason="no")
    fleet.run()
    assert second.rollbacks.get().status == "deployed"
    assert fleet.traffic.read() == {**ALL, "staging-3": 0}
    assert owed.get().owed


def test_traffic_that_did_not_move_because_the_balancer_was_away_moves_when_it_is_back(fleet):
    fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    second = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: second.steps.filter(kind="take_out", status="passed").count() == 2)
    fleet.traffic.down = True
    lifecycle.abort(second.pk, actor=ALICE, reason="no")
    shift = Step.objects.filter(deployment__reverts=second, kind="shift")
    fleet.play_until(lambda: shift.filter(failures__gt=0).exists())
    fleet.traffic.down = False
    fleet.play_until(lambda: shift.filter(status="passed").exists())
    assert fleet.traffic.read()["staging-1"] == 0
    fleet.run()
    assert fleet.traffic.read() == ALL


def test_who_fell_sick_before_its_traffic_came_is_not_put_in_with_the_others(fleet):
    fleet.environment("staging", balanced=True, batch="2")
    fleet.deployed("1.0.0")
    second = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    verified = second.steps.filter(kind="verify", target__in=["staging-1", "staging-2"], status="passed")
    fleet.play_until(lambda: verified.count() == 2)
    fleet.traffic.down = True
    fleet.play_until(lambda: second.steps.filter(kind="put_in", failures=1).exists())
    assert Pool.objects.get().weights["staging-1"] == 0
    fleet.sick.add(("staging-1", "1.1.0"))
    fleet.traffic.down = False
    fleet.play_until(lambda: second.steps.filter(kind="put_in", failures=2).exists())
    assert fleet.traffic.read() == {"staging-1": 0, "staging-2": 100, "staging-3": 100}
