"""What happens while the broker is away."""

import pytest

from deployments import lifecycle
from deployments.dispatch import BROKER_AWAY_FOR, Dispatcher
from tests.deployments.conftest import ALICE


def dispatcher(fleet, answers: bool) -> Dispatcher:
    return Dispatcher(fleet.outside, answers=lambda: answers)


def test_with_the_broker_away_a_rollback_is_carried_to_its_end(fleet):
    here = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    rollback, _ = lifecycle.roll_back(second.pk, actor=ALICE, reason="it is bad")
    one = dispatcher(fleet, answers=False)
    one.tick(0.0)
    for second_of_absence in range(int(BROKER_AWAY_FOR), int(BROKER_AWAY_FOR) + 60):
        fleet.hurry()
        one.tick(float(second_of_absence))
        rollback.refresh_from_db()
        if rollback.status != "in_progress":
            break
    assert rollback.status == "deployed"
    assert set(fleet.running(here).values()) == {"1.0.0"}


def test_with_the_broker_away_forward_steps_wait(fleet):
    here = fleet.environment("staging")
    lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    one = dispatcher(fleet, answers=False)
    for moment in (0.0, BROKER_AWAY_FOR, BROKER_AWAY_FOR + 1):
        one.tick(moment)
    assert set(fleet.running(here).values()) == {""}


def test_a_short_absence_of_the_broker_is_left_to_the_workers(fleet):
    fleet.environment("staging")
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    rollback, _ = lifecycle.roll_back(second.pk, actor=ALICE, reason="it is bad")
    one = dispatcher(fleet, answers=False)
    one.tick(0.0)
    one.tick(BROKER_AWAY_FOR - 0.1)
    assert not rollback.steps.filter(attempts__gt=0).exists()


@pytest.mark.django_db
def test_a_broker_that_came_back_begins_a_new_count(fleet):
    one = dispatcher(fleet, answers=False)
    one.tick(0.0)
    one.answers = lambda: True
    one.tick(5.0)
    one.answers = lambda: False
    one.tick(6.0)
    assert one.away_since == 6.0


def test_with_the_broker_away_a_deployment_that_cannot_be_worked_on_keeps_no_rollback_from_going(fleet):
    here = fleet.environment("staging")
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    odd = fleet.environment("odd")
    stuck = lifecycle.deploy(fleet.version("1.0.0").pk, "odd", actor=ALICE)
    lifecycle.abort(stuck.pk, actor=ALICE, reason="no")
    type(odd).objects.filter(pk=odd.pk).update(policy_overrides={"no_such_policy": 1})
    lifecycle.roll_back(second.pk, actor=ALICE, reason="bad")
    one = dispatcher(fleet, answers=False)
    for _ in range(30):
        fleet.hurry()
        one.work()
    assert set(fleet.running(here).values()) == {"1.0.0"}
