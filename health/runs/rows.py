"""From rows to facts and back."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db.models import Q

from aureus.journal.plain import plain
from aureus.journal.refusals import NotFound
from health.models import TaskRun, WorkflowRun
from health.runs.facts import Cause, Part, RunFacts, RunStatus, TaskStatus
from health.runs.plan import LOST_ATTEMPTS, Call, Plan, Way, plan_of
from releases.models import Version
from releases.spec import parse

MAX_OUTPUT = 65_536
"""Characters of a task's result that are kept."""
LONGEST_WAIT = 86_400.0
"""Seconds that a `wait` may last."""
_COLUMNS = (
    "task", "way", "position", "status", "not_before", "attempts", "failures", "lease_until", "deadline_at", "ended_at",
    "cause", "doubtful", "picked",
)  # fmt: skip


def locked(run_id: UUID | str) -> WorkflowRun:
    """The run under its row lock. Raises NotFound."""
    try:
        return WorkflowRun.objects.select_for_update().get(pk=run_id)
    except (WorkflowRun.DoesNotExist, ValueError, TypeError):
        raise NotFound(f"there is no workflow run {run_id}") from None


@lru_cache(maxsize=64)
def plan_for(version_id: UUID) -> Plan:
    """The plan of a version, whose spec never changes. Raises SpecInvalid."""
    return plan_of(parse(Version.objects.only("spec").get(pk=version_id).spec))


def facts_of(run: WorkflowRun) -> RunFacts:
    """What is recorded. On the way back only what that still depends on."""
    rows = TaskRun.objects.filter(run=run)
    if run.status == RunStatus.COMPENSATING:
        rows = rows.filter(Q(way=Way.BACK) | Q(status=TaskStatus.FAILED))
    parts = tuple(_part(row) for row in rows.order_by().values_list(*_COLUMNS))
    return RunFacts(RunStatus(run.status), parts, run.cancel_reason)


def part_of(row: TaskRun) -> Part:
    """One row as a fact."""
    return _part(tuple(getattr(row, name) for name in _COLUMNS))


def _part(row: tuple[Any, ...]) -> Part:
    found = dict(zip(_COLUMNS, row, strict=True))
    read = {"way": Way(found["way"]), "status": TaskStatus(found["status"]), "cause": Cause(found["cause"])}
    return Part(**{**found, **read, "picked": tuple(found["picked"])})


def new(run: WorkflowRun, name: str, way: Way, position: int, call: Call, now: Any) -> TaskRun:
    """A row for a task that has not begun."""
    return TaskRun(run=run, task=name, way=way, position=position, not_before=now, within=_within(call))


def _within(call: Call) -> float:
    """Seconds from the first claim to the deadline: more than every allowed try and pause can take."""
    tries = max(call.retry.attempts, LOST_ATTEMPTS)
    longest = LONGEST_WAIT if call.tool == "wait" else 0.0
    return longest + tries * (call.timeout_ms / 1000 + call.retry.longest_ms / 1000 + 60)


def write(row_id: int, part: Part, **more: Any) -> None:
    """Store what a part has become."""
    columns = {name: getattr(part, name) for name in _COLUMNS[3:]}
    del columns["attempts"], columns["deadline_at"]
    TaskRun.objects.filter(pk=row_id).update(**{**columns, "picked": list(part.picked), **more})


def kept(output: Any) -> dict[str, Any]:
    """A result as it is stored; one that is too long leaves only word of that."""
    found = plain(dict(output))
    return found if len(json.dumps(found)) <= MAX_OUTPUT else {"truncated": True}
