"""The verbs on runs, and the only writers of their rows: start, advance, settle, cancel, and who is due."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from aureus import clock, lease
from aureus.journal.actor import AUREUS, Actor
from aureus.journal.models import record
from aureus.journal.plain import plain
from aureus.journal.refusals import Conflict, NotFound
from health.models import TaskRun, WorkflowRun
from health.runs import decide as core
from health.runs.facts import OPEN, Cause, RunStatus, TaskStatus
from health.runs.plan import Call, Plan, Way
from health.runs.rows import facts_of, kept, locked, new, part_of, plan_for, write
from health.runs.settle import Answer, after, given_up
from releases import registry
from releases.models import Version
from releases.spec import SpecInvalid

SIDE_BY_SIDE = 16
"""Tasks that one worker process works on at a time."""
HINT_AGAIN_AFTER = 3
"""Seconds before a run that is still due is hinted once more."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A task that this worker holds under this fence. `began`: its first try; `now`: this one. `key` is of the call.

    earlier: what the answer before said, where there was one.
    """

    id: int
    run: UUID
    fence: int
    way: Way
    task: str
    call: Call
    key: str
    began: datetime
    now: datetime
    earlier: Mapping[str, Any]


@dataclass(slots=True)
class Turn:
    """What a wake-up came to. `again`: there is more to do than one worker takes."""

    claims: list[Claim] = field(default_factory=list)
    again: bool = False


@transaction.atomic
def start(
    version_id: UUID | str,
    params: Mapping[str, Any],
    *,
    tools: Collection[str],
    actor: Actor,
    environment: str = "",
) -> WorkflowRun:
    """Write a run down with all its tasks; a worker takes it up. Raises NotFound, or Conflict where it cannot run here.

    tools: those that it may use. environment: where it runs; empty: nowhere.
    """
    version = registry.get(version_id)
    if version.withdrawn_at is not None:
        raise Conflict(f"{version} was withdrawn ({version.withdrawn_reason}): run another version", code="withdrawn")
    plan = plan_of_version(version)
    _refuse_unknown(plan, tools, str(version))
    run = WorkflowRun.objects.create(
        version=version, environment=environment, params=plain(dict(params)), asked_by=actor.name
    )
    now = clock.now()
    calls = ((name, plan.call(name, Way.FORWARD)) for name in plan.order)
    TaskRun.objects.bulk_create(new(run, name, Way.FORWARD, at, call, now) for at, (name, call) in enumerate(calls))
    WorkflowRun.objects.filter(pk=run.pk).update(wake_at=now)
    about = {
        "version": str(version.pk),
        "tasks": len(plan.order),
        **({"environment": environment} if environment else {}),
    }
    record(run.stream, "workflow_run.requested", actor, **about)
    run.refresh_from_db()
    return run


def plan_of_version(version: Version) -> Plan:
    """What a run of it would do. Raises Conflict where its spec cannot be run."""
    try:
        return plan_for(version.pk)
    except SpecInvalid as invalid:
        raise Conflict(f"the spec of {version} cannot be run: {invalid}", code="spec_unusable") from invalid


def _refuse_unknown(plan: Plan, tools: Collection[str], version: str) -> None:
    if not plan.order:
        raise Conflict(f"the spec of {version} has no tasks, so there is nothing to run", code="no_tasks")
    wanted = {task.tool for task in plan.tasks.values()} | {t.undo.tool for t in plan.tasks.values() if t.undo}
    if unknown := sorted(wanted - set(tools)):
        there = ", ".join(sorted(tools))
        sentence = f"{version} needs tools that this server does not have: {', '.join(unknown)}; there is: {there}"
        raise Conflict(sentence, code="unknown_tool")


@transaction.atomic
def cancel(run_id: UUID | str, *, reason: str, actor: Actor) -> WorkflowRun:
    """Begin nothing more of a run, and take back what it did. Twice is as once. Raises Conflict after its end."""
    run = locked(run_id)
    if run.status not in OPEN:
        raise Conflict(f"the run has ended: it is {run.status}", code="ended")
    if not run.cancel_reason and run.status != RunStatus.COMPENSATING:
        _update(run, cancel_reason=reason, wake_at=clock.now(), hinted_at=None)
        record(run.stream, "workflow_run.cancel_requested", actor, reason=reason)
    return run


@transaction.atomic
def advance(run_id: UUID | str) -> Turn:
    """Decide and write until there is something to do or to wait for. Idempotent: a repeated wake-up finds nothing."""
    try:
        run = locked(run_id)
    except NotFound:
        return Turn()  # the hint is older than the dump that this database was restored from
    if run.status not in OPEN:
        _update(run, wake_at=None)
        return Turn()
    try:
        plan = plan_for(run.version_id)
    except SpecInvalid as invalid:
        why = f"this release of Aureus cannot read its spec, so it did not go on and took nothing back: {invalid}"
        _move(run, RunStatus.FAILED, why[:2000], ended_at=clock.now(), wake_at=None)
        return Turn()
    if run.status == RunStatus.PENDING:
        _move(run, RunStatus.RUNNING, "started", started_at=clock.now())
    while True:
        now = clock.now()
        match core.decide(plan, facts_of(run), now):
            case core.Run(tasks):
                return _begin(run, plan, tasks)
            case core.Skip(tasks):
                for name, why in tasks.items():
                    _skip(run, [name], why, now)
            case core.GiveUp(tasks, cause, why):
                _give_up(run, tasks, cause, why, now)
            case core.Compensate(tasks, why):
                _turn_back(run, plan, tasks, why, now)
            case core.Wait(until):
                _update(run, wake_at=until)
                return Turn()
            case core.Finish(status, why):
                _move(run, status, why, ended_at=now, wake_at=None)
                return Turn()


def _begin(run: WorkflowRun, plan: Plan, tasks: tuple[tuple[Way, str], ...]) -> Turn:
    chosen = tasks[:SIDE_BY_SIDE]
    way = chosen[0][0]
    rows = TaskRun.objects.filter(run=run, way=way, task__in=[name for _, name in chosen])
    lost = set(rows.filter(status=TaskStatus.RUNNING).values_list("pk", flat=True))
    fences = lease.claim(TaskRun._meta.db_table, list(rows.values_list("pk", flat=True)))
    now = clock.now()
    TaskRun.objects.filter(pk__in=fences, started_at=None).update(started_at=now)
    TaskRun.objects.filter(pk__in=lost & set(fences)).update(doubtful=True, cause=Cause.LOST)
    claims = [_claim(row, plan, fences[row.pk], now) for row in TaskRun.objects.filter(pk__in=fences)]
    again = len(tasks) > len(chosen)
    _update(run, wake_at=now if again else now + timedelta(seconds=lease.SECONDS))
    return Turn(claims, again)


def _claim(row: TaskRun, plan: Plan, fence: int, now: datetime) -> Claim:
    call = plan.call(row.task, Way(row.way))
    key = call.key or f"{row.run_id}:{row.way}:{row.task}"
    return Claim(row.pk, row.run_id, fence, Way(row.way), row.task, call, key, row.started_at or now, now, row.output)


def _skip(run: WorkflowRun, names: Collection[str], why: str, now: datetime) -> None:
    rows = TaskRun.objects.filter(run=run, way=Way.FORWARD, task__in=names, status=TaskStatus.PENDING)
    rows.update(status=TaskStatus.SKIPPED, reason=why, ended_at=now)


def _give_up(run: WorkflowRun, tasks: tuple[tuple[Way, str], ...], cause: Cause, why: str, now: datetime) -> None:
    for way, name in tasks:
        row = TaskRun.objects.get(run=run, way=way, task=name)
        write(row.pk, given_up(part_of(row), cause, now), reason=why)
        _tell_end(run, row, TaskStatus.FAILED, why)


def _turn_back(run: WorkflowRun, plan: Plan, names: tuple[str, ...], why: str, now: datetime) -> None:
    rows = TaskRun.objects.filter(run=run, status=TaskStatus.PENDING)
    rows.update(status=TaskStatus.SKIPPED, reason="the run was ending", ended_at=now)
    TaskRun.objects.bulk_create(
        new(run, name, Way.BACK, place, plan.call(name, Way.BACK), now) for place, name in enumerate(names)
    )
    _move(run, RunStatus.COMPENSATING, why)


@transaction.atomic
def settle(claim: Claim, answer: Answer) -> bool:
    """Record an answer; False: it came too late, and nothing was written. What follows is decided by `advance`."""
    run = locked(claim.run)
    row = TaskRun.objects.filter(pk=claim.id, fence=claim.fence, status=TaskStatus.RUNNING).first()
    if row is None:
        record(run.stream, "workflow_task.late_answer", AUREUS, task=claim.task, way=claim.way, result=answer.result)
        return False
    now = clock.now()
    # Spreads the load of retries; nothing is guarded by it.
    part = after(plan_for(run.version_id), part_of(row), answer, now, random.random())  # noqa: S311
    reason = plain(answer.reason)[:2000]
    write(row.pk, part, reason=reason, output=kept(answer.output))
    if part.ended:
        _tell_end(run, row, part.status, reason)
    _update(run, wake_at=now)
    return True


def _tell_end(run: WorkflowRun, row: TaskRun, status: TaskStatus, reason: str) -> None:
    """An event for what went wrong and for what was taken back; what went well is in its row."""
    if status is TaskStatus.FAILED or row.way == Way.BACK:
        about = {"task": row.task, "way": row.way, "attempts": row.attempts, "reason": reason[:500]}
        record(run.stream, f"workflow_task.{status}", AUREUS, **about)


def due(limit: int = 500) -> list[str]:
    """The runs that are due, each marked so that it is not hinted again at once. Idempotent."""
    table = WorkflowRun._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE {table} SET hinted_at = clock_timestamp() WHERE id IN (
                SELECT id FROM {table}
                WHERE wake_at <= clock_timestamp()
                  AND (hinted_at IS NULL OR hinted_at < clock_timestamp() - make_interval(secs => {HINT_AGAIN_AFTER}))
                ORDER BY wake_at LIMIT %s FOR UPDATE SKIP LOCKED)
            RETURNING id::text
            """,
            [limit],
        )
        return [found for (found,) in cursor.fetchall()]


def _move(run: WorkflowRun, status: RunStatus, reason: str, **columns: Any) -> None:
    """Bring a run to another status; its row is locked."""
    before = run.status
    _update(run, status=status.value, reason=reason, **columns)
    record(run.stream, f"workflow_run.{status}", AUREUS, before=before, reason=reason)


def _update(run: WorkflowRun, **columns: Any) -> None:
    WorkflowRun.objects.filter(pk=run.pk).update(**columns)
    for name, value in columns.items():
        setattr(run, name, value)
