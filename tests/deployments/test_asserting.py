"""What somebody else did to a balancer is seen, told, and put right, unless a deployment moves its traffic just now."""

import pytest

from aureus import lease
from aureus.journal.models import Event
from deployments import lifecycle
from deployments.fleet import asserting
from deployments.models import BalancerNode, Endpoint, Installation, Pool
from tests.deployments.conftest import ALICE, Fleet

ALL = {"staging-1": 100, "staging-2": 100, "staging-3": 100}


@pytest.fixture
def here(fleet: Fleet) -> Installation:
    installation = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    assert fleet.traffic.read() == ALL
    return installation


def look(fleet: Fleet) -> str:
    """One look, due or not; how the balancer stands then."""
    BalancerNode.objects.update(observed={})
    asserting.assert_due(fleet.outside)
    observed = BalancerNode.objects.get().observed
    return str(next(iter(observed.values()))["state"]) if observed else ""


def told() -> list[str]:
    found = Event.objects.filter(kind__startswith="balancer.").order_by("seq")
    return [f"{event.kind}: {event.data['why']}" for event in found]


def by_hand(fleet: Fleet, **weights: int) -> None:
    """What a person does on the balancer itself."""
    fleet.traffic.weights |= {name.replace("_", "-"): weight for name, weight in weights.items()}


def test_weights_that_are_as_desired_are_left_alone(fleet, here):
    changes = len(fleet.traffic.changes)
    assert look(fleet) == "as_desired"
    assert (len(fleet.traffic.changes), told()) == (changes, [])


def test_weights_changed_by_hand_are_put_right_and_told(fleet, here):
    by_hand(fleet, staging_1=0, staging_2=7)
    assert look(fleet) == "reasserted"
    assert fleet.traffic.read() == ALL
    assert told() == [
        "balancer.reasserted: it routed by staging-1 0, staging-2 7, staging-3 100, "
        "desired was staging-1 100, staging-2 100, staging-3 100"
    ]


def test_a_file_edited_by_hand_is_written_anew_and_told(fleet, here):
    fleet.traffic.spoilt = True
    assert look(fleet) == "reasserted"
    assert (fleet.traffic.spoilt, fleet.traffic.read()) == (False, ALL)
    assert told() == ["balancer.reasserted: its file was edited"]
    assert look(fleet) == "as_desired"


def test_a_balancer_that_lost_what_it_was_told_is_set_up_anew_with_healthy_hosts_alone(fleet, here):
    fleet.traffic.forgot = True
    fleet.sick.add(("staging-1", "1.0.0"))
    assert look(fleet) == "reasserted"
    assert fleet.traffic.read() == {**ALL, "staging-1": 0}
    assert told() == ["balancer.reasserted: it was set up anew: The balancer routes by nothing of ours."]


def test_a_balancer_that_lost_what_it_was_told_is_left_alone_where_no_host_is_healthy(fleet, here):
    fleet.traffic.forgot = True
    fleet.sick |= {(name, "1.0.0") for name in ALL}
    assert look(fleet) == "foreign"
    assert fleet.traffic.forgot


@pytest.mark.parametrize(("wrong", "said"), [("spoilt", "its file was edited"), ("forgot", "nothing of ours")])
def test_the_next_step_puts_right_what_somebody_did_to_the_file_and_says_so(fleet, here, wrong, said):
    second = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: second.steps.filter(kind="drain", status="passed").exists())
    setattr(fleet.traffic, wrong, True)
    fleet.play_until(lambda: second.steps.filter(kind="put_in", status="passed").exists())
    [step] = second.steps.filter(kind="put_in", status="passed")
    assert said in step.reason
    assert not getattr(fleet.traffic, wrong)
    fleet.run()
    second.refresh_from_db()
    assert second.status == "deployed", second.reason


def test_a_host_that_is_not_healthy_gets_no_traffic_by_it(fleet, here):
    by_hand(fleet, staging_1=0, staging_2=0)
    fleet.sick.add(("staging-1", "1.0.0"))
    assert look(fleet) == "reasserted"
    assert fleet.traffic.read() == {**ALL, "staging-1": 0}


def test_an_owed_host_gets_no_traffic_by_it(fleet, here):
    by_hand(fleet, staging_1=0, staging_2=0)
    Endpoint.objects.filter(host__name="staging-1").update(owed="not proven")
    look(fleet)
    assert fleet.traffic.read() == {**ALL, "staging-1": 0}


def test_while_a_deployment_is_under_way_nobody_else_moves_its_traffic(fleet, here):
    second = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: second.steps.filter(kind="take_out", status="passed").exists())
    out = fleet.traffic.read()
    by_hand(fleet, staging_2=7)
    assert look(fleet) == ""
    assert fleet.traffic.read() == {**out, "staging-2": 7}


def test_a_move_that_came_in_between_is_not_undone(fleet, here):
    [pool] = Pool.objects.all()
    fleet.traffic.set_weights({**ALL, "staging-1": 0}, fence=lease.next_fence())
    assert asserting.look(fleet.outside, BalancerNode.objects.get(), pool) is None
    assert fleet.traffic.read() == {**ALL, "staging-1": 0}


def test_a_balancer_that_does_not_answer_is_told_once(fleet, here):
    fleet.traffic.down = True
    assert look(fleet) == "unreachable"
    for _ in range(2):
        node = BalancerNode.objects.get()
        node.observed = {key: {**row, "at": "2026-01-01T00:00:00+00:00"} for key, row in node.observed.items()}
        node.save()
        asserting.assert_due(fleet.outside)
    assert told() == ["balancer.unreachable: The balancer does not answer."]


def test_it_is_looked_at_again_only_after_its_interval(fleet, here):
    BalancerNode.objects.update(observed={})
    assert [asserting.assert_due(fleet.outside) for _ in range(2)] == [1, 0]


def test_after_a_restore_nothing_is_put_right_before_a_person_has_accepted(fleet, here):
    Installation.objects.update(unproven="the database was restored")
    by_hand(fleet, staging_1=0)
    assert look(fleet) == ""
    assert fleet.traffic.read() == {**ALL, "staging-1": 0}
