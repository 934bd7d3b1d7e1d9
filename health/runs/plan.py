"""A workflow as its runs look at it: what stands before what, and what is called on the way forward and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from releases.spec import order
from releases.workflow import Kind, Retry, Task, Workflow

BACK_ATTEMPTS = 3
"""Tries of a compensation at least: half of a run undone is worse than a call too many."""
LOST_ATTEMPTS = 5
"""Tries of a call that may be repeated and whose worker was lost each time."""
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


class Way(StrEnum):
    """Forward: the tasks themselves. Back: what takes them back."""

    FORWARD = "forward"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Call:
    """One thing to do: which tool, with what, how often and how long it may try.

    repeatable: doing it twice is as good as once, or the called side can tell by a key of the spec's author.
    """

    tool: str
    params: Mapping[str, Any]
    retry: Retry
    timeout_ms: int
    repeatable: bool
    key: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """`order`: the tasks of the way forward, each after what it needs. `named_by`: the decisions that name a task.

    apart: the tasks that only take back what others did.
    """

    tasks: Mapping[str, Task]
    order: tuple[str, ...]
    named_by: Mapping[str, tuple[str, ...]]
    apart: frozenset[str]

    def call(self, name: str, way: Way) -> Call:
        """What is called for a task on the way forward; on the way back `name` is of `undo_of`."""
        task = self.tasks[name]
        if way is Way.FORWARD:
            safe = bool(task.idempotency_key) or is_safe(task.tool, task.params)
            return Call(task.tool, task.params, task.retry, task.timeout_ms, safe, task.idempotency_key)
        retry = replace(task.retry, attempts=max(task.retry.attempts, BACK_ATTEMPTS))
        if task.undo is not None and name not in self.apart:
            return Call(task.undo.tool, task.undo.params, retry, task.timeout_ms, True)
        return Call(task.tool, task.params, retry, task.timeout_ms, True)


def plan_of(workflow: Workflow) -> Plan:
    """The plan of a sound workflow (one that `releases.spec.parse` answered)."""
    forward = workflow.forward
    named: dict[str, list[str]] = {}
    for task in forward:
        for name in task.picks if task.kind is Kind.DECISION else ():
            named.setdefault(name, []).append(task.id)
    layers = order(forward)
    return Plan(
        {task.id: task for task in workflow.tasks},
        tuple(name for layer in layers for name in layer),
        {name: tuple(sorted(by)) for name, by in named.items()},
        workflow.compensations,
    )


def is_safe(tool: str, params: Mapping[str, Any]) -> bool:
    """Calling it twice changes no more than calling it once, by what the tool is."""
    method = str(params.get("method", "GET")).upper()
    # A host carries a command out once by its name, and says so when it is asked again.
    return tool in ("noop", "wait", "llm", "command") or (tool == "http" and method in _READS)
