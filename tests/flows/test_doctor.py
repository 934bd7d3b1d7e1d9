"""The doctor at a real setup: real hosts by SSH, real servers, real workers."""

import json
import subprocess
import sys

import pytest

from aureus.demo import children
from tests.conftest import wait_until
from tests.flows.rig import KEY_VARIABLE, Rig

pytestmark = pytest.mark.flow


def examined(rig: Rig) -> tuple[int, list[dict[str, str]]]:
    given = rig.aureus.given | {KEY_VARIABLE: rig.key.read_text()}
    done = subprocess.run(
        [sys.executable, "-m", "aureus.cli", "doctor", "--json"], env=children.environment(**given),
        cwd=children.CODE, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_doctor_finds_a_working_setup_well_and_a_host_that_was_cut_off(rig: Rig) -> None:
    fleet = rig.fleet("doctor", {"doctor": 2})
    rig.deployed("doctor", "1.0.0", "doctor")

    def failed() -> list[dict[str, str]]:
        # Other tests leave hosts of their own behind, in their own states.
        mine = ("host doctor-", "queue ", "dispatcher", "Beat", "PostgreSQL", "Redis", "doctor in")
        return [f for f in examined(rig)[1] if f["state"] == "failed" and f["about"].startswith(mine)]

    wait_until(lambda: not failed(), seconds=60, what="every queue has answered")
    _, found = examined(rig)
    assert {f["about"] for f in found if f["state"] == "ok"} >= {"PostgreSQL", "Redis", "dispatcher", "queue transfer"}
    machine = fleet.machines["doctor"][1]
    machine.stop()
    code, found = examined(rig)
    [gone] = [f for f in found if f["state"] == "failed" and f["about"] == "host doctor-2 (doctor)"]
    assert code == 1
    assert gone["remedy"]
