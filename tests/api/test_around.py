"""Health, metrics, CORS, the schema and the pages made from it."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from aureus.api import reference
from aureus.api.permissions import TABLE
from health import canaries
from health.models import Canary, SmokeRun, Window

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "reference"


def test_health_is_as_the_guide_shows_it(api, queue):
    canaries.answered(canaries.names())
    answer = api.get("/health")
    told = answer.json()
    assert answer.status_code == 200
    assert told["status"] == "healthy"
    assert told["version"]
    assert isinstance(told["uptime"], int)
    assert told["timestamp"].endswith("Z")
    for name in ("api", "database", "stateStore", "eventLog"):
        assert told["components"][name] == "operational"


def test_without_its_queue_aureus_is_degraded_and_still_ready(api):
    told = api.get("/health")
    assert told.status_code == 503
    assert told.json()["status"] == "degraded"
    assert told.json()["components"]["queue"] == "down"
    ready = api.get("/ready")
    assert ready.status_code == 200
    assert ready.json()["ready"] is True
    assert ready.json()["checks"] == {"database": True, "migrations": True, "dependencies": False}


def test_a_queue_whose_worker_is_silent_is_told_and_does_not_stop_requests(api, queue):
    canaries.answered(canaries.names())
    Canary.objects.filter(name="transfer").update(answered_at=timezone.now() - timedelta(minutes=5))
    assert canaries.behind(canaries.ages()) == ["transfer"]
    told = api.get("/health")
    assert (told.status_code, told.json()["components"]["workers"]) == (503, "behind")
    ready = api.get("/ready")
    assert ready.status_code == 200
    ages = ready.json()["queues"]
    assert set(ages) == set(canaries.names())
    assert ages["transfer"] >= 300 > 30 > ages["deploy"]
    assert 'aureus_queue_canary_age_seconds{queue="transfer"} 3' in api.get("/metrics").content.decode()


def test_a_queue_that_never_had_a_worker_is_behind(api, queue):
    Canary.objects.all().delete()
    assert set(canaries.behind(canaries.ages())) == set(canaries.names())
    assert api.get("/ready").json()["queues"]["deploy"] is None


def test_a_window_that_nobody_samples_is_told(api, queue):
    past = timezone.now() - timedelta(minutes=5)
    Window.objects.create(
        subject="00000000-0000-4000-8000-000000000000", kind="after", content="x", endpoints={}, opens_at=past,
        closes_at=timezone.now() + timedelta(minutes=5), next_sample_at=past,
    )  # fmt: skip
    told = api.get("/health")
    assert (told.status_code, told.json()["components"]["watching"]) == (503, "behind")


def test_being_alive_asks_nobody(client, django_db_blocker):
    assert client.get("/live").json() == {"alive": True}


def test_the_metrics_of_the_guide_are_there(api):
    SmokeRun.objects.create(
        subject="00000000-0000-4000-8000-000000000000", content="x", asked_by="x", not_before=timezone.now(),
        tests=[{"name": "a", "workflowId": "shop"}, {"name": "b", "endpoint": "/x"},
               {"name": "c", "workflowId": "shop"}],
        results=[{"name": "a", "status": "passed", "duration": 1500}, {"name": "b", "status": "failed", "duration": 9},
                 {"name": "c", "status": "failed", "duration": 200}],
        verdict="failed",
    )  # fmt: skip
    api.get("/api/deployments", as_="vera")
    text = api.get("/metrics").content.decode()
    found = {s.name + str(s.labels): s.value for f in text_string_to_metric_families(text) for s in f.samples}
    assert found["aureus_workflow_executions_total{'status': 'passed'}"] == 1
    assert found["aureus_workflow_executions_total{'status': 'failed'}"] == 1
    assert found["aureus_workflow_errors_total{}"] == 1
    assert found["aureus_workflow_execution_duration_seconds_bucket{'le': '0.25'}"] == 1
    assert found["aureus_workflow_execution_duration_seconds_sum{}"] == pytest.approx(1.7)
    assert found["aureus_state_store_operations_total{}"] > 0
    assert "aureus_event_log_writes_total{}" in found
    assert found["aureus_api_requests_total{'method': 'GET', 'route': 'deployments', 'status': '200'}"] >= 1
    assert any(name.startswith("aureus_api_request_duration_seconds_bucket") for name in found)


def test_deployments_are_counted_from_rows(api, fleet):
    fleet.environment("staging", 2)
    fleet.deployed("1.0.0")
    text = api.get("/metrics").content.decode()
    assert 'aureus_deployments_total{environment="staging",outcome="",status="deployed"} 1.0' in text
    assert "aureus_open_windows 1.0" in text


def test_metrics_can_be_switched_off(api, settings):
    settings.AUREUS._values["ENABLE_METRICS"] = False
    try:
        assert api.get("/metrics").status_code == 404
    finally:
        settings.AUREUS._values["ENABLE_METRICS"] = True


@pytest.fixture
def origins(settings):
    before = settings.AUREUS.CORS_ORIGIN
    settings.AUREUS._values["CORS_ORIGIN"] = ("https://console.example.com",)
    yield
    settings.AUREUS._values["CORS_ORIGIN"] = before


def test_only_pages_of_a_named_origin_may_read_answers(api, origins):
    good = api.get("/api/deployments", as_="vera", Origin="https://console.example.com")
    assert good["Access-Control-Allow-Origin"] == "https://console.example.com"
    assert "Origin" in good["Vary"]
    assert "Access-Control-Allow-Credentials" not in good
    for origin in ("https://console.example.com.evil.com", "http://console.example.com", "null"):
        assert "Access-Control-Allow-Origin" not in api.get("/api/deployments", as_="vera", Origin=origin)


def test_a_preflight_is_answered_without_a_token(api, origins):
    answer = api(
        "OPTIONS", "/api/deployments", Origin="https://console.example.com", Access_Control_Request_Method="POST"
    )
    assert answer.status_code == 204
    assert "Idempotency-Key" in answer["Access-Control-Allow-Headers"]


def test_without_authentication_no_foreign_page_does_anything_whatever_the_wildcard_says(api, settings):
    settings.AUREUS._values["ENABLE_AUTH"] = False
    try:
        assert settings.AUREUS.CORS_ORIGIN == ("*",)
        assert api.get("/api/deployments").status_code == 200
        assert api.get("/api/deployments", Origin="https://evil.example.com").status_code == 403
        assert api.post("/api/deployments", Origin="null").status_code == 403
        assert api.get("/api/deployments", Origin="http://testserver").status_code == 200
    finally:
        settings.AUREUS._values["ENABLE_AUTH"] = True


def test_the_schema_holds_every_route_of_the_table(api):
    schema = json.loads(api.get("/api/schema").content)
    assert schema["openapi"].startswith("3.")
    there = {(m.upper(), _plain(a)) for a, methods in schema["paths"].items() for m in methods}
    addresses = reference._addresses()
    wanted = {(c.method, addresses[c.route]) for c in TABLE if addresses[c.route].startswith("/api/")}
    assert wanted - there == {("GET", "/api/schema")}
    assert there <= wanted


def _plain(address: str) -> str:
    named = {"deployment_id": ":id", "version_id": ":id", "name": ":name", "run_id": ":run",
             "evidence_id": ":evidence", "application": ":application", "number": ":number",
             "freeze": ":freeze"}  # fmt: skip
    for name, short in named.items():
        address = address.replace(f"{{{name}}}", short)
    return address


@pytest.mark.parametrize("name", ["api.md", "permissions.md"])
def test_the_reference_is_current(name):
    assert (DOCS / name).read_text() == reference.pages()[name], "run: python -m aureus.api.reference"
