"""Truth against record: what the looks at one endpoint come to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise


class Standing(StrEnum):
    """How an endpoint stands to our record."""

    UNSEEN = "unseen"
    AS_RECORDED = "as_recorded"
    DRIFTED = "drifted"
    FLAPPING = "flapping"
    UNREACHABLE = "unreachable"
    OWED = "owed"
    AHEAD = "ahead"


UNREACHED = 3
"""Looks in a row without an answer. One is a lost packet, two may be one reboot."""
CONFIRMED = 2
"""Looks in a row that must differ: between a switched link and the new process a healthy host differs for a moment."""
WINDOW = timedelta(hours=1)
"""How far back restarts and changes are counted: twelve looks at the usual interval."""
RESTARTS = 3
"""Restarts within the window. One may be a person and a second their correction; systemd itself gives up only at five
within ten seconds, so that a service which falls every few minutes is noticed by nobody else."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look saw. `started_at`: seconds by the host's clock; `version`: what the health answer declares."""

    at: datetime
    reached: bool = True
    error: str = ""
    content: str = ""
    fence: int = 0
    service: str = ""
    started_at: int | None = None
    restarts: int | None = None
    healthy: bool | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The state and its reason. `confirm`: the newest look says something else, so the next one should come soon."""

    state: Standing
    why: str = ""
    confirm: bool = False


def judge(recorded: str, owed: str, seen: Sequence[Sighting], highest: int) -> Judgement:
    """How an endpoint stands, by its looks, oldest first. `recorded`: the content our record says runs there.

    highest: the highest fence that was ever given.
    """
    reached = [one for one in seen if one.reached]
    newest = reached[-1] if reached else None
    if newest is not None and newest.fence > highest:
        return Judgement(Standing.AHEAD, f"it saw fence {newest.fence}, and the highest we gave is {highest}")
    if owed:
        return Judgement(Standing.OWED, owed)
    if silent := _silent(seen):
        return silent
    waiting = bool(seen) and not seen[-1].reached
    if newest is None:
        return Judgement(Standing.UNSEEN, seen[-1].error if seen else "nobody has looked yet", waiting)
    if why := _flaps(reached):
        return Judgement(Standing.FLAPPING, why, waiting)
    return _compared(recorded, reached, waiting)


def _silent(seen: Sequence[Sighting]) -> Judgement | None:
    last = seen[-UNREACHED:]
    if len(last) < UNREACHED or any(one.reached for one in last):
        return None
    return Judgement(Standing.UNREACHABLE, f"not reached in {UNREACHED} looks: {last[-1].error}")


def _compared(recorded: str, reached: Sequence[Sighting], waiting: bool) -> Judgement:
    """Only looks since the last act of ours count: before it the host rightly ran something else."""
    since = [one for one in reached if one.fence == reached[-1].fence]
    why = _differs(recorded, since[-1])
    if not why:
        return Judgement(Standing.AS_RECORDED, "", waiting)
    if len(since) >= CONFIRMED and all(_differs(recorded, one) for one in since[-CONFIRMED:]):
        return Judgement(Standing.DRIFTED, why, waiting)
    before = Standing.AS_RECORDED if len(since) > 1 else Standing.UNSEEN
    return Judgement(before, f"seen once: {why}", True)


def _differs(recorded: str, seen: Sighting) -> str:
    """What is not as recorded; "" where all is. No answer of its health address is no difference: windows judge it."""
    if seen.content != recorded:
        return f"its link is on {seen.content or 'nothing'}, the record says {recorded or 'nothing'}"
    if seen.version is None or seen.version.removeprefix("v") in (recorded, recorded.rsplit("-", 1)[0]):
        return ""
    return f"its health answer says {seen.version}, the record says {recorded or 'nothing'}"


def _flaps(reached: Sequence[Sighting]) -> str:
    """Why it flaps; "" where it does not. What happened under a new fence was us."""
    late = [one for one in reached if one.at > reached[-1].at - WINDOW]
    own = [(a, b) for a, b in pairwise(late) if a.fence == b.fence]
    minutes = int(WINDOW.total_seconds() // 60)
    restarts = sum(_restarts(a, b) for a, b in own)
    if restarts >= RESTARTS:
        return f"its service restarted {restarts} times within {minutes} minutes"
    for what, read in CHANGING.items():
        values = _changes([one for one in late if one.fence == late[-1].fence], read)
        if len(set(values)) < len(values):
            return f"{what} changed back and forth within {minutes} minutes: {', '.join(values)}"
    return ""


CHANGING: dict[str, Callable[[Sighting], str | None]] = {
    "its link": lambda one: one.content or "nothing",
    "the version it answers with": lambda one: one.version,
}


def _restarts(before: Sighting, after: Sighting) -> int:
    """systemd counts its own restarts and begins anew at a person's; a new start time is one restart at least."""
    counted = 0
    if before.restarts is not None and after.restarts is not None:
        counted = after.restarts - before.restarts if after.restarts >= before.restarts else after.restarts
    both = before.started_at is not None and after.started_at is not None
    return max(counted, int(both and before.started_at != after.started_at))


def _changes(seen: Sequence[Sighting], read: Callable[[Sighting], str | None]) -> list[str]:
    """The values one after another, equal neighbours once; looks that saw none are left out."""
    values: list[str] = []
    for one in seen:
        value = read(one)
        if value is not None and (not values or values[-1] != value):
            values.append(value)
    return values
