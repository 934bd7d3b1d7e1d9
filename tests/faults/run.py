"""A whole run: load, faults by a seed, quiet, checks, and the table. `python -m tests.faults --help`."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import wait_until
from tests.faults import checks, faults
from tests.faults.load import PATIENCE, Story
from tests.faults.scene import Scene

EVERY = 5.0
"""Seconds between two faults. On two cores half of it leaves no time for the deployments between the starts."""
QUIET = 60.0
"""Seconds without a fault after which everything must have ended."""
WINDOWS = (4.0, 4.0, 8.0)
ROUNDS = 4
"""Times that what never struck is tried again when the load has ended."""
MANY, FAULTS_OF_MANY = 100, 100
"""A run of so many deployments proves nothing with fewer faults."""


@dataclass
class Run:
    """What is known at the end."""

    seed: int
    deployments: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    contradictions: dict[str, list[str]] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    slow: int = 0
    """Deployments that were open for longer than the load's patience while everything broke."""
    consuming_again: float = 0.0
    """Seconds after every connection to Valkey was half-open until every queue was consumed again."""

    @property
    def holds(self) -> bool:
        missing = [fault.name for fault in faults.ALL if not self.injected[fault.name]]
        few = self.deployments >= MANY and sum(self.injected.values()) < FAULTS_OF_MANY
        slow = self.consuming_again > faults.CONSUMED_WITHIN
        return not any(self.contradictions.values()) and not (missing or few or slow)

    def table(self) -> str:
        lines = ["| fault | injected |", "|---|---|"]
        lines += [f"| {fault.name} | {self.injected[fault.name]} |" for fault in faults.ALL]
        lines += ["", "| claim | contradicted |", "|---|---|"]
        lines += [f"| {claim} | {len(found)} |" for claim, found in self.contradictions.items()]
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        lines += ["", f"{self.deployments} deployments asked for ({ends}), {sum(self.injected.values())} faults in "
                  f"{self.seconds:.0f} s, seed {self.seed}.",
                  f"{self.slow} of them were open for longer than {PATIENCE:g} s while faults struck.",
                  f"Valkey half-open: every queue was consumed again after {self.consuming_again:.1f} s."]  # fmt: skip
        return "\n".join(lines)


def play(
    folder: Path,
    seed: int,
    deployments: int,
    *,
    environments: int = 6,
    every: float = EVERY,
    seconds: float = 86_400.0,
    away: float = faults.AWAY,
    say: Callable[[str], None],
) -> Run:
    """Play one run in a new folder. Real processes do not repeat exactly: the seed repeats what is chosen.

    every: seconds between two faults. seconds: after so many no further deployment is asked for. away: seconds for
    which Valkey is gone altogether, when it is.
    """
    run, scene = Run(seed), Scene(folder, away)
    begun = time.monotonic()
    try:
        scene.begin()
        stories = _stories(scene, seed, deployments, environments, say)
        for story in stories:
            story.ends = begun + seconds
        run.consuming_again = faults.seconds_to_consume_again(scene)
        threads = [story.start() for story in stories]
        _break(scene, random.Random(seed), run, lambda: any(t.is_alive() for t in threads), every, say)
        for thread in threads:
            thread.join()
        scene.start_beside()
        _come_to_rest(scene)
        for story in stories:
            story.read_again()
        run.contradictions = checks.all_of_them(scene, stories)
        run.slow = sum(story.slow for story in stories)
        run.deployments = sum(len(story.asked) for story in stories)
        run.ends = Counter(_how(asked) for story in stories for asked in story.asked)
    finally:
        run.seconds = time.monotonic() - begun
        scene.end()
    return run


def _how(asked: object) -> str:
    status, outcome = getattr(asked, "status", ""), getattr(asked, "outcome", "")
    return f"{status} ({outcome})" if outcome else status.replace("_", " ")


def _stories(scene: Scene, seed: int, deployments: int, environments: int, say: Callable[[str], None]) -> list[Story]:
    stories = []
    for number in range(environments):
        name = f"f{number + 1}"
        is_canary, window = number % 3 == 1, WINDOWS[number % len(WINDOWS)]
        # A canary has three times the steps, and so three times the chances of being broken.
        fleet = scene.new_canary(name, 2, window) if is_canary else scene.new_fleet(name, 2 + number % 2, window)
        count = deployments // environments + (number < deployments % environments)
        stories.append(Story(scene, fleet, name, count, random.Random(f"{seed}-{name}"), say))
    return stories


def _break(
    scene: Scene,
    rng: random.Random,
    run: Run,
    goes_on: Callable[[], bool],
    every: float,
    say: Callable[[str], None],
) -> None:
    """Every fault once in a shuffled order, then again, until the load has ended; then those that never struck."""
    bag: list[faults.Fault] = []
    flying: list[threading.Thread] = []
    alone, next_round = threading.Lock(), 0

    def strike(fault: faults.Fault, chance: random.Random) -> None:
        try:
            if fault.alone:
                with alone:
                    fault.strikes(scene, chance)
            else:
                fault.strikes(scene, chance)
        except faults.Missed:
            return
        run.injected[fault.name] += 1
        say(f"{fault.name} ({run.injected[fault.name]})")

    def begin(fault: faults.Fault) -> None:
        thread = threading.Thread(target=strike, args=(fault, random.Random(rng.random())), daemon=True)
        thread.start()
        flying.append(thread)
        time.sleep(every)

    def land() -> None:
        while flying:
            flying.pop().join(120 + scene.away)

    while goes_on():
        if not bag:
            common, next_round = next_round % 4 != 0, next_round + 1
            bag = [fault for fault in faults.ALL if not (common and fault.rare)]
            rng.shuffle(bag)
            bag.sort(key=lambda fault: fault.early)
            scene.start_beside()
        begin(bag.pop())
    for _ in range(ROUNDS):
        land()
        # What met nothing to break is tried again, such as a flush while Valkey was away.
        for fault in faults.ALL:
            if not run.injected[fault.name]:
                begin(fault)
    land()


def _come_to_rest(scene: Scene) -> None:
    """Until nothing is under way; at most the time that a user would give it."""
    try:
        wait_until(lambda: not scene.rows(checks.STUCK), seconds=QUIET, what="everything has ended")
    except AssertionError:
        return  # the check says what is stuck
