"""What a smoke run may ask: an endpoint's status, or a workflow's outcome, each against one host."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aureus.fetch import FetchError, fetch
from health.http_task import TaskFailed, target
from health.workflows import FAILED, FAILURE, PASSED, SUCCESS, execute

MAX_SMOKE_TESTS = 50
TIMEOUT = 10.0
WORKFLOW_TIMEOUT = 45.0


class SmokeTestsInvalid(ValueError):
    """The list of tests cannot be run; `errors` names each path and what is wrong there."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(f"{path}: {message}" for path, message in errors))


@dataclass(frozen=True, slots=True)
class EndpointTest:
    """Ask a path of the host and compare the status."""

    name: str
    endpoint: str
    expected_status: int = 200


@dataclass(frozen=True, slots=True)
class WorkflowTest:
    """Execute the workflow that lies in the host's release and compare the outcome."""

    name: str
    workflow_id: str
    expected_outcome: str = SUCCESS


@dataclass(frozen=True, slots=True)
class SmokeResult:
    """How one test ended on one host; the duration is in milliseconds. `reached`: the host answered something."""

    name: str
    status: str
    duration: int
    error: str = ""
    reached: bool = False


def read_tests(value: object) -> tuple[EndpointTest | WorkflowTest, ...]:
    """Read the `tests` of a request; all errors are told at once. Raises SmokeTestsInvalid."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_SMOKE_TESTS:
        raise SmokeTestsInvalid([("tests", f"must be a list of 1 to {MAX_SMOKE_TESTS} tests")])
    errors: list[tuple[str, str]] = []
    found = [_read_test(item, f"tests[{position}]", errors) for position, item in enumerate(value)]
    if errors:
        raise SmokeTestsInvalid(errors)
    return tuple(test for test in found if test is not None)


def run_endpoint_test(test: EndpointTest, address: str, *, timeout: float = TIMEOUT) -> SmokeResult:
    """Ask the endpoint on the host at `address` (http://host:port). Never raises."""
    began = time.monotonic()
    try:
        answer = fetch("GET", target(address, {"path": test.endpoint}), timeout=timeout, allow_private=True)
    except (FetchError, TaskFailed) as error:
        return SmokeResult(test.name, FAILED, _since(began), str(error))
    if answer.status != test.expected_status:
        told = f"{test.endpoint} answered {answer.status} instead of {test.expected_status}."
        return SmokeResult(test.name, FAILED, _since(began), told, reached=True)
    return SmokeResult(test.name, PASSED, _since(began), reached=True)


def run_workflow_test(
    test: WorkflowTest, spec: object, address: str, *, timeout: float = WORKFLOW_TIMEOUT
) -> SmokeResult:
    """Execute the spec read back from the host's release against that host. Never raises.

    A run that the host answered nothing of fails, whatever was expected: it says nothing about the host.
    """
    found = spec.get("id") if isinstance(spec, Mapping) else None
    if found != test.workflow_id:
        told = f"The host's release holds the workflow {found!r}, not {test.workflow_id!r}."
        return SmokeResult(test.name, FAILED, 0, told)
    result = execute(spec, address, timeout=timeout)
    if not result.answered:
        told = result.error or "No task of the workflow asked the host anything: add an http task."
        return SmokeResult(test.name, FAILED, result.duration_ms, told)
    if result.outcome != test.expected_outcome:
        told = result.error or f"The workflow ended in {result.outcome}; {test.expected_outcome} was expected."
        return SmokeResult(test.name, FAILED, result.duration_ms, told, reached=True)
    return SmokeResult(test.name, PASSED, result.duration_ms, reached=True)


def _read_test(item: object, path: str, errors: list[tuple[str, str]]) -> EndpointTest | WorkflowTest | None:
    if not isinstance(item, Mapping):
        errors.append((path, "must be an object"))
        return None
    name = item.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= 200:
        errors.append((f"{path}.name", "must be text of 1 to 200 characters"))
    if ("endpoint" in item) == ("workflowId" in item):
        errors.append((path, "must have either an endpoint or a workflowId"))
        return None
    return (_read_endpoint if "endpoint" in item else _read_workflow)(item, str(name), path, errors)


def _read_endpoint(item: Mapping[str, Any], name: str, path: str, errors: list[tuple[str, str]]) -> EndpointTest:
    endpoint, status = item["endpoint"], item.get("expectedStatus", 200)
    try:
        target("http://host", {"path": endpoint})
        if not endpoint.startswith("/"):
            raise TaskFailed("must be a path that begins with one slash")
    except TaskFailed as error:
        errors.append((f"{path}.endpoint", str(error)))
    if type(status) is not int or not 100 <= status <= 599:
        errors.append((f"{path}.expectedStatus", "must be a status from 100 to 599"))
    return EndpointTest(name, endpoint, status)


def _read_workflow(item: Mapping[str, Any], name: str, path: str, errors: list[tuple[str, str]]) -> WorkflowTest:
    workflow, outcome = item["workflowId"], item.get("expectedOutcome", SUCCESS)
    if not isinstance(workflow, str) or not workflow:
        errors.append((f"{path}.workflowId", "must be the id of a workflow"))
    if outcome not in (SUCCESS, FAILURE):
        errors.append((f"{path}.expectedOutcome", f"must be {SUCCESS} or {FAILURE}"))
    return WorkflowTest(name, workflow, outcome)


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
