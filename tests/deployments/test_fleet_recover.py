"""After the database was restored to the past: hosts are compared with the record, and believed if a person says so."""

from __future__ import annotations

import pytest

from aureus import lease
from aureus.journal.models import Event
from aureus.journal.refusals import Invalid, NotFound
from deployments import lifecycle
from deployments.fleet import recover
from deployments.models import Endpoint, Installation, Pool
from tests.deployments.conftest import ALICE, ROOT, Fleet

FUTURE = 10**9


@pytest.fixture
def here(fleet: Fleet) -> Installation:
    """Hosts that went on to 1.1.0 under fences which this database does not know of."""
    installation = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    for number, name in enumerate(("staging-1", "staging-2", "staging-3")):
        site = fleet.hosts.at(name).site(ROOT)
        site.fence = FUTURE + number
        site.slots["main"] = "1.1.0-0123456789ab"
    fleet.hosts.at("staging-lb").site("/srv/lb").fence = FUTURE + 7
    return installation


def test_the_look_tells_record_observation_and_fence_and_changes_nothing(fleet, here):
    before = Event.objects.count()
    found = recover.look(fleet.outside)
    assert found.needed
    assert (found.fence, found.known) == (FUTURE + 7, lease.highest_fence())
    [place] = found.places
    assert next((one.endpoint.name, one.runs) for one in place.differs) == ("staging-1", "1.1.0-0123456789ab")
    assert place.unknown == {"1.1.0-0123456789ab"}
    assert "register 1.1.0 again" in recover.advice(place)
    assert Event.objects.count() == before
    assert Endpoint.objects.filter(recorded="1.1.0-0123456789ab").count() == 0


def test_accepting_raises_the_fences_takes_the_record_and_ends_the_hold(fleet, here):
    Installation.objects.update(held="a fence from the future")
    Pool.objects.update(weights={"staging-1": 0, "staging-2": 100, "staging-3": 100})
    recover.accept(recover.look(fleet.outside), actor=ALICE, reason="restored from Monday's dump")
    assert lease.next_fence() > FUTURE + 7
    assert set(Endpoint.objects.values_list("recorded", flat=True)) == {"1.1.0-0123456789ab"}
    here.refresh_from_db()
    assert here.held == ""
    assert Pool.objects.get().weights == {"staging-1": 100, "staging-2": 100, "staging-3": 100}
    event = Event.objects.get(kind="installation.recovered")
    assert (event.actor, event.data["was_held"]) == ("alice", "a fence from the future")
    assert event.data["hosts"]["staging-1"]["fence"] == FUTURE


def test_fences_are_never_lowered(fleet, here):
    found = recover.look(fleet.outside)
    lease.highest_fence()
    recover._raise_fences(FUTURE * 2)
    high = lease.highest_fence()
    recover.accept(found, actor=ALICE, reason="again")
    assert lease.highest_fence() == high


def test_what_the_restored_database_believes_to_be_open_never_starts(fleet, here):
    waiting = lifecycle.deploy(fleet.version("1.0.5").pk, "staging", actor=ALICE)
    recover.accept(recover.look(fleet.outside), actor=ALICE, reason="restored")
    waiting.refresh_from_db()
    assert (waiting.status, waiting.outcome) == ("failed", "abandoned")
    fleet.run()
    assert set(fleet.running(here).values()) == {"1.1.0"}


def test_afterwards_deployments_go_on(fleet, here):
    recover.accept(recover.look(fleet.outside), actor=ALICE, reason="restored")
    deployment = lifecycle.deploy(fleet.version("1.2.0").pk, "staging", actor=ALICE)
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "deployed", deployment.reason


def test_a_host_that_is_not_reached_is_named_and_keeps_its_record(fleet, here):
    fleet.hosts.at("staging-2").unreachable = True
    found = recover.look(fleet.outside)
    assert found.unreached == ["staging-2"]
    before = Endpoint.objects.get(host__name="staging-2").recorded
    recover.accept(found, actor=ALICE, reason="restored")
    assert Endpoint.objects.get(host__name="staging-2").recorded == before


def test_a_database_that_is_as_the_hosts_are_needs_nothing(fleet):
    fleet.environment("staging")
    fleet.deployed("1.0.0")
    assert not recover.look(fleet.outside).needed


def test_a_reason_and_a_known_environment_are_demanded(fleet, here):
    with pytest.raises(Invalid):
        recover.accept(recover.look(fleet.outside), actor=ALICE, reason=" ")
    with pytest.raises(NotFound):
        recover.look(fleet.outside, environment="moon")
