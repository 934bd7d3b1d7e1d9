"""A host's key is shown, compared by a person, and stored; a real SSH server shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aureus.journal.models import Event
from aureus.journal.refusals import Conflict, Invalid, NotFound
from deployments.drivers import Unreachable
from deployments.fleet import trust
from deployments.models import Environment, Host
from tests.deployments.conftest import ALICE
from tests.drivers.sshd import SSHServer, start_standin

OTHER = "SHA256:" + "b" * 43

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("sshd")
    started = start_standin(folder)
    yield started
    started.stop()


@pytest.fixture
def host(server: SSHServer) -> Host:
    environment = Environment.objects.create(name="staging")
    return Host.objects.create(
        environment=environment, name="s1", address="127.0.0.1", port=server.port, user="deploy", credential="agent"
    )


def test_the_key_that_a_host_shows_is_seen_without_logging_in_and_not_stored(host, server):
    seen = trust.look(host)
    assert (seen.shown, seen.is_new, seen.changed) == (server.fingerprint, True, False)
    host.refresh_from_db()
    assert host.fingerprint == ""


def test_a_key_is_stored_with_an_event_and_the_second_time_is_no_change(host, server):
    assert trust.store(trust.look(host), actor=ALICE)
    host.refresh_from_db()
    assert host.fingerprint == server.fingerprint
    event = Event.objects.get(kind="host.trusted")
    assert (event.stream, event.data["after"]) == ("environment:staging", server.fingerprint)
    assert not trust.store(trust.look(host), actor=ALICE)


def test_a_changed_key_is_not_stored_unless_that_is_said(host, server):
    Host.objects.update(fingerprint=OTHER)
    host.refresh_from_db()
    seen = trust.look(host)
    assert seen.changed
    with pytest.raises(Conflict, match=r"--replace") as caught:
        trust.store(seen, actor=ALICE)
    assert OTHER in caught.value.sentence
    assert server.fingerprint in caught.value.sentence
    assert Host.objects.get().fingerprint == OTHER
    assert trust.store(seen, actor=ALICE, replace=True)
    assert Host.objects.get().fingerprint == server.fingerprint


def test_a_fingerprint_read_on_the_machine_must_be_the_one_that_it_shows(host, server):
    assert trust.look(host, fingerprint=server.fingerprint).shown == server.fingerprint
    with pytest.raises(Conflict, match="Is this the right machine"):
        trust.look(host, fingerprint=OTHER)
    with pytest.raises(Invalid):
        trust.look(host, fingerprint="MD5:00")


def test_of_two_people_the_second_looks_again(host, server):
    seen = trust.look(host)
    Host.objects.update(fingerprint=OTHER)
    with pytest.raises(Conflict, match="meanwhile"):
        trust.store(seen, actor=ALICE)


def test_behind_a_bastion_the_fingerprint_has_to_be_read_on_the_machine(host):
    jump = Host.objects.create(environment=host.environment, name="jump", address="j", user="d", credential="agent")
    host.bastion = jump
    with pytest.raises(Conflict, match=r"reached through jump.*--fingerprint"):
        trust.look(host)
    assert trust.look(host, fingerprint=OTHER).shown == OTHER


def test_a_host_that_does_not_answer_is_a_sentence(host):
    def nobody(address: str, port: int) -> str:
        raise Unreachable("host unknown (127.0.0.1:1) cannot be reached: refused", code="no_route")

    with pytest.raises(Conflict, match="cannot be reached"):
        trust.look(host, fetch=nobody)


def test_a_host_is_found_by_name_and_where_it_stands_twice_by_its_environment(host):
    assert trust.find("s1").pk == host.pk
    other = Environment.objects.create(name="production")
    Host.objects.create(environment=other, name="s1", address="x", user="d", credential="agent")
    with pytest.raises(Conflict, match="--environment"):
        trust.find("s1")
    assert trust.find("s1", "staging").pk == host.pk
    Host.objects.filter(environment=other).update(state="retired")
    assert trust.find("s1").pk == host.pk
    with pytest.raises(NotFound, match="aureus apply"):
        trust.find("s9")
