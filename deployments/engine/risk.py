"""How risky a plan is, and why: facts in, the highest of what speaks for each level out.

Nobody sends a risk. Each reason has a level of its own, so that a person can check it; where nothing is promoted to, as
in a staging, each counts one level less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

MANY = 10
"""Hosts from which changing half of them at once is high: as many as nobody watches one by one."""
LARGE = 50
"""Hosts of a fleet that is large whatever the strategy."""


class Risk(StrEnum):
    """The levels of a plan's risk, from the lowest."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


LEVELS = tuple(Risk)
SCHEMA: Mapping[str, Risk] = {"expand": Risk.MEDIUM, "contract": Risk.HIGH, "irreversible": Risk.CRITICAL}
"""What a version's declared schema change adds; "none" adds nothing."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the risk of one plan is made of.

    tier: the highest riskTier of the workflow's tasks, in capitals; "" where none has one. promoted_to: its environment
    takes versions by promotion: it is a production. hosts: of the plan; at_once: the most that begin to serve the
    version at the same moment. failed_here, failed_elsewhere: attempts with this version that failed or were undone.
    in_a_row: the installation's last attempts that did, without a good one since. no_way_back: hosts that run something
    and could not go back.
    """

    environment: str
    promoted_to: bool = False
    tier: str = ""
    hosts: int = 1
    at_once: int = 1
    schema_change: str = "none"
    failed_here: int = 0
    failed_elsewhere: int = 0
    in_a_row: int = 0
    no_way_back: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Assessed:
    """A risk, and every reason with the level that it speaks for, the highest first."""

    risk: Risk
    reasons: tuple[tuple[Risk, str], ...] = ()


def assess(facts: Facts) -> Assessed:
    """The risk of a plan: the highest level that any reason speaks for."""
    found = [(level if facts.promoted_to else _one_less(level), why) for level, why in _reasons(facts)]
    ordered = tuple(sorted(found, key=lambda one: -LEVELS.index(one[0])))
    return Assessed(ordered[0][0] if ordered else Risk.LOW, ordered)


def _one_less(level: Risk) -> Risk:
    return LEVELS[max(LEVELS.index(level) - 1, 0)]


def _reasons(f: Facts) -> Iterator[tuple[Risk, str]]:
    if f.promoted_to:
        yield Risk.MEDIUM, f"{f.environment} takes versions by promotion: users are there"
    if f.tier in Risk.__members__:
        yield Risk[f.tier], f"a task of its workflow has the risk tier {f.tier}"
    if f.schema_change in SCHEMA:
        yield SCHEMA[f.schema_change], f"its schema change is declared as {f.schema_change}"
    yield from _of_size(f)
    yield from _of_history(f)
    if f.no_way_back:
        yield Risk.HIGH, f"there is no way back on {', '.join(f.no_way_back)}: no earlier version proved good there"


def _of_size(f: Facts) -> Iterator[tuple[Risk, str]]:
    if f.at_once > 1 and 2 * f.at_once >= f.hosts:
        yield Risk.HIGH if f.hosts >= MANY else Risk.MEDIUM, f"{f.at_once} of {f.hosts} hosts begin to serve it at once"
    if f.hosts >= LARGE:
        yield Risk.MEDIUM, f"it changes {f.hosts} hosts"


def _of_history(f: Facts) -> Iterator[tuple[Risk, str]]:
    if f.failed_here:
        yield Risk.HIGH, f"this version failed or was undone here {_times(f.failed_here)}"
    if f.failed_elsewhere:
        yield Risk.MEDIUM, f"this version failed or was undone elsewhere {_times(f.failed_elsewhere)}"
    if f.in_a_row:
        last = "the last attempt" if f.in_a_row == 1 else f"the last {f.in_a_row} attempts"
        yield Risk.HIGH if f.in_a_row > 1 else Risk.MEDIUM, f"{last} here failed or had to be undone"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
