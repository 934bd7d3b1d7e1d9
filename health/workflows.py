"""Executing a workflow spec against one address: in the order of its dependencies, what is independent side by side."""

import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from health.http_task import TaskFailed, ask, target
from health.runs.choosing import chosen
from health.runs.facts import Standing, TaskStatus, standing
from health.runs.plan import Plan, plan_of
from releases.spec import SpecInvalid, Task, parse

SIDE_BY_SIDE = 8
TIMEOUT = 45.0
SUCCESS, FAILURE = "success", "failure"
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
NOT_PICKED = "No decision picked it."


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How one task ended. `answered` says that the host answered it, `error` is a sentence when it did not pass."""

    id: str
    tool: str
    status: str
    attempts: int
    duration_ms: int
    error: str = ""
    answered: bool = False
    output: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkflowResult:
    """How an execution ended. `answered` counts the tasks that the host answered: none proves nothing about it."""

    outcome: str
    tasks: tuple[TaskResult, ...]
    duration_ms: int
    error: str = ""

    @property
    def answered(self) -> int:
        return sum(task.answered for task in self.tasks)


def execute(spec: object, address: str, *, timeout: float = TIMEOUT) -> WorkflowResult:
    """Run a workflow against the host at `address` (http://host:port) within `timeout` seconds. Never raises.

    A task whose dependency did not pass is skipped, and so is what no decision picked. Compensations are for runs: a
    smoke test leaves everything as the tasks themselves leave it.
    """
    began = time.monotonic()
    try:
        workflow = parse(spec)
    except SpecInvalid as invalid:
        return WorkflowResult(FAILURE, (), 0, f"The workflow spec cannot be run: {invalid}.")
    if not workflow.tasks:
        return WorkflowResult(FAILURE, (), 0, "The workflow spec has no tasks, so nothing was proven.")
    results = _Run(plan_of(workflow), address, began + timeout).all()
    tasks = tuple(results[task.id] for task in workflow.forward)
    broken = next((task for task in tasks if task.status == FAILED), None)
    error = f"Task {broken.id} failed: {broken.error}" if broken else ""
    return WorkflowResult(FAILURE if broken else SUCCESS, tasks, _since(began), error)


class _Run:
    """One execution; every task's end opens those that waited for it."""

    def __init__(self, plan: Plan, address: str, ends: float) -> None:
        self._plan, self._address, self._ends = plan, address, ends
        self._over = threading.Event()

    def all(self) -> dict[str, TaskResult]:
        waiting = dict.fromkeys(self._plan.order)
        results: dict[str, TaskResult] = {}
        running: set[Future[TaskResult]] = set()
        with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="workflow") as pool:
            while waiting or running:
                for name in self._ready(waiting, results):
                    running.add(pool.submit(self._task, self._plan.tasks[name]))
                done, running = wait(running, return_when=FIRST_COMPLETED) if running else (set(), running)
                results |= {result.id: result for result in (future.result() for future in done)}
        return results

    def _ready(self, waiting: dict[str, None], results: dict[str, TaskResult]) -> list[str]:
        """Take out the tasks that may begin; those that never may are skipped on the way, and theirs with them."""
        statuses = {name: TaskStatus(result.status) for name, result in results.items()}
        picked = {
            name: chosen(self._plan.tasks[name], result.output)
            for name, result in results.items()
            if result.status == PASSED
        }
        ready: list[str] = []
        for name in list(waiting):
            where, why = standing(name, self._plan, statuses, picked), self._broken(name, results)
            if where is Standing.SKIP or (why and where is not Standing.WAIT):
                results[name] = TaskResult(name, self._plan.tasks[name].tool, SKIPPED, 0, 0, why or NOT_PICKED)
                statuses[name] = TaskStatus.SKIPPED
                del waiting[name]
            elif where is Standing.RUN:
                ready.append(name)
                del waiting[name]
        return ready

    def _broken(self, name: str, results: Mapping[str, TaskResult]) -> str:
        """Why a task cannot run: one before it failed, or was skipped for such a reason; empty where none was."""
        for need in self._plan.tasks[name].depends_on:
            before = results.get(need)
            if before is not None and before.status != PASSED and before.error != NOT_PICKED:
                return f"It depends on {need}, which did not pass."
        return ""

    def _task(self, task: Task) -> TaskResult:
        began = time.monotonic()
        answered, error, attempt = False, "", 0
        for attempt in range(1, task.retry.attempts + 1):
            if attempt > 1:
                pause = task.retry.pause(attempt - 1, random.random())  # noqa: S311 - spreads load, guards nothing
                self._over.wait(max(min(pause, self._ends - time.monotonic()), 0))
            left = min(task.timeout_ms / 1000, self._ends - time.monotonic())
            if left <= 0:
                error = error or "The time for the whole workflow was over."
                return TaskResult(task.id, task.tool, FAILED, attempt - 1, _since(began), error, answered)
            try:
                output = _tool(task, self._address, left)
                answered = answered or task.tool == "http"
                return TaskResult(task.id, task.tool, PASSED, attempt, _since(began), "", answered, output)
            except TaskFailed as failure:
                answered, error = failure.answered or answered, str(failure)
                if failure.final:
                    break
        return TaskResult(task.id, task.tool, FAILED, attempt, _since(began), error, answered)


def _tool(task: Task, address: str, timeout: float) -> Mapping[str, Any]:
    """Run one attempt and answer its result. Raises TaskFailed."""
    match task.tool:
        case "noop":
            return task.params
        case "http":
            return ask(task.params, target(address, task.params), timeout=timeout, allow_private=True)
        case other:
            raise TaskFailed(f"The tool {other!r} is not known here; there are http and noop.", final=True)


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
