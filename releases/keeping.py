"""Which artifacts may go: those that nobody needs, that are old, and that newer ones have followed. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

FEWEST_DAYS = 1
"""No upload takes longer: what is on its way in again is younger than whatever may be removed."""


@dataclass(frozen=True, slots=True)
class Rule:
    """days: how long an artifact is kept after it was last sent or used. newest: versions of each application that are
    kept whatever their age."""

    days: int
    newest: int

    def before(self, now: datetime) -> datetime:
        """What was last used before this is old."""
        return now - timedelta(days=self.days)


@dataclass(frozen=True, slots=True)
class Use:
    """One version that has the artifact.

    place: how many versions of its application were registered after it. last: when it was registered, or last
    deployed. needed: by whom, as the end of a sentence; "" by nobody.
    """

    name: str
    place: int
    last: datetime
    needed: str = ""


def why_kept(uses: Sequence[Use], came_at: datetime, rule: Rule, now: datetime) -> str:
    """Why these bytes stay; "" where they may go. came_at: when they were last sent."""
    for use in uses:
        if use.needed:
            return f"{use.name} {use.needed}"
    for use in uses:
        if use.place < rule.newest:
            return f"{use.name} is one of the {rule.newest} newest of its application"
    last = max([came_at, *(use.last for use in uses)])
    if last >= rule.before(now):
        return f"it was last used {(now - last).days} days ago, and is kept for {rule.days}"
    return ""
