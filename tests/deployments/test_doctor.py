"""What the doctor says of a setup, and that it only looks."""

import os
from dataclasses import replace

import pytest

from deployments import doctor, lifecycle
from deployments.doctor import State, machines, servers
from deployments.doctor.findings import GIB
from deployments.doctor.machines import HostSeen
from deployments.drivers.traffic import Shortcoming
from deployments.models import Endpoint, Host, Installation
from health import canaries
from health.models import Canary

WELL = HostSeen(
    "web-1", "production", disk_free=90 * GIB, inodes_free=10**6, disk_size=100 * GIB, largest=GIB, files=2000,
    cores=8, memory=16 * GIB, clock_off=0.2, unit="shop.service", restart="yes",
)  # fmt: skip


def examined(fleet) -> list[doctor.Finding]:
    return list(doctor.examine(fleet.outside, lambda what: None))


def said(found, about: str, state: State) -> str:
    return " | ".join(f"{f.sentence} -> {f.remedy}" for f in found if f.about.startswith(about) and f.state is state)


def test_a_host_as_the_guide_wants_it_is_well():
    assert {f.state for f in machines.host(WELL)} == {State.OK}


@pytest.mark.parametrize(
    ("changed", "state", "words"),
    [
        ({"code": "host_key_unknown", "error": "no key is pinned"}, State.FAILED, "hosts trust web-1 -e production"),
        ({"code": "host_key_mismatch", "error": "another key"}, State.FAILED, "aureus hosts trust web-1"),
        ({"code": "auth_refused", "error": "it does not take our key"}, State.FAILED, "authorized_keys"),
        ({"code": "no_route", "error": "no route"}, State.FAILED, "firewall"),
        ({"code": "no_root", "error": "no root"}, State.FAILED, "give it to the user"),
        ({"missing_tools": ("flock",)}, State.FAILED, "install flock"),
        ({"disk_free": GIB}, State.FAILED, "free space"),
        ({"disk_free": 3 * GIB}, State.WARNING, "4 are kept"),
        ({"inodes_free": 100}, State.FAILED, "2000 files"),
        ({"restart": "no"}, State.FAILED, "NOPASSWD: /usr/bin/systemctl restart shop.service"),
        ({"halt": "no"}, State.FAILED, "NOPASSWD: /usr/bin/systemctl stop shop.service"),
        ({"restart": "unsure"}, State.WARNING, "asks for a password cannot be told say it once as our user"),
        ({"unit_known": False}, State.FAILED, "no unit shop.service"),
        ({"clock_off": -90.0}, State.WARNING, "-90 s off"),
        ({"cores": 4}, State.WARNING, "8 cores"),
        ({"memory": 8 * GIB}, State.WARNING, "a production server should have"),
    ],
)  # fmt: skip
def test_each_thing_that_is_wrong_with_a_host_is_said_with_what_to_do(changed, state, words):
    found = [f for f in machines.host(replace(WELL, **changed)) if f.state is not State.OK]
    assert [f.state for f in found] == [state]
    assert words in f"{found[0].sentence} {found[0].remedy}"
    assert found[0].remedy


def test_an_environment_that_the_guide_does_not_size_is_not_measured():
    assert {f.state for f in machines.host(replace(WELL, environment="test", cores=1))} == {State.OK}


def test_a_machine_of_the_size_that_was_bought_is_large_enough():
    assert [f.state for f in machines.sizes("x", 2, int(3.9 * GIB), 10 * GIB, machines.CONTROL)] == [State.OK]


def test_a_setup_is_examined_and_nothing_is_changed(fleet):
    here = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    canaries.answered(canaries.names())
    rows = {model: list(model.objects.order_by("pk").values()) for model in (Endpoint, Host, Installation)}
    calls = {name: len(machine.calls) for name, machine in fleet.hosts.machines.items()}
    found = examined(fleet)
    assert said(found, "host staging-1", State.FAILED) == ""
    assert "3 of 3 hosts of shop get traffic" in said(found, "balancer lb", State.OK)
    assert "no way back" in said(found, str(here), State.WARNING)
    assert said(found, "queue deploy", State.OK)
    assert {model: list(model.objects.order_by("pk").values()) for model in rows} == rows
    for name, machine in fleet.hosts.machines.items():
        assert {verb for verb, _ in machine.calls[calls.get(name, 0) :]} <= {"facts", "run", "read"}


@pytest.mark.parametrize(("sure", "state"), [(True, State.FAILED), (False, State.WARNING)])
def test_what_a_balancers_machine_lacks_is_told_with_what_to_do(fleet, sure, state):
    fleet.environment("staging", balanced=True)
    fleet.traffic.lacks = (Shortcoming("sudo may not let our user reload", "write the line into sudoers", sure),)
    finding = next(one for one in examined(fleet) if one.about.startswith("balancer lb"))
    assert (finding.state, finding.sentence, finding.remedy) == (state, *fleet.traffic.lacks[0][:2])


def test_a_machine_that_only_balances_is_asked_for_its_disk_and_its_clock(fleet):
    fleet.environment("staging", balanced=True)
    assert "are free on its disk" in " ".join(f.sentence for f in examined(fleet) if f.about.startswith("balancer lb"))
    Endpoint.objects.filter(host__name="staging-1").update(host=Host.objects.get(name="staging-lb"))
    assert "are free" not in " ".join(f.sentence for f in examined(fleet) if f.about.startswith("balancer lb"))


@pytest.mark.parametrize(
    ("free", "inodes", "state"),
    [
        (50 * GIB, 10**6, State.OK),
        (50 * GIB, None, State.OK),
        (5 * GIB, 10**6, State.WARNING),
        (2**20, 10**6, State.FAILED),
        (50 * GIB, 0, State.FAILED),
    ],
)
def test_a_balancer_needs_room_for_its_files_and_its_logs(free, inodes, state):
    assert [f.state for f in machines.balancer("x", 100 * GIB, free, inodes)] == [state]


@pytest.mark.parametrize(("off", "found"), [(0.4, []), (-31.0, ["PostgreSQL"]), (300.0, ["PostgreSQL"])])
def test_a_clock_that_is_not_ours_is_told(off, found):
    assert [f.about for f in machines.clock("PostgreSQL", off)] == found


@pytest.mark.django_db
def test_the_clock_of_the_database_is_asked_for():
    """It runs on this machine: what is measured is how long the question took, at the most."""
    assert abs(servers._clock_off()) < 5


def test_hosts_that_would_fail_a_deployment_are_found(fleet):
    fleet.environment("staging")
    fleet.hosts.at("staging-1").unreachable = True
    fleet.hosts.at("staging-2").missing_tools = ("flock",)
    Host.objects.filter(name="staging-3").update(fingerprint="")
    found = examined(fleet)
    assert "cannot be reached" in said(found, "host staging-1", State.FAILED)
    assert "install flock" in said(found, "host staging-2", State.FAILED)
    assert "aureus hosts trust staging-3 -e staging" in said(found, "host staging-3", State.FAILED)


def test_silent_workers_and_a_broker_that_is_away_are_found(fleet):
    Canary.objects.all().delete()
    found = examined(fleet)
    assert "start aureus up" in said(found, "queue rollback", State.FAILED)
    assert said(found, "Beat", State.FAILED)
    assert "rollbacks go on without" in said(found, "Redis", State.FAILED)


def test_a_redis_that_may_drop_messages_is_found():
    told = {"redis_version": "7.0.15", "maxmemory": 100, "used_memory": 90, "maxmemory_policy": "allkeys-lru"}
    found = list(servers._redis(told, 0.2))
    assert [f.state for f in found] == [State.OK, State.WARNING, State.WARNING, State.WARNING]


def test_the_database_of_the_tests_is_told_to_be_unsafe(fleet):
    """It runs without fsync, which is just what the doctor has to see."""
    found = examined(fleet)
    assert "fsync is off" in said(found, "PostgreSQL", State.FAILED)
    assert "synchronous_commit is off" in said(found, "PostgreSQL", State.WARNING)


def test_what_waits_for_a_person_and_a_lax_production_are_said(fleet):
    here = fleet.environment("production", hosts=2)
    endpoint = here.endpoints.first()
    Endpoint.objects.filter(pk=endpoint.pk).update(owed="it was cut off")
    Installation.objects.filter(pk=here.pk).update(held="restored")
    found = examined(fleet)
    assert "approvals: 1" in said(found, "environment production", State.WARNING)
    assert "promote_from: staging" in said(found, "environment production", State.WARNING)
    assert "declare its balancer" in said(found, str(here), State.WARNING)
    assert "aureus converge production --host production-1" in said(found, str(here), State.FAILED)
    assert "aureus recover" in said(found, str(here), State.FAILED)


def test_with_two_good_versions_there_is_a_way_back(fleet):
    here = fleet.environment("staging")
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    assert lifecycle.current_of(here) == second
    assert "1 good version(s) to go back to" in said(examined(fleet), str(here), State.OK)


def test_the_question_about_passwordless_restart_is_answered_by_a_real_shell(fleet):
    here = fleet.environment("staging", hosts=1)
    Installation.objects.filter(pk=here.pk).update(restart="", unit="no-such-unit.service")
    found = said(examined(fleet), "host staging-1", State.FAILED)
    assert "systemd knows no unit no-such-unit.service" in found
    if os.geteuid() != 0:
        assert "is not allowed without a password" in found
