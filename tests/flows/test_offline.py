"""A rollback with nothing of Aureus but its database."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aureus.demo import children
from aureus.embedded import kept
from aureus.embedded.postgres import Postgres
from tests.conftest import wait_until
from tests.flows.rig import KEY_VARIABLE, Fleet, Rig
from tests.test_up import children_of, command_of

pytestmark = pytest.mark.flow


@pytest.fixture
def own(open_folder: Path) -> Iterator[Rig]:
    """A rig of its own, since the test takes it down."""
    folder = open_folder / "offline"
    folder.mkdir(mode=0o711)
    rig = Rig(folder)
    try:
        rig.begin()
        yield rig
    finally:
        rig.end()


def two_versions(rig: Rig, name: str) -> tuple[Fleet, str]:
    fleet = rig.fleet(name, {name: 2})
    rig.deployed(name, "1.0.0", name)
    second = rig.deployed(name, "2.0.0", name)
    assert fleet.versions(name) == ["2.0.0", "2.0.0"]
    return fleet, str(second["id"])


def offline(rig: Rig, *words: str) -> subprocess.CompletedProcess[str]:
    given = {
        "AUREUS_HOME": str(rig.aureus.home),
        KEY_VARIABLE: rig.key.read_text(),
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }
    return subprocess.run(
        [sys.executable, "-m", "aureus.cli", "rollback", *words, "--offline"],
        env=children.environment(**given), cwd=children.CODE, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip


def is_ready(rig: Rig) -> bool:
    try:
        with urllib.request.urlopen(f"{rig.aureus.url}/ready", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def postgres_of(rig: Rig) -> Postgres:
    found = kept.read(rig.aureus.home)
    assert found
    return Postgres(rig.aureus.home / "postgres", found.postgres_port, found.postgres_password)


@contextlib.contextmanager
def nothing_but_postgres(rig: Rig) -> Iterator[None]:
    """The parent is stopped, so that it starts nobody again; then everybody else is killed."""
    assert rig.aureus.process
    parent = rig.aureus.process.pid
    os.kill(parent, signal.SIGSTOP)
    try:
        for pid in children_of(parent):
            if "/postgres" not in command_of(pid).split(" ")[0]:
                os.killpg(pid, signal.SIGKILL)
        rig.stop_valkey()
        yield
    finally:
        rig.start_valkey()
        os.kill(parent, signal.SIGCONT)


def test_a_rollback_needs_neither_web_nor_workers_nor_broker_nor_a_running_database(own: Rig) -> None:
    fleet, second = two_versions(own, "glass")
    with nothing_but_postgres(own):
        listed = offline(own, "--json")
        [row] = json.loads(listed.stdout)
        assert (row["id"], row["version"], row["environment"]) == (second, "2.0.0", "glass")
        done = offline(own, second, "--reason", "it is on fire")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "back to 1.0.0" in done.stdout
        assert fleet.versions("glass") == ["1.0.0", "1.0.0"]
    wait_until(lambda: is_ready(own), seconds=60, what="the tree starts its processes again")
    undone = own.until(second, lambda now: now["status"] == "rolled_back", "who came back shows it")
    events: list[dict[str, Any]] = own.client.get(f"/deployments/{undone['rollback']['id']}/events")
    assert any(event["actor"].startswith("offline:") for event in events)

    third = own.deploy("glass", "3.0.0", "glass")
    own.until(third["id"], lambda now: now["status"] == "deployed", "work goes on")
    refused = offline(own, third["id"])
    assert (refused.returncode, "--reason" in refused.stderr) == (2, True)
    own.aureus.stop(hurry=True)
    own.stop_valkey()
    assert not postgres_of(own).is_ready()
    done = offline(own, third["id"], "--reason", "and again")
    assert done.returncode == 0, done.stdout + done.stderr
    assert fleet.versions("glass") == ["1.0.0", "1.0.0"]
    assert not postgres_of(own).is_ready()
