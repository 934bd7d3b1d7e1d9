"""A short run of `make faults`: every kind of fault strikes at least once."""

from pathlib import Path

import pytest

from tests.faults import faults
from tests.faults.run import play

pytestmark = pytest.mark.flow

SEED, DEPLOYMENTS, ENVIRONMENTS = 11, 3, 2


@pytest.mark.timeout(420)
def test_nothing_is_lost_or_stuck_or_done_twice_whatever_breaks(
    open_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = open_folder / "faults"
    folder.mkdir(mode=0o711)
    said: list[str] = []
    run = play(folder, SEED, DEPLOYMENTS, environments=ENVIRONMENTS, every=3, say=said.append)
    with capsys.disabled():
        print(f"\n{run.table()}")
    assert run.contradictions
    assert run.consuming_again <= faults.CONSUMED_WITHIN
    assert {claim: found for claim, found in run.contradictions.items() if found} == {}, "\n".join(said)
    assert {fault.name for fault in faults.ALL} <= set(run.injected), "a fault that never struck proves nothing"
