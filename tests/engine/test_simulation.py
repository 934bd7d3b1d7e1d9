"""What holds in every random world, and that the simulator would notice if it did not."""

import pytest

from tests.engine.simulate import FAULTS, World, play, play_side_by_side

DEFENCES = World(0).defences
WORLDS, SEED = 20_000, 1


@pytest.mark.timeout(600)
def test_no_invariant_is_broken_in_twenty_thousand_worlds(capsys):
    faults, found = play_side_by_side(WORLDS, SEED)
    with capsys.disabled():
        print(f"\n{WORLDS:,} worlds from seed {SEED}, faults injected:")
        print("\n".join(f"{faults[fault]:>9,}  {fault}" for fault in FAULTS))
    assert found == []
    assert all(faults[fault] > 0 for fault in FAULTS)


def test_without_the_fence_on_the_host_the_simulator_finds_a_mixed_fleet():
    _, found = play(600, 1, DEFENCES - {"host fence"})
    assert any("the record says" in line for line in found)


def test_without_the_guarded_settle_the_simulator_finds_an_illegal_move():
    _, found = play(100, 1, DEFENCES - {"guarded settle"})
    assert found


def test_a_rollback_that_forgets_claimed_targets_is_found():
    _, found = play(100, 1, DEFENCES - {"every claimed target"})
    assert any("does not cover" in line for line in found)


def test_one_seed_is_one_world():
    first, second = World(42), World(42)
    first.play()
    second.play()
    assert first.events == second.events
    assert first.hosts == second.hosts
