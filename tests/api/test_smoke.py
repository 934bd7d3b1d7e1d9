"""Smoke tests over HTTP: the answer carries finished results, or says where they will be."""

import base64
import json
import threading

import pytest
from django.db import connection
from redis import Redis

from deployments import smoke as verbs
from deployments import tasks
from deployments.api import smoke
from deployments.models import Installation
from health.models import SmokeRun
from tests.conftest import wait_until
from tests.health.web import site

TESTS: list[dict[str, str | int]] = [
    {"name": "Basic Workflow Execution", "workflowId": "shop", "expectedOutcome": "success"},
    {"name": "API Health Check", "endpoint": "/health", "expectedStatus": 200},
]
OF_FAKES = "http://{address}:{port}"


@pytest.fixture
def deployed(fleet):
    """A deployment whose hosts answer as a real web site."""
    with site({"/health": lambda _: (200, {"version": "1.0.0"})}) as web:
        fleet.environment("staging", 2)
        deployment = fleet.deployed("1.0.0")
        Installation.objects.update(url=web.url)
        yield deployment


@pytest.fixture
def worker(fleet, queue):
    """Carries out whatever run is asked for, as a worker would."""
    over = threading.Event()

    def work() -> None:
        try:
            while not over.wait(0.02):
                for run in SmokeRun.objects.filter(verdict=""):
                    verbs.carry_out_asked(str(run.uuid), fleet.outside, fleet.hint)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


def path(deployment):
    return f"/api/deployments/{deployment.pk}/smoke-tests"


def test_the_answer_carries_the_results_as_the_guide_shows_them(api, deployed, worker):
    answer = api.post(path(deployed), {"tests": TESTS}, as_="cid")
    told = answer.json()
    assert answer.status_code == 200
    assert told["deploymentId"] == str(deployed.pk)
    assert told["overallStatus"] == "passed", told
    assert (told["passedTests"], told["failedTests"], told["totalTests"]) == (2, 0, 2)
    assert [(r["name"], r["status"]) for r in told["testResults"]] == [(t["name"], "passed") for t in TESTS]
    assert all(isinstance(r["duration"], int) and "error" not in r for r in told["testResults"])
    assert api.get(told["url"], as_="vera").json() == told
    assert api.get(path(deployed), as_="vera").json() == [told]


def test_a_failed_test_says_where_and_why(api, deployed, worker):
    told = api.post(path(deployed), {"tests": [{"name": "gone", "endpoint": "/nowhere"}]}, as_="cid").json()
    assert told["overallStatus"] == "failed"
    assert "staging-1: /nowhere answered 404 instead of 200" in told["testResults"][0]["error"]


def test_a_repeated_request_waits_for_the_same_run(api, deployed, worker):
    first = api.post(path(deployed), {"tests": TESTS}, as_="cid", Idempotency_Key="k")
    again = api.post(path(deployed), {"tests": TESTS}, as_="cid", Idempotency_Key="k")
    assert again.status_code == 200
    assert again.json() == first.json()
    assert SmokeRun.objects.count() == 1


def test_where_no_more_threads_may_wait_the_answer_says_where_the_results_will_be(api, deployed, queue):
    taken = 0
    while smoke._waiting.acquire(blocking=False):
        taken += 1
    try:
        answer = api.post(path(deployed), {"tests": TESTS}, as_="cid")
    finally:
        for _ in range(taken):
            smoke._waiting.release()
    told = answer.json()
    assert answer.status_code == 202
    assert (told["overallStatus"], told["testResults"], told["totalTests"]) == ("running", [], 2)
    assert api.get(told["url"], as_="vera").json() == told
    with Redis.from_url(queue) as client:
        [message] = map(json.loads, client.lrange("aureus:smoke", 0, -1))
    assert message["headers"]["task"] == tasks.run_smoke.name
    assert json.loads(base64.b64decode(message["body"]))[0] == [told["id"]]


def test_tests_that_cannot_be_run_are_refused_and_nothing_is_asked_for(api, deployed):
    for tests in ([], "x", [{"name": "a"}], [{"name": "a", "endpoint": "http://169.254.169.254/"}],
                  [{"name": "a", "endpoint": "//evil/"}],
                  [{"name": "a", "endpoint": "/x", "expectedStatus": "200"}]):  # fmt: skip
        answer = api.post(path(deployed), {"tests": tests}, as_="cid")
        assert answer.status_code == 400, tests
        assert answer.json()["errors"]
    assert not SmokeRun.objects.exists()


def test_what_is_not_current_is_not_tested(api, fleet, deployed):
    Installation.objects.update(url=OF_FAKES)
    newer = fleet.deployed("1.1.0")
    answer = api.post(path(deployed), {"tests": TESTS}, as_="cid")
    assert answer.status_code == 409
    assert str(newer.pk) in answer.json()["detail"]


def test_a_run_of_another_deployment_is_not_there(api, fleet, deployed, worker):
    told = api.post(path(deployed), {"tests": TESTS}, as_="cid").json()
    Installation.objects.update(url=OF_FAKES)
    other = fleet.deployed("1.1.0")
    assert api.get(f"{path(other)}/{told['id']}", as_="vera").status_code == 404
    wait_until(lambda: not SmokeRun.objects.filter(verdict="").exists(), seconds=10, what="runs end")


def test_without_a_queue_the_answer_does_not_wait_for_results_that_nobody_makes(api, deployed):
    answer = api.post(path(deployed), {"tests": TESTS}, as_="cid")
    assert (answer.status_code, answer.json()["overallStatus"]) == (202, "running")
    assert SmokeRun.objects.count() == 1
