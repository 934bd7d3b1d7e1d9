"""The looks between deployments: what is seen becomes a row, a state, an event, and by policy an incident."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections

from aureus import clock
from aureus.journal.models import Event
from deployments import lifecycle, metrics
from deployments.drivers.fake_hosts import FakeHost
from deployments.engine.truth import Standing
from deployments.explain import explain
from deployments.fleet import looking
from deployments.models import Deployment, Endpoint, Environment, Host, Incident, Installation, Sighting
from tests.deployments.conftest import ALICE, ROOT, Fleet

EVERY = 300.0
READS = {"facts", "status", "workflow", "logs", "diagnose", "read"}


@pytest.fixture
def here(fleet: Fleet) -> Installation:
    installation = fleet.environment("staging", incidents=["drifted", "flapping", "unreachable"])
    fleet.deployed("1.0.0")
    return installation


def look(fleet: Fleet, times: int = 1) -> None:
    """Every endpoint, so often."""
    for _ in range(times):
        Endpoint.objects.update(look_at=None)
        looking.take_round(fleet.outside, EVERY)


def machine(fleet: Fleet, number: int = 2) -> FakeHost:
    return fleet.hosts.at(f"staging-{number}")


def endpoint(number: int = 2) -> Endpoint:
    return Endpoint.objects.get(host__name=f"staging-{number}")


def drift(fleet: Fleet) -> None:
    machine(fleet).site(ROOT).slots["main"] = "0.9.0-000000000000"


def told() -> list[str]:
    return list(Event.objects.filter(kind__startswith="endpoint.").order_by("seq").values_list("kind", flat=True))


def incidents(**which: object) -> list[str]:
    return [one.text for one in Incident.objects.filter(endpoint__isnull=False, **which)]


def metric(name: str) -> dict[str, float]:
    [found] = [one for one in metrics.Rows().collect() if one.name == name]
    return {sample.labels["environment"]: sample.value for sample in found.samples}


def test_a_look_only_reads_and_says_that_all_is_as_recorded(fleet, here):
    for one in fleet.hosts.machines.values():
        one.calls.clear()
    look(fleet)
    assert {verb for one in fleet.hosts.machines.values() for verb, _ in one.calls} == {"facts"}
    assert set(Endpoint.objects.values_list("state", flat=True)) == {Standing.AS_RECORDED}
    seen = Sighting.objects.filter(endpoint=endpoint()).get()
    assert (seen.reached, seen.healthy, seen.version) == (True, True, "1.0.0")
    assert seen.content == endpoint().recorded
    assert endpoint().state_since is not None
    assert not incidents()


def test_drift_is_believed_at_the_second_look_told_once_and_over_when_it_is_over(fleet, here):
    look(fleet)
    was = machine(fleet).site(ROOT).slots["main"]
    drift(fleet)
    look(fleet)
    assert (endpoint().state, incidents()) == (Standing.AS_RECORDED, [])
    soon = clock.now() + timedelta(seconds=EVERY / 5)
    assert Endpoint.objects.filter(pk=endpoint().pk, look_at__lt=soon).exists(), "it is looked at again soon"
    look(fleet, 2)
    assert endpoint().state == Standing.DRIFTED
    assert endpoint().why == f"its link is on 0.9.0-000000000000, the record says {was}"
    [text] = incidents(resolved_at=None)
    assert text.startswith("staging-2 of shop in staging is drifted: its link is on")
    assert metric("aureus_drifting_endpoints") == {"staging": 1}
    machine(fleet).site(ROOT).slots["main"] = was
    machine(fleet).site(ROOT).fence += 1  # by an act of ours: nobody swings back and forth
    looking.lease.next_fence()
    look(fleet)
    assert endpoint().state == Standing.AS_RECORDED
    assert (incidents(resolved_at=None), incidents(resolved_by="aureus")) == ([], [text])
    assert [kind for kind in told() if kind != "endpoint.as_recorded"] == ["endpoint.drifted"]


def test_what_swings_back_and_forth_is_flapping_not_drifted(fleet, here):
    look(fleet)
    was = machine(fleet).site(ROOT).slots["main"]
    for content in ("0.9.0-000000000000", was):
        machine(fleet).site(ROOT).slots["main"] = content
        look(fleet)
    assert endpoint().state == Standing.FLAPPING
    assert metric("aureus_flapping_endpoints") == {"staging": 1}


def test_a_service_that_restarts_again_and_again_is_flapping(fleet, here):
    for count in (0, 2, 3):
        machine(fleet).own_restarts = count
        look(fleet)
    assert endpoint().why == "its service restarted 3 times within 60 minutes"
    assert len(incidents(resolved_at=None)) == 1
    Sighting.objects.update(at=clock.now() - timedelta(minutes=61))
    look(fleet)
    assert endpoint().state == Standing.AS_RECORDED
    assert incidents(resolved_at=None) == []


def test_restarts_by_our_own_deployments_are_none_of_it(fleet, here):
    look(fleet)
    for number in ("1.1.0", "1.2.0", "1.3.0", "1.4.0"):
        fleet.deployed(number)
        look(fleet)
    assert set(Endpoint.objects.values_list("state", flat=True)) == {Standing.AS_RECORDED}


def test_a_host_out_of_reach_is_told_at_the_third_look(fleet, here):
    look(fleet)
    machine(fleet).unreachable = True
    look(fleet, 2)
    assert endpoint().state == Standing.AS_RECORDED
    look(fleet)
    assert (endpoint().state, metric("aureus_unreachable_endpoints")) == (Standing.UNREACHABLE, {"staging": 1})
    assert endpoint().observed == endpoint().recorded, "what was seen last stands"
    machine(fleet).unreachable = False
    look(fleet)
    assert (endpoint().state, incidents(resolved_at=None)) == (Standing.AS_RECORDED, [])


def test_an_owed_host_is_owed_whatever_is_seen(fleet, here):
    Endpoint.objects.filter(pk=endpoint().pk).update(owed="it was not healthy")
    look(fleet)
    assert (endpoint().state, endpoint().why) == (Standing.OWED, "it was not healthy")


def test_a_fence_from_a_future_holds_the_installation(fleet, here):
    machine(fleet).site(ROOT).fence = 10**12
    look(fleet)
    here.refresh_from_db()
    assert (endpoint().state, "run aureus recover" in here.held) == (Standing.AHEAD, True)


def test_where_the_policy_does_not_say_so_nobody_is_called(fleet):
    fleet.environment("staging")
    fleet.deployed("1.0.0")
    look(fleet)
    drift(fleet)
    look(fleet, 2)
    assert (endpoint().state, incidents()) == (Standing.DRIFTED, [])
    assert told()[-1] == "endpoint.drifted"


def test_a_deployment_ends_the_drift_it_overwrites(fleet, here):
    drift(fleet)
    look(fleet, 2)
    fleet.deployed("1.1.0")
    looking.take_round(fleet.outside, EVERY)  # it is due by itself, since a deployment has ended there
    assert (endpoint().state, incidents(resolved_at=None)) == (Standing.AS_RECORDED, [])


def test_a_host_under_deployment_is_left_to_the_engine(fleet, here):
    elsewhere = fleet.environment("other", hosts=1)
    lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: Deployment.objects.filter(status="in_progress").exists())
    Endpoint.objects.update(look_at=None)
    claimed = looking.claim_due(EVERY)
    assert claimed == [elsewhere.endpoints.get().pk]
    fleet.run()
    assert len(looking.claim_due(EVERY)) == 3


def test_a_look_that_a_deployment_overtook_says_nothing(fleet, here):
    began = clock.now()
    drifted = looking.look(endpoint_with_rows(), fleet.outside)
    fleet.deployed("1.1.0")
    assert looking.keep(endpoint(), drifted, began=began, every=EVERY) is None
    assert not Sighting.objects.exists()


def endpoint_with_rows() -> Endpoint:
    rows = Endpoint.objects.select_related("host__bastion", "installation__environment", "installation__application")
    return rows.get(host__name="staging-2")


def test_each_endpoint_is_claimed_once_and_again_after_its_interval(fleet, here):
    Endpoint.objects.update(look_at=None)
    assert len(looking.claim_due(EVERY)) == 3
    assert looking.claim_due(EVERY) == []
    now = clock.now()
    waits = {(one - now).total_seconds() for one in Endpoint.objects.values_list("look_at", flat=True) if one}
    assert len(waits) == 3 and all(0.89 * EVERY < wait < 1.11 * EVERY for wait in waits)


def test_two_rounds_at_once_share_the_work_and_never_an_endpoint(fleet):
    env = Environment.objects.create(name="wide", policy={})
    here = fleet.environment("staging", hosts=1)
    for number in range(60):
        host = Host.objects.create(environment=env, name=f"w{number}", address="w", user="d", credential="agent")
        Endpoint.objects.create(installation=here, host=host, port=8000)
    taken: list[int] = []
    start = threading.Barrier(4)

    def claim() -> None:
        start.wait()
        while ids := looking.claim_due(EVERY, limit=5):
            taken.extend(ids)
        connections.close_all()

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(taken) == sorted(Endpoint.objects.values_list("pk", flat=True))


def test_while_one_round_is_under_way_another_does_nothing(fleet, here):
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [looking.LOCK])
            held.set()
            done.wait(30)
            # A server process that was left alone ends some time later, and its lock with it.
            cursor.execute("SELECT pg_advisory_unlock(%s)", [looking.LOCK])
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    Endpoint.objects.update(look_at=None)
    assert looking.take_round(fleet.outside, EVERY) == 0
    done.set()
    thread.join(30)
    assert looking.take_round(fleet.outside, EVERY) == 3


def test_old_sightings_are_deleted(fleet, here):
    look(fleet)
    Sighting.objects.update(at=clock.now() - looking.KEEP - timedelta(minutes=1))
    look(fleet)
    assert Sighting.objects.count() == 3


def test_the_explanation_of_what_is_deployed_names_the_host_that_strayed(fleet, here):
    look(fleet)
    drift(fleet)
    look(fleet, 2)
    current = lifecycle.current_of(here)
    assert current is not None
    [said] = [one for one in explain(current).evidence if one["kind"] == "host"]
    assert (said["host"], said["status"]) == ("staging-2", "drifted")
