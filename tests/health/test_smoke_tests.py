"""Smoke tests: what may be asked, and that a test which reached no host never passes."""

import pytest

from health.smoke_tests import (
    EndpointTest,
    SmokeTestsInvalid,
    WorkflowTest,
    read_tests,
    run_endpoint_test,
    run_workflow_test,
)
from tests.health.web import site

SPEC = {"id": "check", "name": "Check", "tasks": [{"id": "a", "tool": "http", "inputs": {"path": "/health"}}]}
NOWHERE = "http://127.0.0.1:1"


def health(status=200):
    return site({"/health": lambda _: (status, {})})


def test_both_kinds_of_test_are_read_as_the_guide_writes_them():
    assert read_tests(
        [
            {"name": "Basic Workflow", "workflowId": "my-workflow"},
            {"name": "API", "endpoint": "/health"},
            {"name": "Gone", "endpoint": "/old", "expectedStatus": 410, "note": "unknown fields are allowed"},
        ]
    ) == (
        WorkflowTest("Basic Workflow", "my-workflow"),
        EndpointTest("API", "/health"),
        EndpointTest("Gone", "/old", 410),
    )


@pytest.mark.parametrize(
    ("tests", "paths"),
    [
        (None, ["tests"]),
        ([], ["tests"]),
        ([{"name": "a", "endpoint": "/"}] * 51, ["tests"]),
        (["x"], ["tests[0]"]),
        ([{"name": "a"}], ["tests[0]"]),
        ([{"name": "a", "endpoint": "/", "workflowId": "w"}], ["tests[0]"]),
        ([{"endpoint": "/"}], ["tests[0].name"]),
        ([{"name": "a", "endpoint": "health"}], ["tests[0].endpoint"]),
        ([{"name": "a", "endpoint": "http://host/"}], ["tests[0].endpoint"]),
        ([{"name": "a", "endpoint": "//evil/"}], ["tests[0].endpoint"]),
        ([{"name": "a", "endpoint": 3, "expectedStatus": "200"}], ["tests[0].endpoint", "tests[0].expectedStatus"]),
        ([{"name": "a", "workflowId": ""}], ["tests[0].workflowId"]),
        ([{"name": "a", "workflowId": "w", "expectedOutcome": "maybe"}], ["tests[0].expectedOutcome"]),
    ],
)
def test_a_wrong_test_is_refused_and_named(tests, paths):
    with pytest.raises(SmokeTestsInvalid) as refusal:
        read_tests(tests)
    assert [path for path, _ in refusal.value.errors] == paths


@pytest.mark.parametrize(
    ("status", "expected", "passes"), [(200, 200, True), (503, 200, False), (410, 410, True), (204, 200, False)]
)
def test_an_endpoint_passes_with_exactly_the_expected_status(status, expected, passes):
    with health(status) as web:
        result = run_endpoint_test(EndpointTest("API", "/health", expected), web.url)
    assert (result.status == "passed", result.reached) == (passes, True)
    assert bool(result.error) is not passes


def test_an_endpoint_that_nobody_serves_fails_and_was_not_reached():
    result = run_endpoint_test(EndpointTest("API", "/health"), NOWHERE)
    assert (result.status, result.reached) == ("failed", False)
    assert "nothing listens" in result.error


@pytest.mark.parametrize(
    ("status", "expected", "passes"),
    [(200, "success", True), (500, "success", False), (500, "failure", True), (200, "failure", False)],
)
def test_a_workflow_passes_with_the_expected_outcome(status, expected, passes):
    with health(status) as web:
        result = run_workflow_test(WorkflowTest("Basic", "check", expected), SPEC, web.url)
    assert (result.status == "passed", result.reached) == (passes, True)


def test_a_workflow_that_reached_no_host_fails_even_where_a_failure_is_expected():
    assert run_workflow_test(WorkflowTest("Basic", "check", "failure"), SPEC, NOWHERE).status == "failed"
    noop = {**SPEC, "tasks": [{"id": "a", "tool": "noop"}]}
    result = run_workflow_test(WorkflowTest("Basic", "check"), noop, NOWHERE)
    assert (result.status, result.reached) == ("failed", False)
    assert "add an http task" in result.error


def test_another_workflow_in_the_release_is_told_apart():
    for spec in (SPEC, None):
        result = run_workflow_test(WorkflowTest("Basic", "other"), spec, NOWHERE)
        assert (result.status, result.reached) == ("failed", False)
        assert "not 'other'" in result.error
