"""Every strategy and its rollback once, on a real HAProxy under load; `make traffic` does it with 100,000 requests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.traffic.run import play
from tests.traffic.scene import PHASES, Scene

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """As small as every strategy allows, under a load that misses an answer of many a careless restart."""
    folder = tmp_path / "scene"
    folder.mkdir()
    if os.geteuid() == 0:
        for above in (tmp_path, *list(tmp_path.parents)[:2]):
            above.chmod(0o711)
    with Scene(folder, "haproxy", hosts=2, rate=300, weights=[50, 100], bake=1, window=1) as made:
        yield made


def test_no_strategy_and_no_rollback_loses_a_request_and_a_restart_without_draining_does(scene: Scene):
    run = play(scene, "haproxy", 1000, lambda _: None)
    changes = [f"{strategy}, {application}" for application, strategy in PHASES]
    assert list(run.rows) == [row for what in changes for row in (what, f"{what}: rolled back")]
    assert all(row.requests > 0 for row in run.rows.values())
    assert run.lost == 0, {what: row.why for what, row in run.rows.items()}
    assert run.requests >= 1000
    assert run.control > 0
