"""Monitoring windows: opened with what is watched, closed when something else takes their place."""

from __future__ import annotations

from deployments.engine.status import TargetState
from tests.engine.simulator.rows import Row, Window
from tests.engine.simulator.world import World

AFTER = 30_000
"""Milliseconds of the window after `deployed`."""


def open_after(world: World, row: Row) -> None:
    """The long window after `deployed`; it holds no slot. A convergence has none."""
    if row.completes is None and any(t.state is TargetState.ON_TO and not t.resting for t in row.claimed()):
        _open(world, Window(row, "", row.version), AFTER)


def open_bake(world: World, row: Row, step: str, seconds: float) -> Window:
    """The short window between batches."""
    window = Window(row, step, row.version)
    _open(world, window, int(seconds * 1_000))
    return window


def open_until_confirmed(world: World, row: Row, step: str) -> Window:
    """What is watched while a person is waited for: it may fail, and never passes."""
    window = Window(row, step, row.version, open_ended=True)
    _open(world, window, 20_000)
    return window


def _open(world: World, window: Window, length: int) -> None:
    world.windows.append(window)
    rng = world.rng
    ends = rng.randrange(500, length) if window.content in world.bad else length
    if world.strikes("verdict late"):
        ends += rng.randrange(1_000, 60_000)
    world.later(ends, "judge", window)
    if world.strikes("verdict repeated"):
        world.later(ends + rng.randrange(0, 5_000), "judge", window)


def close_for(world: World, origin: Row) -> None:
    """A rollback takes the place of whatever was still watched of what it undoes."""
    for window in world.windows:
        if window.row is origin and not window.closed:
            window.closed = "superseded"


def supersede(world: World, by: Row) -> None:
    """The next start closes the open window, after judging it on what it has: a pass makes its content good."""
    for window in world.windows:
        if window.row is not by and not window.closed:
            well = window.content not in world.bad and world.rng.random() < 0.5
            window.closed = "pass" if well else "superseded"
            if well:
                make_good(world, window)


def make_good(world: World, window: Window) -> None:
    """The content passed: from now on it is a place that a rollback may go to."""
    if not window.step:
        window.row.good = True
        world.say(window.row, "good")
