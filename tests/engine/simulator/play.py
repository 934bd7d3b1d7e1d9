"""Play worlds: one event after another, the invariants after each, until all has ended."""

from __future__ import annotations

import gc
import hashlib
import heapq
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from deployments.engine.status import Status, StepStatus
from tests.engine.simulator import faults, people, wakes
from tests.engine.simulator.execution import act, answered, renew, wake
from tests.engine.simulator.hosts import Host
from tests.engine.simulator.invariants import INVARIANTS, at_the_end
from tests.engine.simulator.rows import Row
from tests.engine.simulator.verdicts import judge
from tests.engine.simulator.world import LIMIT, QUIET_AFTER, News, Violation, World

HELP_EVERY = 60_000
"""Milliseconds between two looks of the people who help a quiet world to its end."""
CONVERGENCES = 3
"""Times they try to bring owed hosts home."""


def _sweep(world: World, row: Row, planned: int) -> None:
    if wakes.sweep(world, row, planned):
        wake(world, row, row.lane)


def _well_again(world: World, host: Host, content: str) -> None:
    host.sick.discard(content)


def _answer_what_waits(world: World) -> None:
    """Nobody disturbs any more: people answer what waits for them, and bring owed hosts home."""
    if "held for people" not in world.defences:
        return
    world.held = ""
    for row in [r for r in world.rows.values() if r.open]:
        for who in people.PEOPLE:
            if row.status is Status.AWAITING_APPROVAL:
                people.approve(world, row, who)
        if row.paused:
            people.resume(world, row)
        if any(s.held and s.status is StepStatus.PENDING for s in row.steps.values()):
            word = world.rng.choice((people.retry, people.abort, people.resume, people.abandon))
            word(world, row)
    people.wake_all_waiting(world)
    if world.convergences < CONVERGENCES and not any(r.open for r in world.rows.values()) and people.converge(world):
        world.convergences += 1


EVENTS: dict[str, Callable[..., object]] = {
    "hint": wake,
    "sweep": _sweep,
    "act": act,
    "answer": answered,
    "renew": renew,
    "judge": judge,
    "outside": faults.strike,
    "asked": people.deploy,
    "well again": _well_again,
}


def play_one(world: World) -> None:
    """From the first request to the end. Raises Violation."""
    faults.draw(world)
    people.deploy(world)
    helped = QUIET_AFTER
    while world.now < LIMIT:
        due = world.queue[0][0] if world.queue else helped
        if due >= helped:
            _step_to(world, helped)
            _answer_what_waits(world)
            helped += HELP_EVERY
            if not world.queue and not any(r.open for r in world.rows.values()):
                break
        else:
            _, _, event, about = heapq.heappop(world.queue)
            _step_to(world, due)
            EVENTS[event](world, *about)
        _check(world)
    at_the_end(world)


def _step_to(world: World, when: int) -> None:
    if when != world.now:
        world.now = when
        world.moment = world.at(when)


def _check(world: World) -> None:
    for invariant in INVARIANTS:
        invariant(world)
    world.news = News()


def play(worlds: int, seed: int, defences: frozenset[str] | None = None) -> tuple[Counter[str], list[str], str]:
    """Play worlds with consecutive seeds: what was injected, the violations found, and the digest of all traces."""
    injected: Counter[str] = Counter()
    found: list[str] = []
    digest = hashlib.sha256()
    for number in range(seed, seed + worlds):
        world = World(number) if defences is None else World(number, defences)
        try:
            play_one(world)
        except Violation as violation:
            found.append(f"seed {number}: {violation}")
        except Exception as error:
            # A world that cannot go on is found like any other, with the seed that plays it again.
            found.append(f"seed {number}: {type(error).__name__}: {error}")
        injected.update(world.faults)
        digest.update(repr(world.trace).encode())
    return injected, found, digest.hexdigest()


def play_side_by_side(worlds: int, seed: int, defences: frozenset[str] | None = None) -> tuple[Counter[str], list[str]]:
    """Play worlds on all processors."""
    share = max(1, min(500, -(-worlds // (os.cpu_count() or 1))))
    starts = range(seed, seed + worlds, share)
    counts = [min(share, seed + worlds - first) for first in starts]
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=gc.freeze) as pool:
        parts = list(pool.map(play, counts, starts, [defences] * len(counts)))
    return sum((p[0] for p in parts), Counter()), [line for p in parts for line in p[1]]
