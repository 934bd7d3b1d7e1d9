"""A canary in mid-shift on its worst days, by the whole process tree, on real balancers under load."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aureus.demo.machines import Machine
from tests.conftest import wait_until
from tests.drivers.caddy_server import live
from tests.traffic.scene import Scene

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
PAUSES: dict[str, Any] = {
    "weights": [25, 50, 75, 100], "pause_at": [25, 50, 75], "bake": 1, "max_hold": 600,
    # For so long after an outage nothing is counted that both versions' hosts were asked.
    "rules": {"min_probes": 2, "min_requests": 20, "stale_seconds": 10},
}  # fmt: skip


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """What the application cannot do without."""
    file = tmp_path / "database"
    file.touch()
    return file


@pytest.fixture(params=["haproxy", "caddy"])
def scene(request: pytest.FixtureRequest, tmp_path: Path, database: Path) -> Iterator[Scene]:
    """One version is good and under load."""
    folder = tmp_path / "scene"
    folder.mkdir()
    if os.geteuid() == 0:
        for above in (tmp_path, *list(tmp_path.parents)[:2]):
            above.chmod(0o711)
    with Scene(folder, request.param, **PAUSES) as made:
        made.ship("plain", "rolling", database=str(database))
        made.begin_load("plain")
        yield made


def steps(scene: Scene, deployment: str, kind: str = "") -> list[dict[str, Any]]:
    found = scene.rig.client.get(f"/deployments/{deployment}/steps")
    return [step for step in found if kind in ("", step["kind"])]


def waits_at(scene: Scene, deployment: str, weight: int) -> bool:
    """Whether a person is asked at this weight."""
    ended = scene.rig.client.deployment(deployment)
    assert ended["status"] in ("pending", "in_progress"), ended["reason"]
    return any(f"at {weight} %" in step["reason"] and step["held"] for step in steps(scene, deployment, "confirm"))


def until_asked(scene: Scene, deployment: str, weight: int) -> None:
    wait_until(lambda: waits_at(scene, deployment, weight), seconds=90, what=f"a person is asked at {weight} %")


def go_on(scene: Scene, deployment: str) -> None:
    scene.rig.client.post(f"/deployments/{deployment}/resume", {"reason": "seen"})


def says(scene: Scene, deployment: str) -> str:
    """Everything that is told of it now."""
    told = scene.rig.client.get(f"/deployments/{deployment}/explain")
    return f"{told} {[step['reason'] for step in steps(scene, deployment)]}"


def seen(scene: Scene, before: dict[str, Any]) -> dict[str, int]:
    """What clients met since."""
    now = scene.figures("plain")
    return {name: now[name] - before[name] for name in ("lost", "errors")}


def descendants(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += descendants(int(child))
    return found


def cut_off(machine: Machine, number: signal.Signals) -> None:
    """Every process of the machine's SSH server is stopped, or goes on; the balancer beside it works all the time."""
    for pid in descendants(machine.process.pid):
        os.kill(pid, number)


def test_edited_cut_off_and_restarted_in_mid_shift_it_ends_well_and_says_what_it_saw(scene: Scene, database: Path):
    deployment, number = scene.ask("plain", "canary", database=str(database))
    until_asked(scene, deployment, 25)
    before, traffic = scene.figures("plain"), scene.traffic("plain")

    serving = next(name for name, weight in traffic.read().items() if weight)
    scene.edit("plain", serving, 7)
    wait_until(lambda: traffic.read()[serving] == 7, seconds=10, what="the balancer routes by what was edited")
    scene.edit_file("plain")
    go_on(scene, deployment)
    until_asked(scene, deployment, 50)
    for told in ("which is not what we had set", "its file was edited"):
        assert told in says(scene, deployment)
    assert not traffic.edited(traffic.read())

    front = scene.machines[-1]
    cut_off(front, signal.SIGSTOP)
    try:
        go_on(scene, deployment)
        wait_until(lambda: "lb" in says(scene, deployment), seconds=90, what="it says that the balancer is away")
    finally:
        cut_off(front, signal.SIGCONT)
    until_asked(scene, deployment, 75)
    assert seen(scene, before) == {"lost": 0, "errors": 0}

    wanted = traffic.read()
    scene.balancer.stop(signal.SIGKILL)
    scene.balancer.start()
    wait_until(lambda: live(traffic), seconds=20, what="the balancer's listener")
    assert traffic.verify(wanted)
    assert not traffic.edited(wanted)
    restarted = scene.figures("plain")
    go_on(scene, deployment)
    scene.until_good(deployment, "the canary is good in spite of all that")
    assert seen(scene, restarted) == {"lost": 0, "errors": 0}
    # Nothing was astray after the restart, and so nothing is said of it.
    assert "before, which" not in steps(scene, deployment, "weigh")[-1]["reason"]
    assert scene.versions() == {number}


def test_where_the_database_of_both_versions_is_down_nothing_is_moved_and_people_are_told(scene: Scene, database: Path):
    deployment, number = scene.ask("plain", "canary", database=str(database))
    until_asked(scene, deployment, 25)
    traffic = scene.traffic("plain")
    weights, running = traffic.read(), scene.versions()
    database.unlink()
    told = "SELECT count(*) FROM deployments_incident WHERE resolved_at IS NULL"
    wait_until(lambda: scene.rig.rows(told)[0][0], seconds=60, what="people are told")
    wait_until(lambda: "common" in says(scene, deployment), seconds=60, what="it says that both versions fail")
    assert scene.rig.client.deployment(deployment)["status"] == "in_progress"
    assert (traffic.read(), scene.versions()) == (weights, running)
    database.touch()
    for weight in (25, 50, 75):
        until_asked(scene, deployment, weight)
        go_on(scene, deployment)
    scene.until_good(deployment, "it goes on when the database is back, and nothing that was counted meanwhile is held")
    assert scene.versions() == {number}
