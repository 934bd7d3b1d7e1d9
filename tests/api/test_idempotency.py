"""One key, one effect, one answer."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from aureus.accounts.models import Grant, Replay
from aureus.accounts.tokens import issue
from deployments.models import Deployment
from releases.models import Version
from tests.api.conftest import Api, person
from tests.deployments.conftest import SPEC

HERE = "/api/deployments"
VERSIONS = f"{HERE}/versions"
GOOD = {"workflowSpec": SPEC, "version": "1.0.0"}


def test_the_same_request_again_is_given_its_first_answer(api, fleet):
    fleet.environment("staging")
    first = api.deploy(Idempotency_Key="run-1")
    again = api.deploy(Idempotency_Key="run-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again["Idempotency-Replayed"] == "true"
    assert Deployment.objects.count() == 1
    api.deploy(Idempotency_Key="run-2")
    assert Deployment.objects.count() == 2


def test_the_same_key_with_another_request_is_refused(api):
    api.post(VERSIONS, GOOD, as_="cid", Idempotency_Key="k")
    answer = api.post(VERSIONS, {**GOOD, "version": "1.0.1"}, as_="cid", Idempotency_Key="k")
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:aureus:problem:key_taken"
    assert Version.objects.count() == 1


def test_a_key_is_its_owners_alone(api):
    api.post(VERSIONS, GOOD, as_="cid", Idempotency_Key="k")
    other = api.post(VERSIONS, {**GOOD, "version": "1.0.1"}, as_="rita", Idempotency_Key="k")
    assert other.status_code == 201


def test_a_refusal_is_an_answer_too(api):
    first = api.post(VERSIONS, {**GOOD, "version": "x"}, as_="cid", Idempotency_Key="k")
    again = api.post(VERSIONS, {**GOOD, "version": "x"}, as_="cid", Idempotency_Key="k")
    assert (first.status_code, again.status_code) == (400, 400)
    assert again["Idempotency-Replayed"] == "true"
    assert again["Content-Type"] == "application/problem+json"


def test_a_key_that_lost_its_role_gets_no_old_answer(api):
    api.post(VERSIONS, GOOD, as_="cid", Idempotency_Key="k")
    Grant.objects.filter(user=person("cid")).delete()
    assert api.post(VERSIONS, GOOD, as_="cid", Idempotency_Key="k").status_code == 403


def test_a_fault_is_not_kept(api, transactional_db):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE releases_version RENAME TO hidden")
    try:
        assert api.post(VERSIONS, GOOD, as_="cid", Idempotency_Key="k").status_code == 500
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE hidden RENAME TO releases_version")
    assert not Replay.objects.exists()
    assert api.post(VERSIONS, GOOD, as_="cid", Idempotency_Key="k").status_code == 201


@pytest.mark.parametrize("key", ["", " ", "a" * 201, "a b", "ä"])
def test_a_key_that_cannot_be_kept_is_refused(api, key):
    assert api.post(VERSIONS, GOOD, as_="cid", Idempotency_Key=key).status_code == 400


def test_old_answers_are_forgotten(api):
    api.post(VERSIONS, GOOD, as_="cid", Idempotency_Key="old")
    Replay.objects.update(at=timezone.now() - timedelta(hours=25))
    api.post(VERSIONS, GOOD, as_="cid", Idempotency_Key="new")
    assert list(Replay.objects.values_list("key", flat=True)) == ["new"]


def test_of_many_at_once_one_is_carried_out_and_all_get_its_answer(fleet):
    fleet.environment("staging")
    version = fleet.version("1.0.0")
    token = issue(person("cid"))[0]
    body = {"versionId": str(version.pk), "environment": "staging"}
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(Api().post(HERE, body, token=token, Idempotency_Key="k"))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [answer.status_code for answer in answers] == [201] * 8
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Deployment.objects.count() == 1


def test_while_the_first_takes_long_the_second_is_told_to_ask_again(api, transactional_db):
    person("cid")
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                Replay.objects.create(actor="cid", key="k", request_hash="x")
                held.set()
                over.wait(30)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    try:
        answer = api.post(VERSIONS, GOOD, as_="cid", Idempotency_Key="k")
    finally:
        over.set()
        thread.join()
    assert answer.status_code == 409
    assert answer["Retry-After"] == "1"
    assert answer.json()["type"] == "urn:aureus:problem:in_progress"
    assert not Version.objects.exists()
