"""Who has to say yes to a plan, by its risk, and which yes still counts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from deployments.engine.facts import earliest
from deployments.engine.risk import LEVELS

MOST = 10
"""People of whom a yes may be demanded: more is a mistake."""

Demanded = int | Mapping[str, int]
"""As it is declared: for every risk alike, or by the name of each."""


def needed(demanded: Demanded, risk: str) -> int:
    """How many people must say yes to a plan of this risk; one whose risk nobody assessed counts as the highest."""
    if isinstance(demanded, Mapping):
        return demanded.get(risk, demanded[LEVELS[-1].value])
    return demanded


def by_risk(demanded: Demanded) -> dict[str, int]:
    """How many people each risk demands."""
    return {level.value: needed(demanded, level.value) for level in LEVELS}


def wrong(demanded: object) -> str:
    """What is wrong with a declared demand; "" where nothing is."""
    names = [level.value for level in LEVELS]
    if type(demanded) is int:
        return "" if 0 <= demanded <= MOST else f"must be from 0 to {MOST} people"
    if not isinstance(demanded, Mapping):
        return "must be a number of people, or a mapping of each risk to one"
    if set(demanded) != set(names):
        return f"must say how many people each risk needs: {', '.join(names)}"
    counts = [demanded[name] for name in names]
    if not all(type(count) is int and 0 <= count <= MOST for count in counts):
        return f"must be from 0 to {MOST} people for each risk"
    fewer = next(((low, high) for low, high in pairwise(names) if demanded[high] < demanded[low]), None)
    return f"a higher risk never needs fewer: {fewer[1]} has fewer than {fewer[0]}" if fewer else ""


def looser(own: object, environments: Demanded) -> bool:
    """Whether an installation's own demand asks fewer people for some risk than its environment does."""
    if wrong(own):
        return False  # refused for what it is
    assert isinstance(own, int | Mapping)
    return any(needed(own, level.value) < needed(environments, level.value) for level in LEVELS)


@dataclass(frozen=True, slots=True)
class Voice:
    """One person's yes to the plan as it is now."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """Which voices count at a time. until: when one that is needed expires first; expired: a sentence about others."""

    count: int
    until: datetime | None
    expired: str


def standing(voices: Iterable[Voice], *, needed: int, lives: timedelta, now: datetime) -> Standing:
    """Count the voices that have not expired; nobody is named where enough of them stand."""
    every = sorted(voices, key=lambda voice: voice.at)
    counting = [voice for voice in every if now < voice.at + lives]
    if len(counting) >= needed:
        # So many may expire before one is missing.
        until = earliest(voice.at + lives for voice in counting[len(counting) - needed :][:1]) if needed else None
        return Standing(len(counting), until, "")
    gone = [voice for voice in every if voice not in counting]
    told = " and ".join(f"that of {voice.by} expired at {voice.at + lives:%Y-%m-%d %H:%M} UTC" for voice in gone)
    return Standing(len(counting), None, told)
