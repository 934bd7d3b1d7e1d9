"""What one answer of an effect makes of its step: the arithmetic of retries, patience and backoff."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from deployments.engine.facts import OnFailure, Stage, Step
from deployments.engine.status import StepStatus

MAX_BACKOFF = 30.0
"""Seconds between two tries at the most (research on durable execution: 30 s, for ever, then people are told)."""


class Result(StrEnum):
    """What an effect answers."""

    PASSED = "passed"
    FAILED = "failed"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one host; None means not looked at."""

    endpoint: str
    looked: bool = False
    content: str | None = None
    healthy: bool | None = None
    serving: bool | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one run of one step.

    until: a pending step is looked at again then; None holds it until somebody acts.
    permanent: trying again cannot help; the stage's patience is waited for all the same.
    over: the step was ended, and no patience is left for it.
    rule: the rule by which it was judged, for people.
    """

    result: Result
    reason: str = ""
    until: datetime | None = None
    permanent: bool = False
    over: bool = False
    rule: str = ""
    observed: tuple[Observation, ...] = ()
    output: Mapping[str, Any] = field(default_factory=dict)


def passed(reason: str = "", **rest: Any) -> Answer:
    """The step has done what it is for."""
    return Answer(Result.PASSED, reason, **rest)


def failed(reason: str, **rest: Any) -> Answer:
    """This try has failed; whether the step has is for `after` to say."""
    return Answer(Result.FAILED, reason, **rest)


def pending(reason: str, until: datetime | None, **rest: Any) -> Answer:
    """Not yet: look again at `until`, or when somebody has acted."""
    return Answer(Result.PENDING, reason, until, **rest)


def backoff(failures: int) -> float:
    """Seconds to wait after the n-th failure: 1, 2, 4 ... 30."""
    return min(2.0 ** max(failures - 1, 0), MAX_BACKOFF)


def gives_up(stage: Stage, *, failures: int, since: datetime, now: datetime, permanent: bool = False) -> bool:
    """Whether a step that failed this often, without a break since then, has failed for good."""
    out_of_tries = permanent or failures > stage.retries
    return out_of_tries and now >= since + timedelta(seconds=stage.patience)


def after(step: Step, stage: Stage, answer: Answer, now: datetime) -> Step:
    """The step as it is once the answer is recorded. The caller has checked the fence."""
    reason = answer.reason
    if answer.result is Result.PASSED:
        return replace(step, lease_until=None, reason=reason, status=StepStatus.PASSED, held=False)
    free = replace(step, lease_until=None, reason=reason)
    if answer.result is Result.PENDING:
        held = answer.until is None
        return replace(free, status=StepStatus.PENDING, held=held, not_before=answer.until or now, failing_since=None)
    return _after_failure(free, stage, answer, now)


def _after_failure(step: Step, stage: Stage, answer: Answer, now: datetime) -> Step:
    failures, since = step.failures + 1, step.failing_since or now
    failing = replace(step, failures=failures, failing_since=since)
    if answer.over or gives_up(stage, failures=failures, since=since, now=now, permanent=answer.permanent):
        return _ended(failing, stage)
    again = now + timedelta(seconds=backoff(failures))
    return replace(failing, status=StepStatus.PENDING, not_before=again)


def given_up(step: Step, stage: Stage, why: str) -> Step:
    """The step as it is once `decide` has given it up."""
    return _ended(replace(step, lease_until=None, reason=why), stage)


def _ended(step: Step, stage: Stage) -> Step:
    """Failed for good, or held for a person where going either way by itself would do harm."""
    if stage.on_failure is OnFailure.HOLD:
        return replace(step, status=StepStatus.PENDING, held=True)
    return replace(step, status=StepStatus.FAILED)


def claimed(step: Step, *, fence: int, lease_until: datetime, deadline_at: datetime, now: datetime) -> Step:
    """The step as a claim leaves it. A claim of a lost step counts the lost try as a failure."""
    lost = step.status is StepStatus.RUNNING
    return replace(
        step,
        status=StepStatus.RUNNING,
        fence=fence,
        lease_until=lease_until,
        deadline_at=step.deadline_at or deadline_at,
        attempts=step.attempts + 1,
        failures=step.failures + lost,
        failing_since=(step.failing_since or now) if lost else step.failing_since,
    )
