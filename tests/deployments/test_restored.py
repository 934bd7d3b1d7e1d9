"""A real dump is restored: nothing is changed on any host until everything proves as recorded, or a person accepts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection, connections

from aureus.embedded.postgres import Postgres
from aureus.journal.models import Event
from aureus.journal.refusals import Conflict
from deployments import execution, identity, leases, lifecycle
from deployments.fleet import converge, proving, recover
from deployments.models import Deployment, Endpoint, Identity, Incident, Installation, Step
from tests.deployments.conftest import ALICE, ROOT, Fleet

READS = {"facts", "status", "workflow", "logs", "diagnose", "read"}
LONG_AGO = "2026-01-01T00:00:00Z"


class Dumps:
    """pg_dump and pg_restore of the test's own database."""

    def __init__(self, postgres: Postgres, folder: Path) -> None:
        self.postgres, self.file = postgres, folder / "aureus.dump"
        self.name = str(connection.settings_dict["NAME"])

    def run(self, program: str, *words: str) -> None:
        where = ["-h", "127.0.0.1", "-p", str(self.postgres.port), "-U", "aureus"]
        command = [str(self.postgres.programs / program), *where, *words]
        done = subprocess.run(
            command,
            env={**os.environ, "PGPASSWORD": self.postgres.password},
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr

    def dump(self) -> None:
        self.run("pg_dump", "-Fc", "-f", str(self.file), self.name)

    def restore(self) -> None:
        """Over what is there, as people do in a hurry. Connections of ours stay as they are."""
        self.run("pg_restore", "--clean", "--if-exists", "-d", self.name, str(self.file))

    def restore_elsewhere(self) -> None:
        """Into a database of another name, which takes the place of the first."""
        self.run("createdb", f"{self.name}_new")
        self.run("pg_restore", "-d", f"{self.name}_new", str(self.file))
        self.use(f"{self.name}_new")

    def use(self, name: str) -> None:
        connections["default"].close()
        connections["default"].settings_dict["NAME"] = name


@pytest.fixture
def dumps(fleet: Fleet, postgres: Postgres, tmp_path: Path) -> Iterator[Dumps]:
    made = Dumps(postgres, tmp_path)
    yield made
    identity.notice()  # so that the next test's record is believed
    if connections["default"].settings_dict["NAME"] != made.name:
        made.use(made.name)
        made.run("dropdb", "--if-exists", f"{made.name}_new")


@pytest.fixture
def here(fleet: Fleet) -> Installation:
    installation = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    return installation


def play(fleet: Fleet, rounds: int = 8) -> None:
    """Sweeps and workers, each wait made due, whether or not it comes to rest."""
    for _ in range(rounds):
        for deployment_id, lane in [*leases.sweep(), *fleet.hints]:
            execution.work_on(deployment_id, lane, fleet.outside, fleet.hint)
        fleet.hints = []
        Deployment.objects.filter(wake_at__isnull=False).update(wake_at=LONG_AGO, hinted_at=None)
        Step.objects.filter(status="running").update(lease_until=LONG_AGO)


def changes(fleet: Fleet) -> int:
    """Calls so far that change something, on hosts and at the balancer."""
    calls = [verb for machine in fleet.hosts.machines.values() for verb, _ in machine.calls]
    return sum(verb not in READS for verb in calls) + len(fleet.traffic.changes)


def prove(fleet: Fleet) -> list[Installation]:
    Installation.objects.filter(prove_at__isnull=False).update(prove_at=LONG_AGO)
    return proving.prove_due(fleet.outside)


def to_the_end(fleet: Fleet) -> None:
    """A newer version, finished."""
    fleet.deployed("1.1.0")


def to_the_first_host(fleet: Fleet) -> None:
    """A newer version that has reached one host."""
    lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    passed = Step.objects.filter(kind="activate", target="staging-1", status="passed", deployment__status="in_progress")
    fleet.play_until(passed.exists)


def only_one_host(fleet: Fleet) -> None:
    """Two of three hosts have seen nothing since the dump."""
    fleet.hosts.at("staging-1").site(ROOT).slots.pop("main")
    converge.begin(converge.look("staging", fleet.outside), actor=ALICE)
    fleet.run()


@pytest.mark.parametrize("meanwhile", [to_the_end, to_the_first_host, only_one_host])
def test_nothing_is_changed_until_a_person_accepts_and_then_it_goes_on(
    fleet, here, dumps, meanwhile: Callable[[Fleet], None]
):
    dumps.dump()
    meanwhile(fleet)
    dumps.restore()
    before = changes(fleet)
    wanted = lifecycle.deploy(fleet.version("1.2.0").pk, "staging", actor=ALICE)
    current = lifecycle.current_of(here)
    assert current is not None
    with pytest.raises(Conflict, match="run aureus recover"):
        lifecycle.roll_back(current.pk, actor=ALICE, reason="it is broken")
    play(fleet)
    assert prove(fleet) == []
    play(fleet)
    assert changes(fleet) == before, "hosts were changed before anybody accepted"
    wanted.refresh_from_db()
    assert (wanted.status, wanted.started_at) == ("pending", None)
    assert "run aureus recover" in wanted.reason
    recover.accept(recover.look(fleet.outside), actor=ALICE, reason="restored last night's dump")
    fleet.deployed("1.2.1")
    assert set(fleet.running(here).values()) == {"1.2.1"}


def test_what_was_open_in_the_dump_does_nothing_either(fleet, here, dumps):
    to_the_first_host(fleet)
    dumps.dump()
    fleet.run()
    dumps.restore()
    before = changes(fleet)
    play(fleet)
    prove(fleet)
    play(fleet)
    assert changes(fleet) == before
    assert Deployment.objects.filter(status="in_progress").count() == 1
    recover.accept(recover.look(fleet.outside), actor=ALICE, reason="restored")
    fleet.deployed("1.2.0")
    assert set(fleet.running(here).values()) == {"1.2.0"}


@pytest.mark.parametrize("elsewhere", [False, True], ids=["over itself", "into a new database"])
def test_where_nothing_happened_since_the_dump_it_goes_on_by_itself(fleet, here, dumps, elsewhere):
    to_the_first_host(fleet)
    dumps.dump()
    dumps.restore_elsewhere() if elsewhere else dumps.restore()
    before = changes(fleet)
    play(fleet)
    assert changes(fleet) == before, "nothing was compared yet"
    assert Incident.objects.get(text=identity.WHY).resolved_at is None
    assert prove(fleet) == [here]
    fleet.run()
    assert set(fleet.running(here).values()) == {"1.1.0"}
    assert set(Incident.objects.filter(text=identity.WHY).values_list("resolved_by", flat=True)) == {"aureus"}
    told = Event.objects.filter(kind__startswith="installation.").order_by("seq")
    kinds = list(told.values_list("kind", flat=True))
    assert kinds == ["installation.unproven", "installation.proven"]


def test_the_proof_asks_every_host_and_the_balancer(fleet, here, dumps):
    dumps.dump()
    dumps.restore()
    assert identity.notice()
    fleet.hosts.at("staging-3").unreachable = True
    assert prove(fleet) == []
    here.refresh_from_db()
    assert "staging-3 was not reached" in here.unproven
    fleet.hosts.at("staging-3").unreachable = False
    fleet.traffic.weights["staging-2"] = 0
    assert prove(fleet) == []
    here.refresh_from_db()
    assert "routes by" in here.unproven
    fleet.traffic.weights["staging-2"] = 100
    assert prove(fleet) == [here]


def test_the_same_database_is_never_doubted(fleet, here):
    assert not identity.notice()
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM FULL deployments_identity")
        cursor.execute("CHECKPOINT")
    assert not identity.notice()
    assert identity.now_and_doubt(here.pk)[1] == ""


def test_an_acceptance_of_nothing_seen_is_not_made_by_a_second_restore(fleet, here, dumps):
    dumps.dump()
    dumps.restore()
    assert identity.notice()
    known = Installation.objects.get().unproven_fence
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('aureus_fence')")
    Identity.objects.exclude(seal="").update(known="yet another")
    assert identity.notice()
    assert Installation.objects.get().unproven_fence == known, "the fence known at the first doubt counts"


def test_while_a_restore_has_not_brought_the_identity_yet_nothing_is_believed_or_written(fleet, here, dumps):
    kept = list(Identity.objects.values())
    Identity.objects.all().delete()
    assert not identity.notice()
    assert not Identity.objects.exists(), "a row of ours would be in the way of the dump's"
    assert identity.now_and_doubt(here.pk)[1]
    Identity.objects.bulk_create(Identity(**row) for row in kept)
    assert identity.notice()


def test_a_wake_up_before_the_first_sweep_does_nothing(fleet, here, dumps):
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    dumps.dump()
    dumps.restore()
    assert lifecycle.advance(deployment.pk, "deploy").claims == []
    deployment.refresh_from_db()
    assert deployment.started_at is None
    assert not Endpoint.objects.exclude(recorded__startswith="1.0.0").exists()
