"""What an answer makes of a part: passed, tried again later, or failed. Pure; chance is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from health.runs.choosing import chosen
from health.runs.facts import DOUBTFUL, Cause, Part, TaskStatus
from health.runs.plan import Plan, Way
from releases.workflow import Kind


class Result(StrEnum):
    """What came of a try. Later: nothing yet, ask again at `until`."""

    PASSED = "passed"
    FAILED = "failed"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Answer:
    """`final`: another try would end alike. `output` is what later tasks and decisions may look at."""

    result: Result
    reason: str = ""
    output: Mapping[str, Any] = field(default_factory=dict)
    cause: Cause = Cause.NONE
    final: bool = False
    until: datetime | None = None


def after(plan: Plan, part: Part, answer: Answer, now: datetime, chance: float) -> Part:
    """The part once it was answered. `chance`, from 0 to 1, shortens the pause before the next try."""
    free = replace(part, lease_until=None)
    if answer.result is Result.LATER:
        return replace(free, status=TaskStatus.PENDING, not_before=answer.until or now)
    if answer.result is Result.PASSED:
        task = plan.tasks[part.task]
        decides = part.way is Way.FORWARD and task.kind is Kind.DECISION
        picked = chosen(task, answer.output) if decides else ()
        return replace(free, status=TaskStatus.PASSED, ended_at=now, picked=picked, cause=Cause.NONE)
    failures, retry = part.failures + 1, plan.call(part.task, part.way).retry
    cause = answer.cause or Cause.ERROR
    free = replace(free, failures=failures, cause=cause, doubtful=part.doubtful or cause in DOUBTFUL)
    if answer.final or failures >= retry.attempts:
        return replace(free, status=TaskStatus.FAILED, ended_at=now)
    pause = timedelta(seconds=retry.pause(failures, chance))
    return replace(free, status=TaskStatus.PENDING, not_before=now + pause)


def given_up(part: Part, cause: Cause, now: datetime) -> Part:
    """The part once nobody works on it any more and nobody will."""
    return replace(part, status=TaskStatus.FAILED, ended_at=now, lease_until=None, cause=cause, doubtful=True)
