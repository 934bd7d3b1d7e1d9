"""What happens next in a run: recorded facts and `now` in, exactly one action out. Pure and total."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from health.runs.facts import OPEN, Cause, Part, RunFacts, RunStatus, Standing, TaskStatus, standing, undo_of
from health.runs.plan import LOST_ATTEMPTS, Plan, Way


@dataclass(frozen=True, slots=True)
class Run:
    """Begin these, side by side: (way, task)."""

    tasks: tuple[tuple[Way, str], ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """These are not needed: task -> why."""

    tasks: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """These have no worker any more and are not begun again: (way, task)."""

    tasks: tuple[tuple[Way, str], ...]
    cause: Cause
    why: str


@dataclass(frozen=True, slots=True)
class Compensate:
    """End what has not begun, and take these back in this order."""

    tasks: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until`; None: until somebody answers or acts."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Finish:
    """The run ends so."""

    status: RunStatus
    why: str


Action = Run | Skip | GiveUp | Compensate | Wait | Finish


def decide(plan: Plan, facts: RunFacts, now: datetime) -> Action:
    """The next action. A run that has ended only waits."""
    if facts.status not in OPEN:
        return Wait(None)
    if (given_up := _given_up(plan, facts, now)) is not None:
        return given_up
    if facts.status is RunStatus.COMPENSATING:
        return _back(plan, facts, now)
    if facts.cancelled or _failed(facts.forward.values()):
        return _turn(plan, facts, now)
    return _forward(plan, facts, now)


def _given_up(plan: Plan, facts: RunFacts, now: datetime) -> GiveUp | None:
    lost = [part for part in facts.parts if _is_lost(part, now)]
    late = tuple((part.way, part.task) for part in lost if part.deadline_at is not None and part.deadline_at <= now)
    if late:
        return GiveUp(late, Cause.TIMEOUT, "it did not end before its deadline")
    gone = tuple((part.way, part.task) for part in lost if not _may_repeat(plan, part))
    if gone:
        return GiveUp(gone, Cause.LOST, "its worker was lost, and nobody knows whether it happened")
    return None


def _is_lost(part: Part, now: datetime) -> bool:
    return part.status is TaskStatus.RUNNING and part.lease_until is not None and part.lease_until <= now


def _may_repeat(plan: Plan, part: Part) -> bool:
    """May a call whose worker was lost be made again? That try counts as a failed one."""
    call, failures = plan.call(part.task, part.way), part.failures + 1
    return failures < call.retry.attempts or (call.repeatable and failures < LOST_ATTEMPTS)


def _forward(plan: Plan, facts: RunFacts, now: datetime) -> Action:
    parts = facts.forward
    statuses = {name: part.status for name, part in parts.items()}
    picked = {name: part.picked for name, part in parts.items()}
    skipped: dict[str, str] = {}
    free: list[Part] = []
    for name in plan.order:
        if statuses[name] is not TaskStatus.PENDING:
            continue
        where = standing(name, plan, statuses, picked)
        if where is Standing.SKIP:
            statuses[name] = TaskStatus.SKIPPED
            skipped[name] = "no decision picked it" if name in plan.named_by else "no branch before it was run"
        elif where is Standing.RUN:
            free.append(parts[name])
    if skipped:
        return Skip(skipped)
    running = [part for part in parts.values() if part.status is TaskStatus.RUNNING]
    due = [part for part in (*free, *running) if _is_due(part, now)]
    if due:
        return Run(tuple((part.way, part.task) for part in due))
    if free or running:
        return Wait(_next(free + running))
    return Finish(RunStatus.PASSED, "every task that was needed has passed")


def _turn(plan: Plan, facts: RunFacts, now: datetime) -> Action:
    """From forward to back, as soon as nothing is under way: only then is known what there is to take back."""
    parts = facts.forward
    running = [part for part in parts.values() if part.status is TaskStatus.RUNNING]
    if running:
        # A lost one that might be repeated is not: there is no use in it any more.
        gone = tuple((part.way, part.task) for part in running if _is_lost(part, now))
        if gone:
            return GiveUp(gone, Cause.LOST, "its worker was lost while the run was ending")
        return Wait(_next(running))
    return Compensate(_backwards(plan, parts.values(), now), _why(facts))


def _backwards(plan: Plan, parts: Iterable[Part], now: datetime) -> tuple[str, ...]:
    """Who takes back what, the last done first. What takes back several comes once, after the first of them."""
    done = sorted(parts, key=lambda part: (part.ended_at or now, part.position), reverse=True)
    names = [name for part in done if (name := undo_of(plan, part))]
    return tuple(reversed(dict.fromkeys(reversed(names))))


def _back(plan: Plan, facts: RunFacts, now: datetime) -> Action:
    left = next((part for part in facts.back if not part.ended), None)
    if left is not None:
        return Run(((left.way, left.task),)) if _is_due(left, now) else Wait(_next([left]))
    status = RunStatus.FAILED if _failed(facts.forward.values()) else RunStatus.CANCELLED
    stuck = ", ".join(part.task for part in _failed(facts.back))
    undone = f"; NOT taken back, a person must look: {stuck}" if stuck else ""
    return Finish(status, _why(facts) + undone)


def _is_due(part: Part, now: datetime) -> bool:
    """Pending and its time has come; or running under a lease that has run out."""
    return part.not_before <= now if part.status is TaskStatus.PENDING else _is_lost(part, now)


def _next(parts: Iterable[Part]) -> datetime | None:
    """The first moment at which one of them may need somebody."""
    moments = [part.not_before if part.status is TaskStatus.PENDING else part.lease_until for part in parts]
    return min((moment for moment in moments if moment is not None), default=None)


def _failed(parts: Iterable[Part]) -> list[Part]:
    return [part for part in parts if part.status is TaskStatus.FAILED]


def _why(facts: RunFacts) -> str:
    failed = sorted(_failed(facts.forward.values()), key=lambda part: (str(part.ended_at), part.position))
    return f"task {failed[0].task} failed" if failed else f"cancelled: {facts.cancelled}"
