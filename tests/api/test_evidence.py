"""Evidence and waivers over HTTP: files as tools wrote them, who may say what, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aureus import clock
from aureus.journal.actor import Role
from aureus.journal.models import Event
from releases.models import Evidence, ReportFile, Version, Waiver
from tests.api.conftest import MISSING, Api, key, person
from tests.api.test_versions import GOOD, archive, store  # noqa: F401 - a fixture
from tests.releases.hostile import HERE as FIXTURES
from tests.releases.hostile import HOSTILE

HERE = "/api/deployments/versions"
JUNIT = (FIXTURES / "pytest.xml").read_bytes()


@pytest.fixture
def version(api: Api) -> str:
    return str(api.post(HERE, GOOD, as_="cid").json()["id"])


def send(api: Api, version: str, octets: bytes, query: str, **how: Any) -> Any:
    how = {"as_": "cid", **how}
    return api("POST", f"{HERE}/{version}/evidence?{query}", octets, Content_Type="application/xml", **how)


def waive(api: Api, version: str, *, as_: str = "anna", **more: Any) -> Any:
    body = {"environment": "production", "gate": "tests_passed", "owner": "bo", "reason": "flaky on CI",
            "expiresAt": (clock.now() + timedelta(days=7)).isoformat(), **more}  # fmt: skip
    return api.post(f"{HERE}/{version}/waivers", body, as_=as_)


def test_a_file_is_read_counted_and_given_back_as_it_was(api, version):
    answer = send(api, version, JUNIT, "kind=tests&subject=unit")
    told = answer.json()
    assert answer.status_code == 201, told
    assert (told["format"], told["subject"], told["report"], told["by"]) == ("junit", "unit", {}, "cid")
    assert told["summary"] == {"total": 5, "passed": 4, "failed": 0, "errors": 0, "skipped": 1}
    assert told["isAboutTheseBytes"] is True
    raw = api.get(f"{HERE}/{version}/evidence/{told['id']}/raw", as_="vera")
    assert raw.content == JUNIT
    assert raw.headers["Content-Disposition"].startswith("attachment")
    assert raw.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/octet-stream", "text/xml"])
def test_a_file_is_taken_under_any_media_type_such_as_curls_own(api, version, kind):
    answer = api("POST", f"{HERE}/{version}/evidence?kind=tests", JUNIT, as_="cid", Content_Type=kind)
    assert answer.status_code == 201, answer.content


def test_a_json_file_may_come_as_json_and_is_read_as_the_file_it_is(api, version):
    octets = (FIXTURES / "codeql.sarif").read_bytes()
    answer = api("POST", f"{HERE}/{version}/evidence?kind=vulnerabilities", octets, as_="cid")
    assert (answer.status_code, answer.json()["format"]) == (201, "sarif")
    assert answer.json()["summary"]["high"] == 1


def test_the_same_file_again_is_the_same_evidence_and_its_bytes_are_kept_once(api, version):
    first = send(api, version, JUNIT, "kind=tests")
    again = send(api, version, JUNIT, "kind=tests")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    other = send(api, version, JUNIT, "kind=tests&subject=unit")
    assert other.status_code == 201
    assert ReportFile.objects.count() == 1
    assert Event.objects.filter(kind="version.evidence").count() == 2


def test_evidence_is_listed_by_kind_and_subject(api, version):
    send(api, version, JUNIT, "kind=tests&subject=unit")
    api.post(f"{HERE}/{version}/evidence", {"kind": "load", "report": {"rps": 100}}, as_="cid")
    assert [row["kind"] for row in api.get(f"{HERE}/{version}/evidence?limit=10", as_="vera").json()] == [
        "load",
        "tests",
    ]
    [row] = api.get(f"{HERE}/{version}/evidence?kind=tests&subject=unit", as_="vera").json()
    assert row["subject"] == "unit"


def test_evidence_sent_before_the_archive_is_about_other_bytes(api, version, store):  # noqa: F811
    send(api, version, JUNIT, "kind=tests")
    octets, sha256 = archive()
    api("PUT", f"{HERE}/{version}/artifact", octets, as_="cid", X_Artifact_Sha256=sha256)
    [row] = api.get(f"{HERE}/{version}/evidence", as_="vera").json()
    assert row["isAboutTheseBytes"] is False
    again = send(api, version, JUNIT, "kind=tests")
    assert (again.status_code, again.json()["isAboutTheseBytes"]) == (201, True)


@pytest.mark.parametrize("case", ["junit: entity bomb", "junit: failures denied", "pip-audit: nothing audited"])
def test_a_hostile_file_is_a_400_with_its_sentence_and_nothing_is_kept(api, version, case):
    kind, name, octets, said = HOSTILE[case]
    answer = send(api, version, octets, f"kind={kind}&format={name}")
    assert answer.status_code == 400
    assert said in answer.json()["detail"]
    assert answer.json()["type"] == "urn:aureus:problem:bad_report"
    assert not Evidence.objects.exists() and not ReportFile.objects.exists()


@pytest.mark.parametrize(
    ("query", "path"), [("format=junit", "kind"), ("kind=tests&colour=blue", "colour"), ("kind=tests&kind=x", "kind"),
                        ("kind=tests&subject=a%0Ab", "subject"), ("kind=", "kind")],
)  # fmt: skip
def test_a_query_that_is_wrong_is_refused_by_name(api, version, query, path):
    answer = send(api, version, JUNIT, query)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == path


def test_a_file_that_is_not_there_is_a_404(api, version):
    row = api.post(f"{HERE}/{version}/evidence", {"kind": "load", "report": {}}, as_="cid").json()
    for where in (f"{version}/evidence/{row['id']}", f"{version}/evidence/999999", f"{MISSING}/evidence/{row['id']}"):
        assert api.get(f"{HERE}/{where}/raw", as_="vera").status_code == 404


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"kind": "review", "report": {"approved": True}}, "reviewer must be text"),
        ({"kind": "policy", "report": {"rules": []}}, "1 to 10000"),
        ({"kind": "on_call_named", "report": {"note": "Somebody will be."}}, "person must be text"),
    ],
)
def test_a_statement_of_another_shape_is_a_400(api, version, body, said):
    answer = api.post(f"{HERE}/{version}/evidence", body, as_="rita")
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


def test_people_attest_and_ci_does_not(api, version):
    body = {"kind": "documentation_updated", "report": {"note": "CHANGELOG.md and README.md are done."}}
    path = f"{HERE}/{version}/evidence"
    assert api.post(path, body, as_="cid").json()["type"] == "urn:aureus:problem:not_a_person"
    assert api.post(path, body, token=key("bot")).status_code == 403
    assert api.post(path, body, as_="anna").status_code == 201
    assert api.post(path, body, as_="rita").json()["by"] == "rita"


def test_who_only_approves_sends_no_reports(api, version):
    assert send(api, version, JUNIT, "kind=tests", as_="anna").json()["type"] == "urn:aureus:problem:missing_role"
    answer = api.post(f"{HERE}/{version}/evidence", {"kind": "load", "report": {}}, as_="anna")
    assert answer.status_code == 403


def test_reviews_of_two_people_are_kept_beside_each_other(api, version):
    for reviewer in ("bo", "di"):
        report = {"reviewer": reviewer, "approved": True, "commit": "c1"}
        assert (
            api.post(f"{HERE}/{version}/evidence", {"kind": "review", "report": report}, as_="cid").status_code == 201
        )
    assert set(Evidence.objects.values_list("subject", flat=True)) == {"bo", "di"}


def test_a_later_no_of_the_same_person_takes_back_the_yes_under_whatever_subject(api, version):
    for reviewer, approved, subject in (("Bo", True, "a"), ("bo", False, "b")):
        body = {"kind": "review", "subject": subject,
                "report": {"reviewer": reviewer, "approved": approved, "commit": "c1"}}  # fmt: skip
        assert api.post(f"{HERE}/{version}/evidence", body, as_="cid").status_code == 201
    assert set(Evidence.objects.values_list("subject", flat=True)) == {"bo"}
    assert Evidence.objects.latest("id").summary["approved"] is False


def test_what_a_database_cannot_hold_is_a_400(api, version):
    octets = b'{"reviewer": "bo\\ud800", "approved": true, "commit": "c1"}'
    answer = send(api, version, octets, "kind=review")
    assert answer.status_code == 400
    assert "reviewer must be text" in answer.json()["detail"]


def test_an_approver_waives_a_gate_for_a_time_and_takes_it_back(api, version):
    told = waive(api, version).json()
    assert (told["gate"], told["owner"], told["by"], told["liftedAt"]) == ("tests_passed", "bo", "anna", None)
    again = waive(api, version, reason="still flaky").json()
    assert Waiver.objects.get(lifted_at=None).pk == again["id"]
    body = {"environment": "production", "gate": "tests_passed"}
    answer = api.post(f"{HERE}/{version}/unwaive", body, as_="anna")
    assert answer.json()[0]["liftedBy"] == "anna"
    assert api.post(f"{HERE}/{version}/unwaive", body, as_="anna").json()["type"] == "urn:aureus:problem:not_waived"
    assert len(api.get(f"{HERE}/{version}/waivers", as_="vera").json()) == 2
    assert list(Event.objects.filter(kind__contains="waived").values_list("kind", flat=True).order_by("seq")) == [
        "version.waived", "version.waived", "version.unwaived",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"gate": "not_withdrawn"}, "gate", "never waived"),
        ({"gate": "digest_unchanged"}, "gate", "never waived"),
        ({"gate": "luck"}, "gate", "there is no gate luck"),
        ({"owner": " "}, "owner", "must not be empty"),
        ({"reason": " "}, "reason", ""),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt", "within the next 30 days"),
        ({"expiresAt": "2199-01-01T00:00:00Z"}, "expiresAt", "within the next 30 days"),
        ({"expiresAt": "never"}, "expiresAt", ""),
        ({"expiresAt": None}, "expiresAt", ""),
    ],
)
def test_a_waiver_without_what_it_needs_is_refused_by_name(api, version, change, path, said):
    answer = waive(api, version, **change)
    assert answer.status_code == 400, answer.content
    [error] = answer.json()["errors"]
    assert error["path"] == path
    assert said in error["message"]
    assert not Waiver.objects.exists()


def test_who_registered_a_version_does_not_waive_its_gates_nor_does_a_key(api, version):
    Version.objects.filter(pk=version).update(created_by="key:bot", answerable="anna")
    assert waive(api, version).json()["type"] == "urn:aureus:problem:self_waiver"
    person("olga", "staging", role=Role.APPROVER)
    assert waive(api, version, as_="olga").json()["type"] == "urn:aureus:problem:missing_role"


def test_the_person_behind_a_key_is_kept_with_what_the_key_registers(api):
    made = api.post(HERE, GOOD, token=key("bot")).json()
    assert Version.objects.get(pk=made["id"]).answerable == "adam"
