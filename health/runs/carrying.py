"""What a worker does with a hint: wake the run, let claimed tasks happen side by side, settle, go on while it may."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from enum import Enum
from typing import Any

import structlog

from aureus import lease
from health import canaries
from health.models import TaskRun, WorkflowRun
from health.runs import lifecycle
from health.runs.facts import Cause, TaskStatus
from health.runs.filling import Unfilled, filled
from health.runs.lifecycle import Claim
from health.runs.plan import Way
from health.runs.settle import Answer, Result
from health.runs.tools import Asked, Tool

log = structlog.get_logger(__name__)

QUEUE = "workflow"
BUDGET = 5.0
"""Seconds after which a worker hands the run on: one that is told to stop is free soon after."""
_EARLIER = re.compile(r"\$\{\s*tasks\.([^.${}]{1,128})")


class Boundary(Enum):
    """A moment at which a worker might be lost."""

    AFTER_CLAIM = "after claim"
    BEFORE_SETTLE = "before settle"
    AFTER_SETTLE = "after settle"


Reached = Callable[[Boundary, str], object]


def unwatched(_: Boundary, __: str) -> None:
    """Nobody watches the boundaries."""


def work_on(
    run_id: str,
    tools: Mapping[str, Tool],
    hint: Callable[[str], object],
    *,
    budget: float = BUDGET,
    reached: Reached = unwatched,
) -> int:
    """Carry a run as far as it goes now; how many tries were settled.

    reached: told of every boundary at which this process might be lost.
    """
    ends, settled = time.monotonic() + budget, 0
    while True:
        turn = lifecycle.advance(run_id)
        if turn.again:
            hint(run_id)
        if not turn.claims:
            return settled
        settled += len(turn.claims)
        _carry_out(turn.claims, tools, reached)
        if time.monotonic() > ends:
            hint(run_id)
            return settled


def _carry_out(claims: list[Claim], tools: Mapping[str, Tool], reached: Reached) -> None:
    for claim in claims:
        reached(Boundary.AFTER_CLAIM, claim.task)
    known = _known(claims)
    with Heartbeat({claim.id: claim.fence for claim in claims}) as heartbeat, ThreadPoolExecutor(len(claims)) as pool:
        waiting = {pool.submit(_call, claim, tools, known): claim for claim in claims}
        for future in as_completed(waiting):
            claim = waiting[future]
            heartbeat.done(claim.id)
            reached(Boundary.BEFORE_SETTLE, claim.task)
            lifecycle.settle(claim, future.result())
            reached(Boundary.AFTER_SETTLE, claim.task)


def _call(claim: Claim, tools: Mapping[str, Tool], known: Mapping[str, Any]) -> Answer:
    """One try, whatever comes of it. Runs in a thread, without the database."""
    tool = tools.get(claim.call.tool)
    if tool is None:
        return Answer(Result.FAILED, f"This server has no tool {claim.call.tool!r}.", final=True)
    try:
        params = filled(claim.call.params, known)
        key = str(filled(claim.key, known))[:500]
    except Unfilled as error:
        return Answer(Result.FAILED, str(error), final=True)
    try:
        return tool(Asked(params, claim.call.timeout_ms / 1000, key, claim.began, claim.now, claim.earlier))
    except Exception as error:  # a fault of a tool must not take its neighbours along
        log.exception("a tool broke", tool=claim.call.tool, task=claim.task)
        return Answer(Result.FAILED, f"The tool {claim.call.tool} broke: {error!r}"[:500], cause=Cause.LOST, final=True)


def _known(claims: Iterable[Claim]) -> dict[str, Any]:
    """What places in the params of these may name: the run's params, and the results of earlier tasks."""
    claims = list(claims)
    named = {name for claim in claims for name in _EARLIER.findall(json.dumps([claim.call.params, claim.key]))}
    params = WorkflowRun.objects.values_list("params", flat=True).get(pk=claims[0].run)
    passed = TaskRun.objects.filter(run=claims[0].run, way=Way.FORWARD, task__in=named, status=TaskStatus.PASSED)
    return {"params": params, "tasks": dict(passed.values_list("task", "output")) if named else {}}


class Heartbeat(lease.Heartbeat):
    """Renews the leases of some tasks, and answers for their worker."""

    def renew(self, mine: Mapping[int, int]) -> None:
        if lease.renew(TaskRun._meta.db_table, mine):
            canaries.answered([QUEUE])
