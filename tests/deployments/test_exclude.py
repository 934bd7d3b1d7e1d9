"""A host that a person leaves out: the rest goes on, the host is owed, and a rollback does not forget it."""

import pytest

from aureus.journal.refusals import Conflict, Invalid
from deployments import lifecycle
from deployments.models import Deployment
from tests.deployments.conftest import ALICE, BOB
from tests.deployments.test_races import under_way  # noqa: F401 - a fixture
from tests.deployments.test_way_back import play_out


def exclude(deployment: Deployment, host: str) -> Deployment:
    return lifecycle.exclude(deployment.pk, actor=BOB, host=host, reason="its disk is broken")


def test_a_host_that_holds_it_up_is_left_out_and_converged_when_it_is_well(fleet):
    here = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    fleet.sick.add(("staging-1", "1.1.0"))
    second = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: second.steps.filter(kind="verify", attempts__gt=1).exists())
    exclude(second, "staging-1")
    fleet.run()
    second.refresh_from_db()
    assert (second.status, second.reason) == ("deployed", "every step passed; owed: staging-1")
    assert fleet.traffic.read() == {"staging-1": 0, "staging-2": 100, "staging-3": 100}
    assert here.endpoints.get(host__name="staging-1").owed == "excluded by bob: its disk is broken"
    fleet.sick.clear()
    lifecycle.converge(here, ["staging-1"], actor=BOB, reason="mended")
    fleet.run()
    assert set(fleet.running(here).values()) == {"1.1.0"}
    assert set(fleet.traffic.read().values()) == {100}
    assert here.endpoints.exclude(owed="").count() == 0


def test_a_host_left_out_before_its_turn_is_not_touched_and_a_rollback_lets_it_serve_again(fleet):
    here = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    second = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: second.steps.filter(kind="take_out", status="passed").exists())
    exclude(second, "staging-3")
    fleet.run()
    assert fleet.running(here)["staging-3"] == "1.0.0"
    assert fleet.traffic.read()["staging-3"] == 0
    lifecycle.roll_back(second.pk, actor=ALICE, reason="bad")
    fleet.run()
    assert set(fleet.running(here).values()) == {"1.0.0"}
    assert set(fleet.traffic.read().values()) == {100}
    assert here.endpoints.exclude(owed="").count() == 0


def test_a_rollback_goes_on_without_a_host_that_nobody_wants_to_wait_for(fleet):
    here = fleet.environment("staging")
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    rollback, _ = lifecycle.roll_back(second.pk, actor=ALICE, reason="bad")
    fleet.hosts.at("staging-2").unreachable = True
    fleet.play_until(lambda: rollback.steps.filter(target="staging-2", failures__gt=0).exists())
    exclude(rollback, "staging-2")
    play_out(fleet, rollback)
    rollback.refresh_from_db()
    assert (rollback.status, rollback.reason) == ("deployed", "every step passed; owed: staging-2")
    running = fleet.running(here)
    assert (running["staging-1"], running["staging-3"]) == ("1.0.0", "1.0.0")


def test_who_cannot_be_left_out_is_said(fleet, under_way):  # noqa: F811
    with pytest.raises(Invalid, match='no host of it is called "staging-9"; there is: staging-1, staging-2, staging-3'):
        exclude(under_way, "staging-9")
    with pytest.raises(Invalid, match="say why"):
        lifecycle.exclude(under_way.pk, actor=BOB, host="staging-1", reason=" ")
    exclude(under_way, "staging-1")
    with pytest.raises(Conflict, match="owed already: excluded by bob"):
        exclude(under_way, "staging-1")
    exclude(under_way, "staging-2")
    with pytest.raises(Conflict, match="the last host that serves"):
        exclude(under_way, "staging-3")
    lifecycle.abort(under_way.pk, actor=ALICE, reason="enough")
    with pytest.raises(Conflict, match="it is being aborted: aborted by alice"):
        exclude(under_way, "staging-3")


def test_a_host_that_has_arrived_stays_and_so_does_one_without_a_part(fleet, under_way):  # noqa: F811
    fleet.play_until(lambda: under_way.targets.filter(state="on_to").exists())
    with pytest.raises(Conflict, match="staging-1 has arrived already"):
        exclude(under_way, "staging-1")
    rollback, _ = lifecycle.roll_back(under_way.pk, actor=ALICE, reason="bad")
    with pytest.raises(Conflict, match="staging-3 has no part in it"):
        exclude(rollback, "staging-3")
    with pytest.raises(Conflict, match="the deployment is failed: a rollback by alice took its place"):
        exclude(under_way, "staging-2")


def test_before_the_start_a_host_is_retired_instead(fleet):
    fleet.environment("staging", approvals=1)
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    with pytest.raises(Conflict, match="it has not started: retire the host"):
        exclude(deployment, "staging-1")
