"""What a real worker brings to real hosts beside the steps: differences of archives, commands of workflows."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.drivers.releases import packed
from tests.flows.rig import Rig

pytestmark = pytest.mark.flow
CHANCE = random.Random(7)
LARGE = {f"lib/{number}": CHANCE.randbytes(60_000) for number in range(10)}
HEALTH = [{"id": "health", "tool": "http", "params": {"path": "/health"}}]


def shipped(rig: Rig, number: str, files: dict[str, bytes]) -> None:
    spec = {"id": "shipping", "name": "Shipping", "tasks": HEALTH}
    version = rig.client.register(spec, number)["id"]
    rig.client.attach(version, packed(files))
    asked = rig.client.deploy(version, "shipping")
    rig.until(asked["id"], lambda now: now["status"] == "deployed", f"{number} is deployed")


def test_the_second_version_comes_as_a_difference_and_a_workflow_runs_what_is_declared(rig: Rig, open_folder: Path):
    ran = open_folder / "ran"
    ran.touch()
    ran.chmod(0o666)
    declared = {
        "commands": {"note": f'echo "$AUREUS_ARG_what in $(basename "$PWD")" >>{ran}', "fail": "echo no room; exit 3"}
    }
    fleet = rig.fleet("shipping", {"shipping": 2}, declared)
    shipped(rig, "1.0.0", {**LARGE, "app": b"1"})
    shipped(rig, "1.1.0", {**LARGE, "app": b"2"})
    [sent] = (rig.folder / "aureus" / "differences").glob("*.tar.gz")
    assert sent.stat().st_size < 1000
    for machine in fleet.machines["shipping"]:
        release = machine.root / "current"
        assert {str(f.relative_to(release)): f.read_bytes() for f in release.glob("lib/*")} == LARGE
        assert (release / "app").read_bytes() == b"2"

    note = {"command": "note", "arguments": {"what": "${params.what}"}}
    tasks = [
        {"id": "note", "tool": "command", "params": note},
        {
            "id": "fail",
            "tool": "command",
            "params": {"command": "fail"},
            "dependsOn": ["note"],
            "retry": {"maxAttempts": 2},
        },
    ]
    version = rig.client.register({"id": "shipping", "name": "Shipping", "tasks": tasks}, "2.0.0")["id"]
    body = {"versionId": version, "environment": "shipping", "params": {"what": "it's; id"}}
    run = rig.client.post("/workflows/runs", body)["id"]
    told: dict[str, object] = {}
    wait_until(
        lambda: told.update(rig.client.get(f"/workflows/runs/{run}")) or told["endedAt"],
        seconds=60,
        what="the run ends",
    )
    assert (told["status"], told["reason"]) == ("failed", "task fail failed")
    [line] = ran.read_text().splitlines()
    assert line.startswith("it's; id in 1.1.0-")
