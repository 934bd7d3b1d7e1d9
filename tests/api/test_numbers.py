"""A version's number, its notes and its artifact's removal over HTTP and in the console."""

from __future__ import annotations

from html import unescape

import pytest
from django.urls import reverse

from aureus import clock
from deployments import lifecycle
from releases import registry
from releases.models import Version
from tests.api.test_versions import HERE
from tests.deployments.conftest import ALICE, SPEC
from tests.deployments.test_admin import person

TWO = [SPEC["tasks"][0], {"id": "tell", "tool": "http", "dependsOn": ["ask"]}]


def version(number: str, tasks: object = TWO, **metadata: object) -> Version:
    return registry.register({**SPEC, "tasks": tasks}, number, actor=ALICE, metadata=metadata)[0]


def test_a_registration_says_that_its_number_is_too_small(api):
    version("1.0.0")
    told = api.post(HERE, {"workflowSpec": SPEC, "version": "1.0.1"}, as_="cid")
    assert told.status_code == 201
    [warning] = [one for one in told.json()["warnings"] if one["rule"] == "version_number"]
    assert (warning["severity"], warning["tasks"], warning["path"]) == ("warning", ["tell"], "version")
    assert "1.0.1 is a PATCH after 1.0.0, but tell was removed: that is a MAJOR" in warning["message"]


def test_notes_are_read_since_a_version_or_an_environment_in_which_one_holds_a_role(api, fleet):
    fleet.environment("staging", hosts=1)
    lifecycle.deploy(version("1.0.0").pk, "staging", actor=ALICE)
    fleet.run()
    version("1.1.0", notes="<i>")
    newest = version("1.2.0", gitCommit="abc1234")
    told = api.get(f"{HERE}/{newest.pk}/notes?environment=staging", as_="rita").json()
    assert (told["workflowId"], told["version"], told["since"], told["leftOut"]) == ("shop", "1.2.0", "1.0.0", 0)
    assert [one["version"] for one in told["versions"]] == ["1.2.0", "1.1.0"]
    assert told["versions"][0]["createdAt"].endswith("Z")
    assert "&lt;i&gt;" in told["markdown"]
    assert api.get(f"{HERE}/{newest.pk}/notes?since=1.1.0", as_="rita").json()["since"] == "1.1.0"
    for query, status in (
        ("since=1.2.0", 400), ("since=9.0.0", 404), ("environment=nowhere", 404),
        ("since=1.0.0&environment=staging", 400),
    ):  # fmt: skip
        answer = api.get(f"{HERE}/{newest.pk}/notes?{query}", as_="rita")
        assert answer.status_code == status, (query, answer.json())


@pytest.mark.usefixtures("transactional_db")
def test_the_versions_page_shows_its_notes_as_text_and_withdraws_by_whoever_may() -> None:
    made = version("1.0.0", notes="<script>alert(1)</script>", gitCommit="abc1234")
    page = reverse("admin:releases_version_change", args=[made.pk])
    shown = person("carol", "viewer").get(page).content.decode()
    assert "<script>alert(1)" not in shown and "&lt;script&gt;alert(1)" in shown and "abc1234" in shown
    where = reverse("admin:deployments_withdraw", args=[made.pk])
    refused = person("dora", "viewer").post(where, {"reason": "no"}, follow=True).content.decode()
    assert "you need the role release_manager" in unescape(refused)
    manager = person("rita", "release_manager")
    assert manager.get(where).status_code == 200
    assert manager.post(where, {"reason": ""}).status_code == 200
    made.refresh_from_db()
    assert made.withdrawn_at is None
    text = unescape(manager.post(where, {"reason": "It lost orders."}, follow=True).content.decode())
    assert "shop 1.0.0 was withdrawn." in text and "It lost orders." in text
    made.refresh_from_db()
    assert made.withdrawn_reason == "It lost orders."


def test_what_was_removed_says_since_when(api):
    from releases.models import Artifact

    made = version("1.0.0")
    assert api.get(f"{HERE}/{made.pk}", as_="rita").json()["artifactRemovedAt"] is None
    artifact = Artifact.objects.create(
        sha256="a" * 64, size=1, unpacked_size=1, files=1, store_key="k", removed_at=clock.now()
    )
    Version.objects.filter(pk=made.pk).update(artifact=artifact)
    told = api.get(f"{HERE}/{made.pk}", as_="rita").json()
    assert told["artifactRemovedAt"].endswith("Z")
    assert told["artifact"] == {"sha256": "a" * 64, "size": 1}
