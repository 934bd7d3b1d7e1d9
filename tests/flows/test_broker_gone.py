"""The broker goes away just when a fault has appeared."""

import os
import signal

import pytest

from tests.conftest import wait_until
from tests.flows.rig import Rig

pytestmark = pytest.mark.flow


def test_a_rollback_happens_although_valkey_was_stopped_after_the_fault_appeared(rig: Rig) -> None:
    # Long enough for the fault to be seen with the broker away.
    fleet = rig.fleet("gone", {"gone": 2}, gone={"window": 120})
    first = rig.deploy("gone", "1.0.0", "gone")
    rig.until(first["id"], lambda now: now["status"] == "deployed", "1.0.0 is deployed")
    samples = f"/deployments/{first['id']}/samples"
    wait_until(lambda: len(rig.client.get(samples)) >= 6, seconds=20, what="enough was measured to call it good")
    asked = rig.deploy("gone", "2.0.0", "gone")
    rig.until(asked["id"], lambda now: now["status"] == "deployed", "2.0.0 is deployed")
    for machine in fleet.machines["gone"]:
        pid = machine.app_pid()
        assert pid
        os.kill(pid, signal.SIGKILL)
    rig.stop_valkey()
    try:
        undone = rig.until(asked["id"], lambda now: now["status"] == "rolled_back", "2.0.0 is undone", seconds=90)
        assert fleet.versions("gone") == ["1.0.0", "1.0.0"]
        assert undone["rollback"]["status"] == "deployed"
    finally:
        rig.start_valkey()
    after = rig.deploy("gone", "3.0.0", "gone")
    rig.until(after["id"], lambda now: now["status"] == "deployed", "with Valkey back, work goes on", seconds=90)
    wait_until(lambda: fleet.versions("gone") == ["3.0.0", "3.0.0"], seconds=5, what="3.0.0 serves")
