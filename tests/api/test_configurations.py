"""Variables over HTTP and in the console: names and digests, and no value where nobody asked for it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from deployments.models import Configuration, Deployment
from tests.api.conftest import Api, person
from tests.deployments.test_way_back import play_out

HERE = "/api/environments/staging/installations/shop/configurations"
SECRET, PLAIN = "canary-secret-7Qx", "canary-plain-9Zk"
WANTED = {"PASSWORD": {"secret": "env:SHOP_DB"}, "GREETING": {"value": PLAIN}}


def test_a_revision_is_written_listed_and_asked_for(fleet, api):
    fleet.environment("staging", hosts=1)
    made = api.post(HERE, {"variables": WANTED, "note": "first"}, as_="rita")
    assert made.status_code == 201, made.content
    assert {
        "revision": 1,
        "names": ["GREETING", "PASSWORD"],
        "secrets": ["PASSWORD"],
        "by": "rita",
        "note": "first",
    }.items() <= made.json().items()
    assert api.post(HERE, {"variables": WANTED}, as_="rita").status_code == 200
    assert api.post(HERE, {"changes": {"GREETING": None}}, as_="adam").json()["revision"] == 2
    assert [row["revision"] for row in api.get(HERE, as_="vera").json()] == [2, 1]
    first = api.get(f"{HERE}?limit=1", as_="vera")
    assert 'rel="next"' in first["Link"] and len(first.json()) == 1
    assert api.get(f"{HERE}/1", as_="rita").json()["variables"] == WANTED
    assert api.get(f"{HERE}/9", as_="rita").status_code == 404
    assert api.get(HERE.replace("shop", "other"), as_="rita").status_code == 404


def test_mistakes_are_told_all_at_once_and_write_nothing(fleet, api):
    fleet.environment("staging", hosts=1)
    said = api.post(HERE, {"variables": {"a": {"value": "x"}, "B": {"value": f"{PLAIN}\n"}}}, as_="rita")
    assert said.status_code == 400 and PLAIN not in said.content.decode()
    assert [error["path"] for error in said.json()["errors"]] == ["variables.a", "variables.B"]
    wrong: list[Any] = [
        {},
        {"variables": {}, "changes": {}},
        {"variables": []},
        {"variables": {}, "more": 1},
        {"changes": 1},
    ]
    for body in wrong:
        assert api.post(HERE, body, as_="rita").status_code == 400, body
    assert not Configuration.objects.exists()


def test_the_same_request_with_the_same_key_writes_one_revision(fleet, api):
    fleet.environment("staging", hosts=1)
    body = {"changes": {}, "again": True}
    told = [api.post(HERE, body, as_="rita", Idempotency_Key="k").json()["revision"] for _ in range(2)]
    assert told == [1, 1]


def test_a_deployment_says_which_revision_it_ships_and_may_name_it(fleet, api):
    fleet.environment("staging", hosts=1)
    assert api.deploy("1.0.0").json()["configurationRevision"] is None
    api.post(HERE, {"variables": {"A": {"value": "1"}}}, as_="rita")
    api.post(HERE, {"variables": {"A": {"value": "2"}}}, as_="rita")
    newest = api.deploy("1.1.0").json()
    assert newest["configurationRevision"] == 2 and newest["plan"]["intent"]["configuration"]
    body = {"versionId": newest["versionId"], "environment": "staging", "configurationRevision": 1}
    assert api.post("/api/deployments", body, as_="cid").json()["configurationRevision"] == 1
    none = api.post("/api/deployments", {**body, "configurationRevision": 0}, as_="cid").json()
    assert none["configurationRevision"] is None
    for wrong, status in ((9, 404), (-1, 400), ("x", 400)):
        asked = api.post("/api/deployments", {**body, "configurationRevision": wrong}, as_="cid")
        assert asked.status_code == status, asked.content


@pytest.fixture
def busy(fleet, api, monkeypatch):
    """Both kinds of values were shipped, and undone because a host fell over."""
    fleet.environment("staging", hosts=2, balanced=True, strategy="all-at-once")
    monkeypatch.setenv("SHOP_DB", SECRET)
    fleet.deployed("1.0.0")
    api.post(HERE, {"variables": WANTED, "note": "why"}, as_="rita", Idempotency_Key="k")
    second = Deployment.objects.get(pk=api.deploy("1.1.0").json()["id"])
    fleet.sick.add(("*", "1.1.0"))
    play_out(fleet, second)
    assert second.rollbacks.get().status == "deployed"
    return second


def test_no_value_is_in_any_answer_log_or_page(busy, api: Api, caplog):
    caplog.set_level(logging.DEBUG)
    one, back = f"/api/deployments/{busy.pk}", f"/api/deployments/{busy.rollbacks.get().pk}"
    parts = ("", "/events", "/steps", "/samples", "/logs", "/gate-checks?targetEnvironment=staging", "/explain")
    paths = [*(here + part for here in (one, back) for part in parts), "/api/deployments", HERE, "/api/environments",
             "/api/environments/staging", "/api/environments/staging/hosts", "/metrics"]  # fmt: skip
    told = {path: api.get(path, as_="rita").content.decode() for path in paths}
    told |= {"again": api.post(HERE, {"variables": WANTED}, as_="rita").content.decode()}
    person("root").__class__.objects.filter(username="root").update(is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(person("root"))
    revision = Configuration.objects.get()
    addresses = [
        reverse("admin:deployments_configuration_changelist"),
        reverse("admin:deployments_configuration_change", args=[revision.pk]),
        reverse("admin:deployments_deployment_changelist"),
        reverse("admin:deployments_deployment_change", args=[busy.pk]),
        reverse("admin:deployments_installation_change", args=[revision.installation_id]),
        reverse("admin:deployments_endpoint_changelist"),
    ]
    pages = {address: client.get(address) for address in addresses}
    assert {page.status_code for page in pages.values()} == {200}
    assert "GREETING, PASSWORD (secret)" in pages[addresses[1]].content.decode()
    told |= {address: page.content.decode() for address, page in pages.items()}
    told["logs"] = caplog.text + "-"
    assert not [f"{word} in {place}" for place, text in told.items() for word in (SECRET, PLAIN) if word in text]
    assert SECRET not in api.get(f"{HERE}/1", as_="rita").content.decode()
