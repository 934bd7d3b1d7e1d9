"""Verdicts: late, repeated, inconclusive; what follows is played as `deployments.watching` acts on them."""

from __future__ import annotations

from deployments.engine.status import Status
from tests.engine.simulator.ending import undo
from tests.engine.simulator.execution import answer_for
from tests.engine.simulator.rows import Window
from tests.engine.simulator.windows import make_good
from tests.engine.simulator.world import World

MAX_HOLD = 60_000
"""Milliseconds for which a verdict may be held; then a policy takes it for a failure, or lets it go on."""


def judge(world: World, window: Window) -> None:
    """One judgement of one window. A closed one is never judged again."""
    if window.closed:
        return
    if world.strikes("verdict inconclusive") and (window.held_since or world.now) + MAX_HOLD > world.now:
        window.held_since = window.held_since or world.now
        world.later(5_000, "judge", window)
        return
    given_up = window.held_since is not None and world.now >= window.held_since + MAX_HOLD
    fails = window.content in world.bad or (given_up and world.rng.random() < 0.5)
    if window.open_ended and not fails:
        return
    window.closed = "fail" if fails else ("inconclusive" if given_up else "pass")
    world.say(window.row, f"window {window.closed}")
    if window.step:
        _bake_over(world, window, fails)
    elif fails:
        _after_failed(world, window)
    elif not given_up:
        make_good(world, window)


def _bake_over(world: World, window: Window, fails: bool) -> None:
    row = window.row
    if row.status is Status.IN_PROGRESS and window.step in row.steps:
        answer_for(world, row, window.step, fails)


def _after_failed(world: World, window: Window) -> None:
    """The armed window undoes by itself; a rollback's own only holds and pages."""
    row = window.row
    if row.is_rollback or row.status is not Status.DEPLOYED or world.current() is not row:
        return
    undo(world, row, "its monitoring window failed")
