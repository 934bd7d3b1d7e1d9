"""The release checklist in the console: filled from facts, with what people may say to it."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from deployments.checklist import gates_of, items
from deployments.models import Deployment, Installation
from releases import evidence
from releases.models import Evidence, Waiver
from tests.deployments.test_admin import person
from tests.deployments.test_gating import CID, RITA, prove, staged  # noqa: F401 - a fixture
from tests.releases.hostile import HERE

ATTESTED = ("documentation_updated", "on_call_named", "stakeholders_told", "rollback_plan_tested")


def listed(deployment: Deployment) -> dict[str, bool]:
    to = Installation.objects.get(environment__name="production")
    return {one.title: one.done for one in items(deployment.version, to, gates_of(deployment.version, to))}


def shown(client: Client, deployment: Deployment, query: str = "") -> str:
    answer = client.get(reverse("admin:deployments_checklist", args=[deployment.version_id]) + query)
    assert answer.status_code == 200, answer
    return re.sub(r"\s+", " ", unescape(answer.content.decode()))


def say(client: Client, deployment: Deployment, word: str, name: str, **said: str) -> str:
    where = reverse("admin:deployments_checklist_say", args=[deployment.version_id, word, name])
    assert client.get(f"{where}?environment=production").status_code == 200
    return unescape(client.post(f"{where}?environment=production", said, follow=True).content.decode())


def test_without_facts_only_what_aureus_knows_is_done(staged):  # noqa: F811
    assert [title for title, done in listed(staged).items() if done] == [
        "Version number bumped appropriately", "Staging deployment successful", "Smoke tests pass in staging",
        "Monitoring and alerts configured",
    ]  # fmt: skip


def test_with_every_report_and_what_people_attest_all_ten_are_done(staged):  # noqa: F811
    prove(staged.version)
    for kind in ATTESTED:
        report = {"person": "Bo"} if kind == "on_call_named" else {"note": "It was done on Friday."}
        evidence.add(staged.version_id, kind, report, actor=RITA)
    found = listed(staged)
    assert len(found) == 10 and all(found.values())
    text = shown(person("carol", "viewer"), staged)
    assert "10 of 10 done" in text
    assert "rita attests: Bo: Bo is on call." in text


def test_what_was_attested_of_other_bytes_is_open_again(staged):  # noqa: F811
    evidence.add(staged.version_id, "documentation_updated", {"note": "It was done."}, actor=RITA)
    assert listed(staged)["Documentation updated"]
    Evidence.objects.update(digest="b" * 64)
    assert not listed(staged)["Documentation updated"]


def test_a_version_that_was_never_staged_and_is_older_says_so(fleet, staged):  # noqa: F811
    to = Installation.objects.get(environment__name="production")
    old = fleet.version("0.9.0")
    told = {one.title: one for one in items(old, to, gates_of(old, to))}
    assert told["Version number bumped appropriately"].said == ("0.9.0 is not newer than 1.0.0, which production runs.")
    assert not told["Staging deployment successful"].done


def test_a_manager_attests_on_the_page_and_a_viewer_is_not_offered_it(staged):  # noqa: F811
    manager, viewer = person("dora", "release_manager"), person("carol", "viewer")
    assert ">Attest<" in shown(manager, staged) and ">Attest<" not in shown(viewer, staged)
    assert "Attest: done." in say(manager, staged, "attest", "stakeholders_told", note="Mail went out on Monday.")
    assert "dora attests: Mail went out on Monday." in shown(viewer, staged)
    assert "only people attest" in say(viewer, staged, "attest", "backup_made", note="There is one.")


def test_an_approver_waives_on_the_page_and_takes_it_back(staged):  # noqa: F811
    approver = person("erin", "approver")
    assert ">Waive<" in shown(approver, staged)
    said = {"owner": "bo", "reason": "<b>no CRV yet</b>", "days": "30"}
    assert "Waive: done." in say(approver, staged, "waive", "crv_passed", **said)
    page = shown(approver, staged)
    assert "Waived by erin until" in page and ">Take back<" in page
    assert "Take back: done." in say(approver, staged, "unwaive", "crv_passed")
    assert Waiver.objects.get().lifted_by == "erin"
    assert "you need the role approver" in say(person("dora", "release_manager"), staged, "waive", "crv_passed", **said)


@pytest.mark.parametrize(("word", "name"), [("waive", "not_withdrawn"), ("attest", "luck"), ("sing", "crv_passed")])
def test_what_may_not_be_said_is_no_page(staged, word, name):  # noqa: F811
    where = reverse("admin:deployments_checklist_say", args=[staged.version_id, word, name])
    assert person("erin", "approver").get(where).status_code == 404


def test_a_reason_is_shown_as_text_and_never_as_markup(staged):  # noqa: F811
    approver = person("erin", "approver")
    say(approver, staged, "waive", "crv_passed", owner="bo", reason="<b>bold</b>", days="1")
    page = approver.get(reverse("admin:deployments_checklist", args=[staged.version_id])).content.decode()
    assert "&lt;b&gt;bold&lt;/b&gt;" in page and "<b>bold</b>" not in page


def test_the_pages_of_version_and_deployment_link_to_it(staged):  # noqa: F811
    client = person("carol", "viewer")
    evidence.add_file(staged.version_id, "tests", (HERE / "pytest.xml").read_bytes(), actor=CID)
    link = reverse("admin:deployments_checklist", args=[staged.version_id])
    version = client.get(reverse("admin:releases_version_change", args=[staged.version_id])).content.decode()
    assert link in version and "passed 4" in version
    assert link in client.get(reverse("admin:deployments_deployment_change", args=[staged.pk])).content.decode()
    row = Evidence.objects.get()
    assert client.get(reverse("admin:releases_evidence_change", args=[row.pk])).status_code == 200
