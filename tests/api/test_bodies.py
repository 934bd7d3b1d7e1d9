"""What a request may hold, and how it is refused."""

import pytest
from django.test import RequestFactory

from aureus.api.parsing import MAX_DEPTH
from releases.models import Version
from tests.api.conftest import MISSING
from tests.deployments.conftest import SPEC

HERE = "/api/deployments/versions"
GOOD = {"workflowSpec": SPEC, "version": "1.0.0"}


def refused(answer, status: int) -> dict:
    told = answer.json()
    assert answer.status_code == status == told["status"], told
    assert answer["Content-Type"] == "application/problem+json"
    assert set(told) >= {"type", "title", "status", "detail", "errors", "requestId"}
    assert told["detail"]
    assert told["requestId"] == answer["X-Request-Id"]
    assert not Version.objects.exists()
    return told


VERSIONS = ["1.0.0; rm -rf /", "$(id)", "1.0.0\n2", "../1.0.0", "-1.0.0", "@file", "1.0.0`id`", "", "1", "1.0.0 ",
            "١.0.0",
            "%s", "{{7*7}}", "v", "1.0.0" + "0" * 200, "1.0.0\x00", "1.0.0\u202e", "a|b"]  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_that_is_no_semantic_version_is_refused(api, version):
    told = refused(api.post(HERE, {**GOOD, "version": version}, as_="cid"), 400)
    assert [error["path"] for error in told["errors"]] == ["version"]


@pytest.mark.parametrize("number", [5, 1.0, None, True, ["1.0.0"], {"a": 1}])
def test_a_version_that_is_no_text_is_refused(api, number):
    refused(api.post(HERE, {**GOOD, "version": number}, as_="cid"), 400)


@pytest.mark.parametrize("name", ["status", "sealedAt", "created_by", "actor", "approved_by", "role", "id", "digest"])
def test_an_unknown_field_is_refused_and_named(api, name):
    told = refused(api.post(HERE, {**GOOD, name: "x"}, as_="cid"), 400)
    assert told["errors"][0]["path"] == name
    assert "there is no such field" in told["errors"][0]["message"]


def test_an_artifact_at_registration_is_refused_with_what_to_do(api):
    told = refused(api.post(HERE, {**GOOD, "artifact": {"url": "https://x/y"}}, as_="cid"), 400)
    assert "PUT the bytes" in told["detail"]


def test_every_mistake_is_told_at_once(api):
    told = refused(api.post(HERE, {"strange": 1, "createdBy": "a\nb"}, as_="cid"), 400)
    assert {error["path"] for error in told["errors"]} == {"strange", "createdBy", "workflowSpec", "version"}


BODIES = {
    "half": b'{"version": ',
    "not UTF-8": b'{"version": "\xff"}',
    "NaN": b'{"metadata": {"a": NaN}}',
    "infinite": b'{"metadata": {"a": 1e999}}',
    "a key twice": b'{"version": "1.0.0", "version": "1.0.1"}',
    "NUL": b'{"version": "1.0.0", "createdBy": "a\\u0000b"}',
    "an escape of a terminal": b'{"createdBy": "\\u001b[2J"}',
    "half a surrogate pair": b'{"createdBy": "\\ud800"}',
    "NUL in a key": b'{"metadata": {"a\\u0000": 1}}',
    "deeper than allowed": b'{"metadata":' + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + b"}",
    "a million deep": b"[" * 1_000_000,
    "a list": b"[]",
    "a text": b'"x"',
    "nothing": b"null",
    "a number of ten thousand digits": b'{"metadata": {"a": ' + b"9" * 10_000 + b"}}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_could_do_harm_is_refused(api, body):
    refused(api("POST", HERE, body, as_="cid"), 400)


def test_another_media_type_is_refused(api):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        refused(api("POST", HERE, b"a=b", as_="cid", Content_Type=kind), 415)


def test_metadata_and_labels_have_a_longest_length(api):
    refused(api.post(HERE, {**GOOD, "metadata": {"a": "x" * 70_000}}, as_="cid"), 400)
    refused(api.post(HERE, {**GOOD, "createdBy": "x" * 201}, as_="cid"), 400)
    refused(api.post(HERE, {**GOOD, "metadata": ["a"]}, as_="cid"), 400)


def test_a_body_of_50_mb_is_refused_before_a_byte_of_it_is_read(api, settings):
    class Unread:
        def read(self, *_: object) -> bytes:
            raise AssertionError("the body was read")

        readline = read

    request = RequestFactory().generic("POST", HERE, b"", content_type="application/json")
    environ = {**request.META, "CONTENT_LENGTH": str(50 * 2**20), "wsgi.input": Unread()}
    told = refused(api.client.request(**environ), 413)
    assert "MAX_REQUEST_SIZE" in told["detail"]


def test_an_artifact_has_a_limit_of_its_own_and_needs_a_length(api, settings):
    path = f"{HERE}/{MISSING}/artifact"
    length = str(settings.AUREUS.MAX_ARTIFACT_SIZE + 1)
    refused(api("PUT", path, b"x", as_="cid", Content_Length=length), 413)
    refused(api("PUT", path, b"x", as_="cid", Content_Length=""), 411)
    within = api("PUT", f"{path}?sha256={'a' * 64}", b"x", as_="cid", Content_Length=str(50 * 2**20))
    assert within.status_code == 404


def test_a_body_in_chunks_is_refused(api):
    refused(api("POST", HERE, b"", as_="cid", Transfer_Encoding="chunked", Content_Length=""), 411)


@pytest.mark.parametrize(
    "query", ["_connector=OR", "status__in=x", "environment=a&environment=b", "__class__=x", "x=1"]
)
def test_only_named_parameters_are_read(api, query):
    answer = api.get(f"/api/deployments?{query}", as_="vera")
    assert answer.status_code == 400
    assert answer.json()["errors"]


def test_the_browsable_api_is_off(api):
    assert api.get("/api/deployments", as_="vera", Accept="text/html").status_code == 406


NOWHERE = ["/api", "/api/", "/api/nowhere", "/api/deployments/", "/api/deployments/1", "/api//deployments",
           "/api/deployments;x", "/API/deployments", "/api/deployments.json"]  # fmt: skip


@pytest.mark.parametrize("path", NOWHERE)
def test_what_is_no_route_is_not_there(api, path):
    assert api.get(path, as_="vera").status_code == 404


def test_no_method_can_be_put_in_place_of_another(api):
    answer = api.get("/api/deployments/rollback", as_="rita", X_HTTP_Method_Override="POST")
    assert answer.status_code == 405
    for method in ("DELETE", "PATCH", "TRACE", "OPTIONS"):
        assert api(method, "/api/deployments", as_="rita").status_code == 405


def test_a_request_id_is_taken_over_when_it_is_harmless(api):
    assert api.get("/api/nowhere", X_Request_Id="ci-42")["X-Request-Id"] == "ci-42"
    assert api.get("/api/nowhere", X_Request_Id="a\tb c")["X-Request-Id"] != "a\tb c"
