"""Every strategy and the rollback of each under steady load, and what was lost of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle

from tests.traffic.scene import APPLICATIONS, PHASES, Scene


@dataclass
class Row:
    """What the load tool counted over all runs of one change: losses of either application are losses."""

    requests: int = 0
    """Sent to the application that was changed."""
    beside: int = 0
    """Sent meanwhile to the other one behind the same balancer."""
    lost: int = 0
    errors: int = 0
    times: int = 0
    why: dict[str, int] = field(default_factory=dict)


@dataclass
class Run:
    """One kind of balancer."""

    kind: str
    rows: dict[str, Row] = field(default_factory=dict)
    control: int = 0
    """Requests lost by restarts without draining: the tool sees a loss where there is one."""
    restarts: int = 0

    @property
    def requests(self) -> int:
        return sum(row.requests for row in self.rows.values())

    @property
    def lost(self) -> int:
        return sum(row.lost + row.errors for row in self.rows.values())

    def lines(self) -> list[str]:
        """The rows of a table."""
        found = [
            f"| {self.kind} | {what} | {row.times} | {row.requests:,} | {row.beside:,} | {row.lost + row.errors} |"
            for what, row in self.rows.items()
        ]
        return [*found, f"| {self.kind} | control: restarted without draining | {self.restarts} | | | {self.control} |"]


HEAD = [
    "| balancer | change | times | requests to what changed | to the other application | lost or failed |",
    "|---|---|---|---|---|---|",
]
CONTROL_WITHIN = 120.0
"""Seconds in which the control must have lost something."""


def play(
    scene: Scene, kind: str, requests: int, say: Callable[[str], None], phases: Sequence[tuple[str, str]] = PHASES
) -> Run:
    """Every change at least once, and on until so many requests met an application that was changing; the control."""
    run = Run(kind)
    for application in APPLICATIONS:
        scene.ship(application, "blue-green" if application == "sided" else "rolling")
        scene.begin_load(application)
        say(f"{application} is there, and under load")
    for number, (application, strategy) in enumerate(cycle(phases)):
        if number >= len(phases) and run.requests >= requests:
            break
        what = f"{strategy}, {application}"
        deployment = _counted(scene, run, application, what, partial(scene.ship, application, strategy))
        say(f"{what}: {run.rows[what]}")
        back = f"{what}: rolled back"
        _counted(scene, run, application, back, partial(scene.roll_back, deployment))
        say(f"{back}: {run.rows[back]}")
    _control(scene, run)
    say(f"control: {run.control} lost by {run.restarts} restarts without draining")
    return run


def restored(scene: Scene, times: int, say: Callable[[str], None], strategy: str = "rolling") -> list[float]:
    """Seconds from the first error that users saw to the last one, of a version that answers nothing but errors."""
    scene.ship("plain", "rolling")
    found = []
    for number in range(1, times + 1):
        scene.begin_load("plain")
        scene.ship_bad("plain", strategy)
        last = scene.end_load("plain")
        assert last["lost"] == 0, last["why_lost"]
        found.append(last["last_error_at"] - last["first_error_at"])
        say(f"fault {number}: {last['errors']} errors, restored after {found[-1]:.1f} s")
    return found


def _counted[Answer](scene: Scene, run: Run, changed: str, what: str, change: Callable[[], Answer]) -> Answer:
    before = {name: scene.figures(name) for name in APPLICATIONS}
    answer = change()
    row = run.rows.setdefault(what, Row())
    row.times += 1
    for name in APPLICATIONS:
        after = scene.figures(name)
        sent = after["sent"] - before[name]["sent"]
        row.requests += sent if name == changed else 0
        row.beside += 0 if name == changed else sent
        row.lost += after["lost"] - before[name]["lost"]
        row.errors += after["errors"] - before[name]["errors"]
        new = {why: count - before[name]["why_lost"].get(why, 0) for why, count in after["why_lost"].items()}
        row.why |= {why: row.why.get(why, 0) + count for why, count in new.items() if count}
    return answer


def _control(scene: Scene, run: Run) -> None:
    """Restart apps without draining until something is lost: a request has to be in flight at that instant."""
    before, ends = scene.figures("plain")["lost"], time.monotonic() + CONTROL_WITHIN
    while not run.control and time.monotonic() < ends:
        run.restarts += scene.restart_undrained("plain")
        run.control = scene.figures("plain")["lost"] - before
