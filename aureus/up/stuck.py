"""Who of the tree is there and does not work: judged by what /ready tells of the canaries. No clock, no network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aureus.up.processes import WORKERS

ANSWERS = {**{f"worker {name}": queues for name, queues, _ in WORKERS}, "dispatch": ("dispatcher",)}
"""Whose canaries each process answers."""


@dataclass
class Lookout:
    """Remembers for how long it could have known.

    limit: seconds. Nobody is called stuck unless he has run, and the database and the broker have answered, for as
    long: who was away with them is late, and works.
    """

    limit: float
    well_since: float | None = None
    broker_since: float | None = None
    silent_since: float | None = None

    def judge(
        self, now: float, ready: Mapping[str, Any] | None, alive: bool, running: Mapping[str, float]
    ) -> list[str]:
        """The processes to replace.

        ready: what /ready said, None where it was not 200; alive: /live answered; running: seconds since each start.
        """
        self.well_since = _since(self.well_since, now, ready is not None)
        self.broker_since = _since(self.broker_since, now, ready is not None and ready["checks"]["dependencies"])
        self.silent_since = _since(self.silent_since, now, not alive)
        suspects = [] if ready is None else self._silent(now, ready.get("queues", {}))
        if self._long(self.silent_since, now):
            suspects.append("web")
        return [name for name in suspects if running.get(name, 0.0) > self.limit]

    def _silent(self, now: float, ages: Mapping[str, float | None]) -> list[str]:
        late = {name for name, age in ages.items() if age is None or age > self.limit}
        queues = {name for names in ANSWERS.values() for name in names} - {"dispatcher"}
        if not self._long(self.well_since, now):
            return []
        if not self._long(self.broker_since, now):
            late -= queues
        silent = [process for process, names in ANSWERS.items() if late & set(names)]
        # Where nobody answers, it may as well be that nobody is asked.
        return [*silent, "beat"] if queues <= late else silent

    def _long(self, since: float | None, now: float) -> bool:
        return since is not None and now - since > self.limit


def _since(before: float | None, now: float, holds: bool) -> float | None:
    if not holds:
        return None
    return now if before is None else before
