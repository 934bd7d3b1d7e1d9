"""Executing a workflow spec against one address: in the order of its dependencies, what is independent side by side."""

import json
import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aureus.fetch import Answer, FetchError, fetch
from releases.spec import SpecInvalid, Task, parse

SIDE_BY_SIDE = 8
TIMEOUT = 45.0
MAX_BYTES = 1_048_576
SUCCESS, FAILURE = "success", "failure"
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HTTP_FIELDS = frozenset({"method", "path", "url", "body", "headers", "expectedStatus", "expect"})


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


class TaskFailed(Exception):
    """One attempt at a task failed; the message is a sentence. `final`: the next attempt would fail alike."""

    def __init__(self, sentence: str, *, answered: bool = False, final: bool = False) -> None:
        super().__init__(sentence)
        self.answered = answered
        self.final = final


def execute(spec: object, address: str, *, timeout: float = TIMEOUT) -> WorkflowResult:
    """Run a workflow against the host at `address` (http://host:port) within `timeout` seconds. Never raises.

    A task whose dependency did not pass is skipped.
    """
    began = time.monotonic()
    try:
        workflow = parse(spec)
    except SpecInvalid as invalid:
        return WorkflowResult(FAILURE, (), 0, f"The workflow spec cannot be run: {invalid}.")
    if not workflow.tasks:
        return WorkflowResult(FAILURE, (), 0, "The workflow spec has no tasks, so nothing was proven.")
    # What only takes back is for runs; a smoke test leaves everything as the tasks themselves leave it.
    results = _Run(address, began + timeout).all(workflow.forward)
    tasks = tuple(results[task.id] for task in workflow.forward)
    broken = next((task for task in tasks if task.status == FAILED), None)
    error = f"Task {broken.id} failed: {broken.error}" if broken else ""
    return WorkflowResult(FAILURE if broken else SUCCESS, tasks, _since(began), error)


class _Run:
    """One execution; every task's end opens those that waited for it."""

    def __init__(self, address: str, ends: float) -> None:
        self._address, self._ends = address, ends
        self._over = threading.Event()

    def all(self, tasks: tuple[Task, ...]) -> dict[str, TaskResult]:
        waiting = {task.id: task for task in tasks}
        results: dict[str, TaskResult] = {}
        running: set[Future[TaskResult]] = set()
        with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="workflow") as pool:
            while waiting or running:
                for task in self._ready(waiting, results):
                    running.add(pool.submit(self._task, waiting.pop(task.id)))
                done, running = wait(running, return_when=FIRST_COMPLETED) if running else (set(), running)
                results |= {result.id: result for result in (future.result() for future in done)}
        return results

    def _ready(self, waiting: dict[str, Task], results: dict[str, TaskResult]) -> list[Task]:
        """Answer the tasks that may begin; those that never may are skipped first, and theirs with them."""
        ready: list[Task] = []
        again = True
        while again:
            again, ready = False, []
            for task in list(waiting.values()):
                ends = [results[name].status if name in results else "" for name in task.depends_on]
                if FAILED in ends or SKIPPED in ends:
                    results[task.id] = self._skip(waiting.pop(task.id), results)
                    again = True
                elif all(ends):
                    ready.append(task)
        return ready

    def _skip(self, task: Task, results: Mapping[str, TaskResult]) -> TaskResult:
        broken = next(name for name in task.depends_on if name in results and results[name].status != PASSED)
        return TaskResult(task.id, task.tool, SKIPPED, 0, 0, f"It depends on {broken}, which did not pass.")

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
                answered = _tool(task, self._address, left) or answered
                return TaskResult(task.id, task.tool, PASSED, attempt, _since(began), "", answered)
            except TaskFailed as failure:
                answered, error = failure.answered or answered, str(failure)
                if failure.final:
                    break
        return TaskResult(task.id, task.tool, FAILED, attempt, _since(began), error, answered)


def _tool(task: Task, address: str, timeout: float) -> bool:
    """Run one attempt and say whether the host answered it. Raises TaskFailed."""
    match task.tool:
        case "noop":
            return False
        case "http":
            return _http(task.params, address, timeout)
        case other:
            raise TaskFailed(f"The tool {other!r} is not known here; there are http and noop.", final=True)


def _http(params: Mapping[str, Any], address: str, timeout: float) -> bool:
    unknown = sorted(set(params) - _HTTP_FIELDS)
    if unknown:
        raise TaskFailed(f"An http task has no field {unknown[0]!r}.", final=True)
    method, expected = str(params.get("method", "GET")).upper(), _expected(params.get("expectedStatus"))
    if method not in _METHODS:
        raise TaskFailed(f"The method {method[:20]!r} is not known.", final=True)
    url, headers, body = target(address, params), _headers(params), _body(params)
    if body is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "text/plain" if isinstance(params.get("body"), str) else "application/json"
    try:
        answer = fetch(
            method, url, headers=headers, body=body, timeout=timeout, max_bytes=MAX_BYTES, allow_private=True
        )
    except FetchError as error:
        raise TaskFailed(error.sentence, final=error.kind in ("url", "request", "address")) from None
    if (answer.status not in expected) if expected else not answer.ok:
        wanted = " or ".join(str(status) for status in sorted(expected)) or "2xx"
        raise TaskFailed(f"{method} {url} answered {answer.status} instead of {wanted}.", answered=True)
    if "expect" in params:
        _compare(answer, params["expect"], f"{method} {url}")
    return True


def target(address: str, params: Mapping[str, Any]) -> str:
    """Answer the address of an http task on this host; another host's is refused. Raises TaskFailed."""
    if ("path" in params) == ("url" in params):
        raise TaskFailed("An http task needs either a path or a url.", final=True)
    wanted = params.get("path", params.get("url"))
    if not isinstance(wanted, str) or not wanted.isascii() or "\\" in wanted or any(letter <= " " for letter in wanted):
        raise TaskFailed(f"The address {wanted!r} is not plain text without spaces.", final=True)
    home = address.rstrip("/")
    if wanted.startswith("/") and not wanted.startswith("//"):
        return home + wanted
    try:
        same = _origin(wanted) == _origin(home)
    except ValueError:
        same = False
    if not same:
        raise TaskFailed(
            f"{wanted!r} is not on the host under test: write a path that begins with one slash.", final=True
        )
    return wanted


def _origin(url: str) -> tuple[str, str | None, int | None, bool]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme), "@" in parts.netloc


def _expected(value: Any) -> frozenset[int]:
    """Answer the statuses that pass; none means any 2xx."""
    if value is None:
        return frozenset()
    statuses = value if isinstance(value, list) else [value]
    if not statuses or not all(type(status) is int and 100 <= status <= 599 for status in statuses):
        raise TaskFailed("expectedStatus must be a status from 100 to 599, or a list of them.", final=True)
    return frozenset(statuses)


def _headers(params: Mapping[str, Any]) -> dict[str, str]:
    headers = params.get("headers", {})
    if not isinstance(headers, Mapping) or not all(isinstance(value, str) for value in headers.values()):
        raise TaskFailed("headers must be an object of texts.", final=True)
    return dict(headers)


def _body(params: Mapping[str, Any]) -> bytes | None:
    body = params.get("body")
    if body is None:
        return None
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _compare(answer: Answer, expect: Any, asked: str) -> None:
    """Every field that is expected must be there and equal; more may be there. Raises TaskFailed."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise TaskFailed(f"{asked} answered what is no JSON.", answered=True) from None
    where = _differs(found, expect, "$")
    if where:
        raise TaskFailed(f"{asked} answered another {where[0]}: {where[1]}.", answered=True)


def _differs(found: Any, expect: Any, path: str) -> tuple[str, str] | None:
    if isinstance(expect, Mapping) and isinstance(found, Mapping):
        for key, value in expect.items():
            if key not in found:
                return f"{path}.{key}", "it is missing"
            inner = _differs(found[key], value, f"{path}.{key}")
            if inner:
                return inner
        return None
    # True equals 1 in Python, but not in JSON.
    if isinstance(found, bool) != isinstance(expect, bool) or found != expect:
        return path, f"{json.dumps(found)[:80]} instead of {json.dumps(expect)[:80]}"
    return None


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
