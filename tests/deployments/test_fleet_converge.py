"""Owed and drifted hosts are brought where the record says they belong, and nobody else is touched."""

from __future__ import annotations

import pytest

from aureus import lease
from aureus.journal.refusals import Conflict, NotFound
from deployments import lifecycle
from deployments.fleet import converge
from deployments.models import Deployment, Endpoint, Host, Installation, Pool
from tests.deployments.conftest import ALICE, ROOT, Fleet
from tests.deployments.test_lifecycle import fail_verify_by_deadline


@pytest.fixture
def here(fleet: Fleet) -> Installation:
    installation = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    fleet.deployed("1.1.0")
    return installation


def drift(fleet: Fleet, host: str, number: str = "1.0.0") -> None:
    """Somebody has switched a host by hand."""
    site = fleet.hosts.at(host).site(ROOT)
    site.slots["main"] = next(content for content in site.releases if content.startswith(number))


def begun(fleet: Fleet, **scope: str) -> Deployment:
    [found] = converge.begin(converge.look("staging", fleet.outside, **scope), actor=ALICE)
    assert found.deployment is not None, found.why
    return found.deployment


def current(here: Installation) -> Deployment:
    found = lifecycle.current_of(here)
    assert found is not None
    return found


def restarts(fleet: Fleet) -> dict[str, int]:
    return {name: fleet.hosts.at(name).site(ROOT).restarts for name in ("staging-1", "staging-2", "staging-3")}


def owe(host: str) -> None:
    Endpoint.objects.filter(host__name=host).update(owed="it was not healthy", serving=False)


def test_a_drifted_host_is_found_and_brought_back_and_nobody_else_restarts(fleet, here):
    drift(fleet, "staging-2")
    before = restarts(fleet)
    deployment = begun(fleet)
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "deployed", deployment.reason
    assert set(fleet.running(here).values()) == {"1.1.0"}
    changed = {name for name, count in restarts(fleet).items() if count > before[name]}
    assert changed == {"staging-2"}
    assert fleet.traffic.read() == {"staging-1": 100, "staging-2": 100, "staging-3": 100}


def test_a_host_that_lost_its_link_is_brought_back(fleet, here):
    fleet.hosts.at("staging-2").site(ROOT).slots.pop("main")
    deployment = begun(fleet)
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "deployed", deployment.reason
    assert set(fleet.running(here).values()) == {"1.1.0"}


def test_an_owed_host_serves_again_and_is_owed_no_more(fleet, here):
    owe("staging-3")
    weights = {"staging-1": 100, "staging-2": 100, "staging-3": 0}
    Pool.objects.update(weights=weights)
    fleet.traffic.set_weights(weights, fence=lease.next_fence())
    deployment = begun(fleet, host="staging-3")
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "deployed"
    assert Endpoint.objects.get(host__name="staging-3").owed == ""
    assert fleet.traffic.read()["staging-3"] == 100


def test_an_owed_host_that_runs_the_right_version_and_is_not_healthy_is_restarted(fleet, here):
    owe("staging-3")
    fleet.sick.add(("staging-3", "1.1.0"))
    site = fleet.hosts.at("staging-3").site(ROOT)
    before = site.restarts
    begun(fleet, host="staging-3")
    fleet.play_until(lambda: site.restarts > before)
    fleet.sick.clear()
    fleet.run()
    assert site.restarts == before + 1
    assert Endpoint.objects.get(host__name="staging-3").owed == ""


def test_a_host_that_was_added_later_gets_the_current_version(fleet, here):
    fleet._host(here.environment, "staging-4", 4)
    Endpoint.objects.create(installation=here, host=Host.objects.get(name="staging-4"), port=8000)
    begun(fleet)
    fleet.run()
    assert fleet.running(here)["staging-4"] == "1.1.0"
    assert fleet.traffic.read()["staging-4"] == 100


def test_where_everything_is_where_it_belongs_nothing_is_begun(fleet, here):
    [found] = converge.begin(converge.look("staging", fleet.outside), actor=ALICE)
    assert (found.deployment, found.why) == (None, "every host that was reached is where it belongs")


def test_a_host_that_is_not_reached_is_said_and_left_alone(fleet, here):
    drift(fleet, "staging-2")
    fleet.hosts.at("staging-1").unreachable = True
    [found] = converge.look("staging", fleet.outside)
    assert [one.endpoint.name for one in found.seen if one.error] == ["staging-1"]
    assert [one.endpoint.name for one in found.astray] == ["staging-2"]


def test_a_host_that_stays_sick_is_owed_and_the_others_keep_their_version(fleet, here):
    drift(fleet, "staging-2")
    fleet.sick.add(("staging-2", "1.1.0"))
    deployment = begun(fleet)
    fail_verify_by_deadline(fleet, deployment)
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "error")
    assert not deployment.rollbacks.exists()
    assert fleet.running(here)["staging-1"] == "1.1.0"
    assert Endpoint.objects.get(host__name="staging-2").owed


def test_it_does_not_become_current_and_a_rollback_covers_what_it_brought(fleet, here):
    origin = current(here)
    fleet._host(here.environment, "staging-4", 4)
    Endpoint.objects.create(installation=here, host=Host.objects.get(name="staging-4"), port=8000)
    deployment = begun(fleet)
    fleet.run()
    assert current(here) == origin
    with pytest.raises(Conflict, match=str(origin.pk)):
        lifecycle.roll_back(deployment.pk, actor=ALICE, reason="no")
    lifecycle.roll_back(origin.pk, actor=ALICE, reason="customers complain")
    fleet.run()
    assert set(fleet.running(here).values()) == {"1.0.0"}, "the host that came later goes back with the others"


def test_what_it_could_not_finish_is_not_undone_by_an_abort(fleet, here):
    drift(fleet, "staging-2")
    fleet.sick.add(("staging-2", "1.1.0"))
    deployment = begun(fleet)
    fleet.play_until(lambda: deployment.steps.filter(kind="activate", status="passed").exists())
    lifecycle.abort(deployment.pk, actor=ALICE, reason="enough")
    fleet.run()
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "aborted")
    assert not deployment.rollbacks.exists()
    assert Endpoint.objects.get(host__name="staging-2").owed


def test_after_a_rollback_hosts_belong_where_it_brought_each_of_them(fleet, here):
    lifecycle.roll_back(current(here).pk, actor=ALICE, reason="bad")
    fleet.run()
    drift(fleet, "staging-1", "1.1.0")
    begun(fleet)
    fleet.run()
    assert set(fleet.running(here).values()) == {"1.0.0"}


def test_nothing_is_converged_under_a_running_deployment_or_on_hold(fleet, here):
    drift(fleet, "staging-1")
    lifecycle.deploy(fleet.version("1.2.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: Deployment.objects.filter(status="in_progress").exists())
    [found] = converge.begin(converge.look("staging", fleet.outside), actor=ALICE)
    assert "let it end first" in found.why
    fleet.run()
    drift(fleet, "staging-1")
    Installation.objects.update(held="run aureus recover")
    [found] = converge.begin(converge.look("staging", fleet.outside), actor=ALICE)
    assert "is held: run aureus recover" in found.why


def test_a_fence_from_a_future_holds_the_installation(fleet, here):
    fleet.hosts.at("staging-1").site(ROOT).fence = 10**12
    [found] = converge.look("staging", fleet.outside)
    assert "run aureus recover" in found.why
    here.refresh_from_db()
    assert here.held


def test_where_nothing_was_deployed_it_says_so(fleet):
    fleet.environment("staging")
    [found] = converge.look("staging", fleet.outside)
    assert found.why == "nothing is deployed there: deploy a version"
    with pytest.raises(NotFound):
        converge.look("moon", fleet.outside)
    with pytest.raises(NotFound):
        converge.look("staging", fleet.outside, host="moon")


def test_an_abort_of_it_ends_once_what_a_lost_worker_left_is_stopped(fleet, here):
    """Its stages have patience for hosts that are away, not for what was stopped."""
    deployment = lifecycle.converge(here, ["staging-1"], actor=ALICE, reason="astray")
    fleet.play_until(lambda: deployment.steps.filter(kind="look", status="passed").exists())
    assert lifecycle.advance(deployment.pk, "rollback").claims
    deployment.steps.filter(status="running").update(lease_until="2026-01-01T00:00:00Z")
    lifecycle.abort(deployment.pk, actor=ALICE, reason="not now")
    fleet.run(rounds=10)
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "aborted")
