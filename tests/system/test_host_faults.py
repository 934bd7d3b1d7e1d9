"""Real systemd hosts under every fault, each at each act of prepare, activate and rollback."""

from __future__ import annotations

import os
import threading

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from deployments import outside
from deployments.drivers.ssh import SSHHosts
from releases.models import Application
from releases.store.directory import DirectoryStore
from tests.conftest import _delete_rows
from tests.system.bed import Bed, why_not
from tests.system.cases import TABLE, Outcome, play
from tests.system.faults import FAULTS, TrappedHosts
from tests.system.scene import Lane, Workers, furnish, register

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.django_db(transaction=True)]
SIZE = 3
CASES = [(fault.name, act) for fault in FAULTS for act in fault.acts]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[tuple[str, str], Outcome]:
    """Every fault on three hosts of its own, all faults side by side."""
    if why := why_not():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    chosen = os.environ.get("AUREUS_BED_FAULTS", "")
    faults = [fault for fault in FAULTS if not chosen or fault.name in chosen.split(",")]
    with django_db_blocker.unblock(), Bed(SIZE * len(faults)) as bed:
        try:
            store = DirectoryStore(tmp_path_factory.mktemp("artifacts"))
            found = [one for lane in _played(bed, faults, store) for one in lane]
        finally:
            _delete_rows()
            connections.close_all()
    request.config.stash[TABLE] = found
    return {(one.fault, one.act): one for one in found}


def _played(bed: Bed, faults: list, store: DirectoryStore) -> list[list[Outcome]]:
    hosts = SSHHosts()
    trapped = TrappedHosts(hosts)
    whole = outside.Outside(trapped, lambda node, at: outside.traffic_on(hosts, node, at), store)
    application, versions = Application.objects.create(key="shop"), register(store)
    lanes = []
    for number, fault in enumerate(faults):
        mine = bed.hosts[SIZE * number : SIZE * number + SIZE]
        for host in mine:
            furnish(host, fault.unit)
        lanes.append(Lane(fault, mine, trapped, whole, versions, bed.key))
        lanes[-1].declare(application)
    bed.boot()
    with Workers(whole):
        try:
            return _side_by_side(lanes)
        finally:
            hosts.close()


def _side_by_side(lanes: list[Lane]) -> list[list[Outcome]]:
    found: dict[str, list[Outcome]] = {}

    def run(lane: Lane) -> None:
        try:
            found[lane.name] = play(lane)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(lane,), name=lane.name, daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(540)
    return [found.get(lane.name, []) for lane in lanes]


@pytest.mark.parametrize(("fault", "act"), CASES, ids=[f"{fault} in {act}" for fault, act in CASES])
def test_no_fault_at_any_act_leaves_a_mixed_fleet(outcomes: dict[tuple[str, str], Outcome], fault: str, act: str):
    assert outcomes[fault, act].broken == []
