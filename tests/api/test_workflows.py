"""Runs of workflows over HTTP, by the command, in the metrics, and through their Celery task."""

import base64
import json
import threading

import pytest
from django.db import connections
from redis import Redis

from aureus.api.metering import _of_rows
from aureus.journal.actor import Role
from deployments import tasks
from deployments.models import Installation
from health.models import TaskRun, WorkflowRun
from health.runs.lifecycle import due
from tests.api.conftest import MISSING, fleet, person  # noqa: F401 - a fixture
from tests.cli.conftest import nobodys_folder, run, world  # noqa: F401 - fixtures
from tests.health.runs.world import hurry
from tests.health.web import site

VERSIONS, RUNS = "/api/deployments/versions", "/api/workflows/runs"
UNDO = {"compensationAction": {"tool": "noop"}}
SPEC = {
    "id": "order", "name": "Order",
    "tasks": [
        {"id": "reserve", "tool": "noop", "params": {"of": "${params.what}"}, **UNDO},
        {"id": "rest", "tool": "wait", "params": {"ms": 3_600_000}, "dependsOn": ["reserve"]},
    ],
}  # fmt: skip


def registered(api, spec=SPEC, number="1.0.0"):
    answer = api.post(VERSIONS, {"workflowSpec": spec, "version": number, "createdBy": "bot"}, as_="cid")
    assert answer.status_code == 201, answer.content
    return answer.json()["id"]


def work():
    """What a worker does with each hint that the sweep gives."""
    WorkflowRun.objects.update(hinted_at=None)
    for one in due():
        tasks.run_workflow(one)


@pytest.fixture
def api(transactional_db, api):
    return api


def test_a_run_is_asked_for_looked_at_and_cancelled(api):
    version = registered(api)
    answer = api.post(RUNS, {"versionId": version, "params": {"what": "tea"}}, as_="cid")
    told = answer.json()
    assert answer.status_code == 201
    assert (told["status"], told["workflowId"], told["version"], told["askedBy"]) == (
        "pending",
        "order",
        "1.0.0",
        "cid",
    )
    assert [(t["task"], t["way"], t["status"]) for t in told["tasks"]] == [
        ("reserve", "forward", "pending"), ("rest", "forward", "pending"),
    ]  # fmt: skip
    work()
    told = api.get(f"{RUNS}/{told['id']}", as_="vera").json()
    assert told["status"] == "running"
    assert [(t["status"], t["output"], t["attempts"]) for t in told["tasks"]] == [
        ("passed", {"of": "tea"}, 1),
        ("pending", {}, 1),
    ]
    cancelled = api.post(f"{RUNS}/{told['id']}/cancel", {"reason": "no tea"}, as_="rita")
    assert (cancelled.status_code, cancelled.json()["cancelReason"]) == (200, "no tea")
    work()
    told = api.get(f"{RUNS}/{told['id']}", as_="vera").json()
    assert (told["status"], told["reason"]) == ("cancelled", "cancelled: no tea")
    assert [(t["task"], t["way"]) for t in told["tasks"]] == [
        ("reserve", "forward"),
        ("rest", "forward"),
        ("reserve", "back"),
    ]
    assert told["endedAt"].endswith("Z")
    assert api.post(f"{RUNS}/{told['id']}/cancel", {"reason": "late"}, as_="rita").status_code == 409


def test_runs_are_listed_newest_first_by_version_and_status(api):
    first, second = registered(api), registered(api, number="1.1.0")
    ids = [api.post(RUNS, {"versionId": v, "params": {"what": 1}}, as_="cid").json()["id"] for v in (first, second)]
    assert [r["id"] for r in api.get(RUNS, as_="vera").json()] == ids[::-1]
    assert [r["id"] for r in api.get(f"{RUNS}?versionId={first}", as_="vera").json()] == ids[:1]
    assert api.get(f"{RUNS}?status=passed", as_="vera").json() == []
    assert "tasks" not in api.get(RUNS, as_="vera").json()[0]
    assert api.get(f"{RUNS}?versionId=x", as_="vera").status_code == 400
    assert api.get(f"{RUNS}/{MISSING}", as_="vera").status_code == 404


def test_a_run_that_cannot_be_is_refused_with_what_to_do(api):
    shell = registered(api, {**SPEC, "tasks": [{"id": "a", "tool": "shell"}]})
    refused = api.post(RUNS, {"versionId": shell}, as_="cid")
    assert refused.status_code == 409
    assert (
        "needs tools that this server does not have: shell; there is: http, llm, noop, wait" in refused.json()["detail"]
    )
    assert api.post(RUNS, {"versionId": MISSING}, as_="cid").status_code == 404
    for body in ({}, {"versionId": "x"}, {"versionId": shell, "params": []}, {"versionId": shell, "more": 1}):
        assert api.post(RUNS, body, as_="cid").status_code == 400, body
    assert not WorkflowRun.objects.exists()


def test_a_run_in_an_environment_is_started_and_seen_by_those_who_hold_a_role_there_alone(api, fleet):  # noqa: F811
    installation = fleet.environment("staging", 1)
    Installation.objects.filter(pk=installation.pk).update(options={"commands": {"warm": "true"}})
    fleet.deployed("1.0.0")
    spec = {"id": "shop", "name": "Shop", "tasks": [{"id": "a", "tool": "command", "params": {"command": "warm"}}]}
    body = {"versionId": registered(api, spec, "2.0.0")}
    assert "name the environment" in api.post(RUNS, body, as_="cid").json()["detail"]
    assert api.post(RUNS, {**body, "environment": "nowhere"}, as_="cid").status_code == 404
    person("here", "staging", role=Role.CI)
    person("there", "qa", role=Role.CI)
    assert api.post(RUNS, {**body, "environment": "staging"}, as_="there").status_code == 403
    told = api.post(RUNS, {**body, "environment": "staging"}, as_="here").json()
    assert told["environment"] == "staging"
    address = f"{RUNS}/{told['id']}"
    assert [api.get(address, as_=who).status_code for who in ("here", "there")] == [200, 404]
    assert [len(api.get(RUNS, as_=who).json()) for who in ("here", "there")] == [1, 0]
    assert api.post(f"{address}/cancel", {"reason": "no"}, as_="there").status_code == 404


def test_the_same_request_under_one_key_is_one_run_and_a_worker_is_told(api, queue):
    body = {"versionId": registered(api)}
    first, again = (api.post(RUNS, body, as_="cid", Idempotency_Key="k").json()["id"] for _ in range(2))
    assert first == again
    assert WorkflowRun.objects.count() == 1
    with Redis.from_url(queue) as client:
        messages = [json.loads(message) for message in client.lrange("aureus:workflow", 0, -1)]
    assert {message["headers"]["task"] for message in messages} == {tasks.run_workflow.name}
    assert json.loads(base64.b64decode(messages[0]["body"]))[0] == [first]


def test_the_sweep_tells_a_worker_of_a_run_whose_message_was_lost(api, queue):
    told = api.post(RUNS, {"versionId": registered(api)}, as_="cid").json()
    with Redis.from_url(queue) as client:
        client.flushdb()
        tasks.sweep()
        assert client.llen("aureus:workflow") == 1
    assert told["status"] == "pending"


def test_http_tasks_of_runs_go_to_the_servers_that_the_configuration_names(api, settings):
    spec = {**SPEC, "tasks": [{"id": "a", "tool": "http", "params": {"path": "/"}}]}
    with site({"/": lambda _: (200, {})}) as web:
        settings.AUREUS._values["WORKFLOW_ADDRESSES"] = (web.url,)
        try:
            told = api.post(RUNS, {"versionId": registered(api, spec)}, as_="cid").json()
            work()
        finally:
            settings.AUREUS._values["WORKFLOW_ADDRESSES"] = ()
    assert api.get(f"{RUNS}/{told['id']}", as_="vera").json()["status"] == "passed"


def test_an_llm_task_asks_the_server_of_the_configuration_by_its_key(api, settings):
    spec = {**SPEC, "tasks": [{"id": "a", "tool": "llm", "params": {"prompt": "${params.what}"}}]}
    said = {"choices": [{"message": {"content": "42"}}], "usage": {}}
    with site({"/chat/completions": lambda _: (200, said)}) as web:
        before = dict(settings.AUREUS._values)
        settings.AUREUS._values |= {"OPENAI_API_KEY": "sk-canary", "OPENAI_BASE_URL": web.url, "LLM_MODEL": "small"}
        try:
            told = api.post(RUNS, {"versionId": registered(api, spec), "params": {"what": "?"}}, as_="cid").json()
            work()
        finally:
            settings.AUREUS._values.update(before)
    [task] = api.get(f"{RUNS}/{told['id']}", as_="vera").json()["tasks"]
    assert (task["status"], task["output"]["text"], task["output"]["model"]) == ("passed", "42", "small")
    assert web.asked[0].headers["authorization"] == "Bearer sk-canary"


def test_the_metrics_count_runs_by_how_they_ended(api):
    good = {**SPEC, "tasks": SPEC["tasks"][:1]}
    bad = {**SPEC, "tasks": [{"id": "a", "tool": "wait"}]}
    for number, spec in enumerate((good, good, bad)):
        api.post(RUNS, {"versionId": registered(api, spec, f"1.{number}.0"), "params": {"what": 1}}, as_="cid")
    work()
    text = _of_rows().decode()
    for line in (
        'aureus_workflow_executions_total{status="passed"} 2.0',
        'aureus_workflow_executions_total{status="failed"} 1.0',
        'aureus_workflow_executions_total{status="cancelled"} 0.0',
        "aureus_workflow_errors_total 1.0",
        'aureus_workflow_execution_duration_seconds_bucket{le="+Inf"} 3.0',
    ):
        assert line in text.splitlines(), line


class Playing:
    """Plays the workers of runs while a command waits."""

    def __enter__(self):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.play)
        self.thread.start()

    def play(self):
        try:
            while not self.over.wait(0.05):
                for one in WorkflowRun.objects.all():
                    hurry(one)
                work()
        finally:
            connections.close_all()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(20)


def test_the_command_runs_a_workflow_and_shows_what_its_tasks_did(api, world):  # noqa: F811
    registered(api, {**SPEC, "tasks": SPEC["tasks"][:1]})
    with Playing():
        done = run("workflow", "run", "order@1.0.0", "--param", "what=tea", "--wait")
    assert done.code == 0, done.err
    assert "order@1.0.0 is passed" in done.out
    assert "reserve" in done.out
    found = WorkflowRun.objects.get()
    assert TaskRun.objects.get().output == {"of": "tea"}
    [row] = run("workflow", "status", "--json").json
    assert row["id"] == str(found.pk)
    assert run("workflow", "status", row["id"], "--json").json["tasks"][0]["status"] == "passed"
    assert "order" in run("workflow", "status").out


def test_the_command_ends_with_1_for_a_failed_run_4_for_one_that_goes_on_and_2_for_a_wrong_word(api, world):  # noqa: F811
    registered(api, {**SPEC, "tasks": [{"id": "a", "tool": "wait"}]})
    registered(api, number="1.1.0")
    with Playing():
        assert run("workflow", "run", "order@1.0.0", "--wait").code == 1
    assert run("workflow", "run", "order@1.1.0", "--wait", "--timeout", "1").code == 4
    waiting = WorkflowRun.objects.get(version__number="1.1.0")
    cancelled = run("workflow", "cancel", str(waiting.pk), "--reason", "enough", "--json")
    assert (cancelled.code, cancelled.json["cancelReason"]) == (0, "enough")
    assert run("workflow", "status", "xyz").code == 2
    assert run("workflow", "run", "order@9.9.9").code == 1
