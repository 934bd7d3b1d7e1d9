"""kill -9 of the process that carries an activation, in the middle of it."""

import os
import signal
import time

import pytest

from aureus import lease
from aureus.celery import TICK
from deployments import leases
from tests.conftest import wait_until
from tests.flows.rig import Rig, owner_pid
from tests.test_up import descendants_of

pytestmark = pytest.mark.flow

AGAIN_WITHIN = lease.SECONDS + leases.HINT_AGAIN_AFTER + 2 * TICK
"""The lease, then a sweep and the hint after a lost one."""


def test_an_activation_whose_worker_was_killed_is_claimed_again_and_done_once(rig: Rig) -> None:
    fleet = rig.fleet("killed", {"killed": 1})
    [machine] = fleet.machines["killed"]
    (machine.root / "shared" / "slow").write_text("6")
    asked = rig.deploy("killed", "1.0.0", "killed")

    def activation() -> tuple[str, str, int, int]:
        query = "SELECT status, lease_owner, attempts, id FROM deployments_step WHERE kind = 'activate'"
        [row] = rig.rows(f"{query} AND deployment_id = %s", asked["id"])
        return row

    began = f"act {asked['id']}"
    wait_until(lambda: any(line[4] == "started" for line in machine.ledger()), seconds=60, what=began)
    status, owner, attempts, step = activation()
    assert (status, attempts) == ("running", 1)
    worker = owner_pid(owner)
    assert rig.aureus.process
    assert worker in descendants_of(rig.aureus.process.pid)

    os.kill(worker, signal.SIGKILL)
    killed_at = time.monotonic()
    wait_until(lambda: activation()[2] >= 2, seconds=AGAIN_WITHIN, what="another worker claims it")
    assert time.monotonic() - killed_at <= AGAIN_WITHIN <= 25
    assert owner_pid(activation()[1]) != worker

    rig.until(asked["id"], lambda now: now["status"] == "deployed", "it ends all the same")
    assert fleet.versions("killed") == ["1.0.0"]
    key = f"{asked['id']}:activate:{machine.name}:{step}"
    lines = [line for line in machine.ledger() if line[0] == key and line[2] == "activate@main"]
    assert [line[4] for line in lines].count("done") == 1
