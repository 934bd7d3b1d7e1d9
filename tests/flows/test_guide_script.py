"""The deployment guide's automated workflow, run as it is printed there."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.flows.rig import Rig

pytestmark = pytest.mark.flow

SCRIPT = Path(__file__).with_name("automated-deployment.txt")
SPEC = {
    "id": "my-workflow",
    "name": "My Workflow",
    "tasks": [{"id": "health", "tool": "http", "params": {"path": "/health"}}],
}


def script(rig: Rig, number: str) -> str:
    """The guide's text with another version, address and token, and with its promotion lines switched on."""
    text = SCRIPT.read_text()
    begun = text.index("# PROD_DEPLOYMENT_ID")
    ended = text.index("\n\n", begun)
    promotion = "\n".join(line.removeprefix("# ") for line in text[begun:ended].split("\n"))
    changes = {
        'VERSION="1.0.0"': f'VERSION="{number}"',
        "https://console.aureus.example.com/api": f"{rig.aureus.url}/api",
        "your-jwt-token": rig.client.token,
    }
    text = text[:begun] + promotion + text[ended:]
    for before, after in changes.items():
        assert text.count(before) == 1
        text = text.replace(before, after)
    return text


def run_script(rig: Rig, number: str, folder: Path) -> str:
    """Run it where `sleep` is short: its ten seconds between two looks are the guide's, not ours to wait for."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "sleep").write_text("#!/bin/sh\nexec /bin/sleep 0.5\n")
    (folder / "bin" / "sleep").chmod(0o755)
    (folder / "workflow-spec.json").write_text(json.dumps(SPEC))
    done = subprocess.run(
        ["bash", "-c", script(rig, number)],
        cwd=folder,
        env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def call_by_hand(rig: Rig, number: str) -> None:
    """The same calls where curl or jq is not installed."""
    version = rig.client.register(SPEC, number)
    staged = rig.client.deploy(version["id"], "staging")
    rig.until(staged["id"], lambda now: now["status"] == "deployed", "staging is deployed")
    tests = [{"name": "Basic Workflow", "workflowId": "my-workflow"}]
    assert rig.client.smoke(staged["id"], tests)["overallStatus"] == "passed"
    rig.client.promote(staged["id"])


def ship(rig: Rig, number: str, folder: Path) -> str:
    """Bring a version through to production; the id of its deployment there."""
    if shutil.which("curl") and shutil.which("jq"):
        said = run_script(rig, number, folder)
        assert "Staging deployment successful" in said
        assert "Smoke tests passed" in said
    else:
        call_by_hand(rig, number)
    [newest] = rig.client.get("/deployments?environment=production&limit=1")
    assert newest["version"] == number
    rig.until(newest["id"], lambda now: now["status"] == "deployed", f"{number} is in production")
    return str(newest["id"])


def test_the_guides_script_ships_two_versions_and_the_guides_rollback_brings_the_first_one_back(
    rig: Rig, tmp_path: Path
) -> None:
    fleet = rig.fleet("my-workflow", {"staging": 1, "production": 2}, production={"promote_from": "staging"})
    first = ship(rig, "1.0.0", tmp_path)
    rig.until(first, lambda now: now["window"]["status"] == "pass", "1.0.0 has proven good")
    second = ship(rig, "1.1.0", tmp_path)
    assert fleet.versions("production") == ["1.1.0", "1.1.0"]

    rollback = rig.client.roll_back(second, "Automated rollback due to health check failure")
    assert rollback["id"]
    rig.until(rollback["id"], lambda now: now["status"] == "deployed", "the rollback is done")
    assert fleet.versions("production") == ["1.0.0", "1.0.0"]
    undone = rig.client.deployment(second)
    assert (undone["status"], undone["rollback"]["id"]) == ("rolled_back", rollback["id"])
    [current] = rig.client.get("/deployments?environment=production&current=true")
    assert (current["id"], current["version"]) == (rollback["id"], "1.0.0")
