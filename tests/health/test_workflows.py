"""Workflows against a real server: order, side by side, retry, time limits, and no way to another host."""

import threading

import pytest

from health.workflows import execute
from tests.health.web import Asked, Route, raw, site


def spec(*tasks, **fields):
    return {"id": "check", "name": "Check", "tasks": list(tasks), **fields}


def http(name="a", **fields):
    task = {key: fields.pop(key) for key in ("dependsOn", "retry", "timeoutMs") if key in fields}
    return {"id": name, "tool": "http", "inputs": {"path": "/", **fields}, **task}


def statuses(result):
    return {task.id: task.status for task in result.tasks}


OK = {"/": lambda _: (200, {"ok": True, "n": 1, "deep": {"x": [1, 2]}})}


def test_tasks_run_after_what_they_depend_on():
    order: list[str] = []

    def answer(asked: Asked) -> tuple[int, object]:
        order.append(asked.path)
        return 200, {}

    routes: dict[str, Route] = {f"/{name}": answer for name in "abc"}
    tasks = [http("c", path="/c"), http("b", path="/b", dependsOn=["a"]), http("a", path="/a")]
    with site(routes) as web:
        result = execute(spec(*tasks, dependencies=[{"from": "b", "to": "c"}]), web.url)
    assert order == ["/a", "/b", "/c"]
    assert (result.outcome, result.answered, [task.id for task in result.tasks]) == ("success", 3, ["c", "b", "a"])


def test_independent_tasks_run_side_by_side():
    together = threading.Barrier(3, timeout=10)
    with site({"/": lambda _: (200, {"place": together.wait()})}) as web:
        assert execute(spec(http("a"), http("b"), http("c")), web.url).outcome == "success"


def test_what_depends_on_a_failed_task_is_skipped_and_the_rest_runs():
    tasks = [http("a", path="/gone"), http("b", dependsOn=["a"]), http("c", dependsOn=["b"]), http("d")]
    with site(OK) as web:
        result = execute(spec(*tasks), web.url)
    assert statuses(result) == {"a": "failed", "b": "skipped", "c": "skipped", "d": "passed"}
    assert result.outcome == "failure"
    assert "answered 404 instead of 2xx" in result.error
    assert "depends on b" in result.tasks[2].error
    assert len(web.asked) == 2


@pytest.mark.parametrize(
    ("attempts", "status", "asked"), [(1, "failed", 1), (2, "failed", 2), (3, "passed", 3), (5, "passed", 3)]
)
def test_a_task_is_tried_again_as_often_as_it_says(attempts, status, asked):
    answers = iter((503, 503, 200))
    with site({"/": lambda _: (next(answers), {})}) as web:
        result = execute(spec(http(retry={"maxAttempts": attempts, "backoffMs": 1})), web.url)
    assert (result.tasks[0].status, result.tasks[0].attempts, len(web.asked)) == (status, asked, asked)


def test_a_task_ends_at_its_own_time_limit_and_all_of_them_at_the_workflows():
    over = threading.Event()
    with raw(lambda peer: over.wait(30)) as url:
        alone = execute(spec(http(timeoutMs=50)), url, timeout=20)
        tried = execute(
            spec(http("a", retry={"maxAttempts": 10, "backoffMs": 60_000}), http("b", dependsOn=["a"])),
            url,
            timeout=0.1,
        )
        over.set()
    assert "did not answer in full in time" in alone.error
    assert statuses(tried) == {"a": "failed", "b": "skipped"}
    assert tried.tasks[0].attempts == 1


def test_a_request_is_sent_as_the_task_describes_it():
    with site({"/x?y=1": lambda asked: (201, {"got": asked.body.decode()})}) as web:
        described = http(path="/x?y=1", method="post", body={"a": 1}, headers={"X-Key": "k"}, expectedStatus=[200, 201])
        assert execute(spec(described), web.url).outcome == "success"
        assert (
            execute(spec(http(path="/x?y=1", method="PUT", body="plain", expectedStatus=201)), web.url).outcome
            == "success"
        )
    first, second = web.asked
    assert (first.method, first.body, first.headers["x-key"]) == ("POST", b'{"a": 1}', "k")
    assert (first.headers["content-type"], second.headers["content-type"]) == ("application/json", "text/plain")
    assert second.body == b"plain"


@pytest.mark.parametrize(
    ("expect", "passes"),
    [
        ({"ok": True}, True),
        ({}, True),
        ({"deep": {"x": [1, 2]}, "n": 1}, True),
        ({"n": 1.0}, True),
        ({"ok": 1}, False),
        ({"n": True}, False),
        ({"n": "1"}, False),
        ({"missing": None}, False),
        ({"deep": {"x": [1]}}, False),
        ([], False),
    ],
)
def test_an_answer_must_hold_what_is_expected_and_may_hold_more(expect, passes):
    with site(OK) as web:
        assert (execute(spec(http(expect=expect)), web.url).outcome == "success") is passes


@pytest.mark.parametrize(
    "inputs",
    [
        {"url": "http://example.com/"},
        {"url": "http://127.0.0.1:1/"},
        {"path": "//example.com/"},
        {"path": "@example.com/"},
        {"path": ".example.com/"},
        {"path": "/\\example.com"},
        {"path": "http://example.com/"},
        {"url": "file:///etc/passwd"},
        {"url": "http://["},
        {"path": "/ HTTP/1.1\r\nHost: x"},
        {"path": 7},
        {},
        {"path": "/", "url": "/"},
    ],
)
def test_a_task_never_leaves_the_host_under_test(inputs):
    with site(OK) as web:
        result = execute(spec({"id": "a", "tool": "http", "inputs": inputs, "retry": {"maxAttempts": 3}}), web.url)
    assert (result.outcome, result.answered, result.tasks[0].attempts, web.asked) == ("failure", 0, 1, [])


def test_another_origin_with_a_user_name_is_refused_and_the_hosts_own_address_is_not():
    with site(OK) as web:
        own = {"id": "a", "tool": "http", "inputs": {"url": web.url + "/"}}
        disguised = {"id": "a", "tool": "http", "inputs": {"url": web.url.replace("//", "//u@") + "/"}}
        assert execute(spec(own), web.url).outcome == "success"
        assert execute(spec(disguised), web.url).outcome == "failure"


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"id": "a", "tool": "shell"}, "The tool 'shell' is not known here; there are http and noop"),
        (http(method="TRACE"), "method"),
        (http(expectedStatus="200"), "expectedStatus"),
        (http(expectedStatus=True), "expectedStatus"),
        (http(headers={"a": 1}), "headers"),
        (http(headers={"a": "b\r\nc: d"}), "cannot be sent"),
        (http(retries=3), "no field 'retries'"),
    ],
)
def test_what_a_task_cannot_be_is_said_in_a_sentence(task, words):
    with site(OK) as web:
        result = execute(spec(task), web.url)
    assert result.outcome == "failure"
    assert words in result.error
    assert web.asked == []


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (spec(http("a", dependsOn=["b"]), http("b", dependsOn=["a"])), "circle"),
        (spec(), "no tasks"),
        (None, "must be an object"),
    ],
)
def test_a_spec_that_cannot_be_run_fails_and_asks_nothing(broken, words):
    with site(OK) as web:
        result = execute(broken, web.url)
    assert (result.outcome, web.asked) == ("failure", [])
    assert words in result.error


def test_a_workflow_of_noops_succeeds_but_no_host_answered_it():
    result = execute(spec({"id": "a", "tool": "noop"}), "http://127.0.0.1:1")
    assert (result.outcome, result.answered) == ("success", 0)


def test_a_decision_of_a_smoke_test_opens_one_branch_and_the_join_goes_on_with_it():
    branch = {"when": {"field": "body.n", "equals": 1}, "then": ["one"]}
    decision = {**http("d"), "type": "decision", "branches": [branch], "otherwise": ["other"]}
    tasks = [decision, http("one", dependsOn=["d"]), http("other", path="/gone", dependsOn=["d"]),
             http("join", dependsOn=["one", "other"])]  # fmt: skip
    with site(OK) as web:
        result = execute(spec(*tasks), web.url)
    assert statuses(result) == {"d": "passed", "one": "passed", "other": "skipped", "join": "passed"}
    assert result.outcome == "success"


def test_a_smoke_test_never_runs_a_compensation():
    tasks = [{**http("a", path="/gone"), "compensation": {"onFailure": "back"}}, http("back")]
    with site(OK) as web:
        assert statuses(execute(spec(*tasks), web.url)) == {"a": "failed"}
        assert [asked.path for asked in web.asked] == ["/gone"]
