"""Hints and the sweep: a hint may be lost, late or said twice; the sweep makes up for it."""

from __future__ import annotations

from tests.engine.simulator.rows import Row
from tests.engine.simulator.world import World

AGAIN = 3_000
"""Milliseconds after which the sweep hints a deployment once more that is due still."""


def hint(world: World, row: Row) -> None:
    """The message on commit."""
    if world.strikes("wake-up lost"):
        return
    delay = world.rng.randrange(20, 200)
    if world.strikes("wake-up late"):
        delay += world.rng.randrange(1_000, 40_000)
    world.later(delay, "hint", row, row.lane)
    if world.strikes("wake-up repeated"):
        world.later(delay + world.rng.randrange(1, 5_000), "hint", row, row.lane)


def due(world: World, row: Row, when: int | None) -> None:
    """Write down when it is to be looked at; the sweep of that second finds it."""
    row.wake_at = when
    if when is None:
        return
    if "sweep" not in world.defences:
        if when > world.now and not world.strikes("wake-up lost"):
            world.later(when - world.now, "hint", row, row.lane)
        return
    if row.swept_at is None or row.swept_at > when:
        _watch(world, row, when)


def _watch(world: World, row: Row, when: int) -> None:
    row.swept_at = max(when, world.now) + world.rng.randrange(1, 1_000)
    world.later(row.swept_at - world.now, "sweep", row, row.swept_at)


def sweep(world: World, row: Row, planned: int) -> bool:
    """Whether a worker is to look at it now; what is due still is hinted once more."""
    if row.swept_at != planned:
        return False
    row.swept_at = None
    if row.wake_at is None or not row.open:
        return False
    if row.wake_at > world.now:
        _watch(world, row, row.wake_at)
        return False
    _watch(world, row, world.now + AGAIN)
    return True
