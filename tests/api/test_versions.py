"""Versions over HTTP."""

import base64
import hashlib
import io
import tarfile

import pytest

from aureus.journal.actor import Role
from deployments import lifecycle
from releases.models import Version
from tests.api.conftest import MISSING, person
from tests.deployments.conftest import ALICE, SPEC
from tests.releases.keys import key, needs_ssh_keygen, signature

HERE = "/api/deployments/versions"
GOOD = {
    "workflowSpec": SPEC,
    "version": "v1.0.0",
    "createdBy": "developer@example.com",
    "metadata": {"gitCommit": "abc"},
}


def archive(name: str = "app.py", text: bytes = b"print()") -> tuple[bytes, str]:
    """A .tar.gz and its sha256."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    return out.getvalue(), hashlib.sha256(out.getvalue()).hexdigest()


@pytest.fixture
def store(tmp_path, settings):
    settings.AUREUS._values["ARTIFACT_DIR"], before = str(tmp_path), settings.AUREUS.ARTIFACT_DIR
    yield tmp_path
    settings.AUREUS._values["ARTIFACT_DIR"] = before


def test_a_version_is_registered_as_the_guide_shows_it(api):
    answer = api.post(HERE, GOOD, as_="cid")
    told = answer.json()
    assert answer.status_code == 201
    assert told["version"] == "1.0.0"
    assert told["workflowId"] == "shop"
    assert told["createdBy"] == "developer@example.com"
    assert told["registeredBy"] == "cid"
    assert told["status"] == "registered"
    assert told["createdAt"].endswith("Z")
    assert told["workflowSpec"] == SPEC


def test_a_schema_change_is_declared_once_and_belongs_to_the_content(api):
    plain = api.post(HERE, GOOD, as_="cid").json()
    assert plain["schemaChange"] == "none"
    declared = {**GOOD, "version": "1.1.0", "schemaChange": "contract"}
    first = api.post(HERE, declared, as_="cid").json()
    assert first["schemaChange"] == "contract"
    assert api.post(HERE, declared, as_="cid").json()["id"] == first["id"]
    other = api.post(HERE, {**declared, "schemaChange": "expand"}, as_="cid")
    assert other.status_code == 409
    assert "registered with the schema change contract, not expand" in other.json()["detail"]
    unknown = api.post(HERE, {**GOOD, "version": "1.2.0", "schemaChange": "tiny"}, as_="cid")
    assert (unknown.status_code, unknown.json()["errors"]) == (
        400,
        [{"path": "schemaChange", "message": "must be one of none, expand, contract, irreversible"}],
    )


def test_the_same_content_again_is_the_same_version_and_other_content_is_refused(api):
    first = api.post(HERE, GOOD, as_="cid").json()
    again = api.post(HERE, {**GOOD, "metadata": {"other": 1}}, as_="rita")
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    other = api.post(HERE, {**GOOD, "workflowSpec": {**SPEC, "name": "Other"}}, as_="cid")
    assert other.status_code == 409
    assert other.json()["id"] == first["id"]
    assert other.json()["type"] == "urn:aureus:problem:version_taken"


def test_a_spec_that_cannot_run_is_refused_with_its_places(api):
    spec = {"id": "shop", "name": "Shop", "tasks": [{"id": "a", "tool": "http", "dependsOn": ["b"]}]}
    told = api.post(HERE, {**GOOD, "workflowSpec": spec}, as_="cid").json()
    assert told["errors"] == [
        {
            "path": "workflowSpec.tasks[0].dependsOn",
            "message": "names the task 'b', which does not exist [unknown_dependency]",
        }
    ]


PAY = {"id": "pay", "tool": "noop", "riskTier": "CRITICAL"}
RISKY = {**SPEC, "tasks": [PAY]}


def test_a_spec_that_breaks_a_rule_of_the_servers_policy_is_refused_with_each_finding(api, settings):
    refused = api.post(HERE, {**GOOD, "workflowSpec": RISKY}, as_="cid")
    assert refused.status_code == 400
    [only] = refused.json()["errors"]
    assert only["path"] == "workflowSpec.tasks[0].requiredPermissions"
    assert only["message"].endswith("[require_permissions_for_high_risk]")
    settings.AUREUS._values["WORKFLOW_POLICY"] = "strict"
    try:
        assert len(api.post(HERE, {**GOOD, "workflowSpec": RISKY}, as_="cid").json()["errors"]) == 2
    finally:
        settings.AUREUS._values["WORKFLOW_POLICY"] = "default"
    assert not Version.objects.exists()


def test_a_version_answers_with_its_warnings_and_is_the_same_version_under_a_stricter_policy(api, settings):
    spec = {**SPEC, "tasks": [{**PAY, "requiredPermissions": ["pay"]}]}
    made = api.post(HERE, {**GOOD, "workflowSpec": spec}, as_="cid")
    assert made.status_code == 201
    [warning] = made.json()["warnings"]
    assert (warning["rule"], warning["severity"]) == ("require_compensation_for_critical", "warning")
    assert warning["tasks"] == ["pay"]
    settings.AUREUS._values["WORKFLOW_POLICY"] = "strict"
    try:
        again = api.post(HERE, {**GOOD, "workflowSpec": spec}, as_="cid")
    finally:
        settings.AUREUS._values["WORKFLOW_POLICY"] = "default"
    assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
    assert api.get(f"{HERE}/{made.json()['id']}", as_="vera").json()["warnings"] == [warning]


def test_versions_are_listed_by_application_without_their_specs(api):
    api.post(HERE, GOOD, as_="cid")
    api.post(HERE, {**GOOD, "workflowSpec": {**SPEC, "id": "other"}}, as_="cid")
    assert [v["workflowId"] for v in api.get(f"{HERE}?workflowId=shop", as_="vera").json()] == ["shop"]
    both = api.get(HERE, as_="vera").json()
    assert [v["workflowId"] for v in both] == ["other", "shop"]
    assert "workflowSpec" not in both[0]


def test_an_unknown_version_is_not_there(api):
    for path in ("", "/evidence"):
        assert api.get(f"{HERE}/{MISSING}{path}", as_="vera").status_code == 404


def test_an_archive_is_streamed_in_and_shown(api, store):
    version = api.post(HERE, GOOD, as_="cid").json()
    octets, sha256 = archive()
    answer = api("PUT", f"{HERE}/{version['id']}/artifact", octets, as_="cid", X_Artifact_Sha256=sha256)
    assert answer.status_code == 200, answer.content
    assert answer.json()["artifact"] == {"sha256": sha256, "size": len(octets)}
    assert answer.json()["digest"] != version["digest"]
    again = api("PUT", f"{HERE}/{version['id']}/artifact?sha256={sha256}", octets, as_="cid")
    assert again.status_code == 200


def test_a_wrong_sha256_is_refused_and_nothing_is_kept(api, store):
    version = api.post(HERE, GOOD, as_="cid").json()
    octets, _ = archive()
    path = f"{HERE}/{version['id']}/artifact"
    for sha256 in ("a" * 64, "short", "../../etc/passwd"):
        answer = api("PUT", path, octets, as_="cid", X_Artifact_Sha256=sha256)
        assert answer.status_code == 400
    assert api("PUT", path, octets, as_="cid").status_code == 400
    assert Version.objects.get().artifact is None
    assert not [file for file in store.rglob("*") if file.is_file()]


def test_an_archive_that_leaves_its_folder_is_refused(api, store):
    version = api.post(HERE, GOOD, as_="cid").json()
    octets, sha256 = archive("../evil")
    answer = api("PUT", f"{HERE}/{version['id']}/artifact", octets, as_="cid", X_Artifact_Sha256=sha256)
    assert answer.status_code == 400
    assert "evil" in answer.json()["detail"]


def test_a_sealed_version_takes_no_artifact(api, fleet, store):
    fleet.environment("staging")
    version = api.post(HERE, GOOD, as_="cid").json()
    lifecycle.deploy(version["id"], "staging", actor=ALICE)
    octets, sha256 = archive()
    answer = api("PUT", f"{HERE}/{version['id']}/artifact", octets, as_="cid", X_Artifact_Sha256=sha256)
    assert answer.status_code == 409
    assert "sealed" in answer.json()["detail"]


def test_evidence_is_kept_as_it_was_sent(api):
    path = f"{HERE}/{api.post(HERE, GOOD, as_='cid').json()['id']}/evidence"
    report = {"Passed": 12, "snake_case": [1, {"camelCase": None}]}
    answer = api.post(path, {"kind": "tests", "report": report}, as_="cid")
    assert answer.status_code == 201
    [kept] = api.get(path, as_="vera").json()
    assert kept["report"] == report
    assert kept["by"] == "cid"


def test_a_withdrawn_version_is_not_deployed(api, fleet):
    fleet.environment("staging")
    version = api.post(HERE, GOOD, as_="cid").json()
    answer = api.post(f"{HERE}/{version['id']}/withdraw", {"reason": "it leaks"}, as_="rita")
    assert answer.json()["status"] == "withdrawn"
    refused = api.post("/api/deployments", {"versionId": version["id"], "environment": "staging"}, as_="cid")
    assert refused.status_code == 409
    assert "it leaks" in refused.json()["detail"]


def test_who_runs_staging_alone_does_not_withdraw_what_production_uses(api, fleet):
    fleet.environment("staging")
    fleet.environment("production")
    version = api.post(HERE, GOOD, as_="cid").json()
    lifecycle.deploy(version["id"], "staging", actor=ALICE)
    stan = person("stan", "staging", role=Role.RELEASE_MANAGER)
    assert stan
    lifecycle.deploy(version["id"], "production", actor=ALICE)
    path = f"{HERE}/{version['id']}/withdraw"
    assert api.post(path, {"reason": "x"}, as_="stan").status_code == 403
    assert api.post(path, {"reason": "x"}, as_="rita").status_code == 200


def test_bytes_of_the_same_application_are_attached_by_their_sha256_alone(api, store):
    octets, sha256 = archive()
    numbers = ("1.0.0", "1.0.1")
    first, second = (api.post(HERE, {**GOOD, "version": n}, as_="cid").json()["id"] for n in numbers)
    path = f"{HERE}/{second}/artifact?sha256={sha256}"
    missing = api("PUT", path, as_="cid", Content_Length="0")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:aureus:problem:bytes_unknown")
    api("PUT", f"{HERE}/{first}/artifact?sha256={sha256}", octets, as_="cid")
    for _ in range(2):
        answer = api("PUT", path, as_="cid", Content_Length="0")
        assert answer.status_code == 200, answer.content
        assert answer.json()["artifact"] == {"sha256": sha256, "size": len(octets)}
    assert Version.objects.get(pk=second).digest != Version.objects.get(pk=first).digest


def test_a_sha256_alone_gives_nobody_the_bytes_of_another_application(api, store):
    octets, sha256 = archive()
    theirs = api.post(HERE, GOOD, as_="cid").json()["id"]
    api("PUT", f"{HERE}/{theirs}/artifact?sha256={sha256}", octets, as_="cid")
    ours = api.post(HERE, {**GOOD, "workflowSpec": {**SPEC, "id": "other"}}, as_="cid").json()["id"]
    here, nothing = f"{HERE}/{ours}/artifact?sha256=", {"as_": "cid", "Content_Length": "0"}
    known, unknown = (api("PUT", here + one, **nothing) for one in (sha256, "0" * 64))
    assert known.status_code == unknown.status_code == 404
    assert known.json()["detail"] == unknown.json()["detail"]
    assert Version.objects.get(pk=ours).artifact is None
    sent = api("PUT", f"{HERE}/{ours}/artifact?sha256={sha256}", octets, as_="cid")
    assert sent.status_code == 200
    assert len([file for file in store.rglob("*") if file.is_file()]) == 1


def test_bytes_that_the_store_has_lost_are_asked_for_again(api, store):
    octets, sha256 = archive()
    version = api.post(HERE, GOOD, as_="cid").json()["id"]
    path = f"{HERE}/{version}/artifact?sha256={sha256}"
    api("PUT", path, octets, as_="cid")
    [file] = [file for file in store.rglob("*") if file.is_file()]
    file.unlink()
    assert api("PUT", path, as_="cid", Content_Length="0").status_code == 404
    assert api("PUT", path, octets, as_="cid").status_code == 200
    assert file.read_bytes() == octets


def test_a_store_that_does_not_answer_is_said_with_503(api, settings, monkeypatch):
    for name, value in (("ARTIFACT_STORE", "s3://our-bucket"), ("S3_ENDPOINT_URL", "http://127.0.0.1:1"),
                        ("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")):  # fmt: skip
        monkeypatch.setitem(settings.AUREUS._values, name, value)
    octets, sha256 = archive()
    version = api.post(HERE, GOOD, as_="cid").json()["id"]
    answer = api("PUT", f"{HERE}/{version}/artifact?sha256={sha256}", octets, as_="cid")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:aureus:problem:store_down")
    assert answer.headers["Retry-After"] == "10"
    assert Version.objects.get().artifact is None


@needs_ssh_keygen
def test_a_signature_comes_with_the_archive_or_after_it(api, store, tmp_path):
    octets, sha256 = archive()
    ada, eve = key(tmp_path, "ada"), key(tmp_path, "eve")
    path = f"{HERE}/{api.post(HERE, GOOD, as_='cid').json()['id']}/artifact"
    sent = {"X_Artifact_Sha256": sha256, "as_": "cid"}
    refused = api("PUT", path, octets, X_Artifact_Signature="no base64!", **sent)
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (400, "signature")
    signed = base64.b64encode(signature(ada, sha256)).decode()
    answer = api("PUT", path, octets, X_Artifact_Signature=signed, **sent)
    assert answer.status_code == 200, answer.content
    assert [each["by"] for each in answer.json()["signatures"]] == ["cid"]
    answer = api("PUT", f"{path}/signature", signature(eve, sha256), as_="anna")
    assert [each["by"] for each in answer.json()["signatures"]] == ["cid", "anna"]
    assert api("PUT", f"{path}/signature", b"x" * 2**20, as_="anna").status_code == 400
    assert api("PUT", f"{path}/signature", as_="anna").status_code == 400


def test_a_version_of_an_older_release_whose_spec_reads_otherwise_today_says_so(api):
    made = api.post(HERE, GOOD, as_="cid").json()
    Version.objects.update(spec={**SPEC, "tasks": [{"id": "a", "tool": "noop", "type": "loop"}]})
    told = api.get(f"{HERE}/{made['id']}", as_="vera")
    assert told.status_code == 200
    assert [(w["rule"], w["path"]) for w in told.json()["warnings"]] == [("unreadable", "tasks[0].type")]
