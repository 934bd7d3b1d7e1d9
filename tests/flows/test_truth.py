"""On the real tree: a host that was switched by hand is noticed, and a restored dump changes nothing by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aureus.demo import children
from aureus.embedded import kept
from aureus.embedded.postgres import Postgres
from tests.conftest import wait_until
from tests.flows.rig import Fleet, Rig

pytestmark = pytest.mark.flow


@pytest.fixture(scope="module")
def own(open_folder: Path) -> Iterator[Rig]:
    """A rig of its own, since the others' database is not to be restored; it looks often."""
    folder = open_folder / "truth"
    folder.mkdir(mode=0o711)
    made = Rig(folder, HOST_LOOK_INTERVAL="5")
    try:
        made.begin()
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def fleet(own: Rig) -> Fleet:
    made = own.fleet("truth", {"truth": 2})
    own.deployed("truth", "1.0.0", "truth")
    return made


def state_of(rig: Rig, name: str) -> str:
    hosts = {host["name"]: host for host in rig.client.get("/environments/truth/hosts")}
    return str(hosts[name]["endpoints"][0]["state"])


def test_a_host_that_was_switched_by_hand_is_noticed(own: Rig, fleet: Fleet) -> None:
    machine = fleet.machines["truth"][1]
    wait_until(lambda: state_of(own, machine.name) == "as_recorded", seconds=40, what="it was looked at")
    link = machine.root / "slots" / "main"
    was, before = link.readlink(), machine.ledger()
    link.unlink()
    link.symlink_to("../releases/0.9.0-000000000000")
    wait_until(lambda: state_of(own, machine.name) == "drifted", seconds=60, what="the drift is seen")
    assert machine.ledger() == before, "a look only reads"
    link.unlink()
    link.symlink_to(was)
    wait_until(lambda: state_of(own, machine.name) == "flapping", seconds=60, what="it went back by itself")


def test_a_restored_dump_changes_no_host_until_a_person_accepts(own: Rig, fleet: Fleet, tmp_path: Path) -> None:
    machines = fleet.machines["truth"]
    postgres(own, "pg_dump", "-Fc", "-f", str(tmp_path / "dump"), "aureus")
    own.deployed("truth", "1.1.0", "truth")
    before = [machine.ledger() for machine in machines]
    postgres(own, "pg_restore", "--clean", "--if-exists", "-d", "aureus", str(tmp_path / "dump"))
    query = "SELECT count(*) FROM deployments_installation WHERE unproven <> ''"
    wait_until(lambda: own.rows(query) == [(1,)], seconds=30, what="the restore is noticed")
    asked = own.deploy("truth", "1.2.0", "truth")
    found = "aureus recover"
    own.until(asked["id"], lambda now: found in now["reason"], "it says what to do")
    ends = time.monotonic() + 12  # two looks, some sweeps
    wait_until(lambda: time.monotonic() > ends, seconds=20, what="some rounds")
    assert [machine.ledger() for machine in machines] == before
    assert fleet.versions("truth") == ["1.1.0", "1.1.0"]
    assert own.client.deployment(asked["id"])["status"] == "pending"
    done = aureus(own, "recover", "--accept", "--yes", "--reason", "restored the dump of this morning")
    assert done.returncode == 0, done.stdout + done.stderr
    own.deployed("truth", "1.2.1", "truth")
    assert fleet.versions("truth") == ["1.2.1", "1.2.1"]


def postgres(rig: Rig, program: str, *words: str) -> None:
    found = kept.read(rig.aureus.home)
    assert found
    server = Postgres(rig.aureus.home / "postgres", found.postgres_port, found.postgres_password)
    where = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "aureus"]
    done = subprocess.run(
        [str(server.programs / program), *where, *words],
        env={**os.environ, "PGPASSWORD": server.password}, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def aureus(rig: Rig, *words: str) -> subprocess.CompletedProcess[str]:
    """A command as a person types it beside the running tree."""
    environ = {**os.environ, **rig.aureus.given}
    return subprocess.run(
        [sys.executable, "-m", "aureus.cli", *words],
        cwd=children.CODE, env=environ, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
