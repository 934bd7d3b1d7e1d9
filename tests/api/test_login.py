"""Login, and what guessing comes to."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from aureus.accounts.login import network_of
from aureus.accounts.models import LoginTry
from aureus.journal.models import Event

HERE = "/api/auth/login"
GOOD = "correct horse battery"


@pytest.fixture
def vera(db, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return User.objects.create_user("vera", password=GOOD)


def log_in(api, username="vera", password="wrong", **headers):
    return api.post(HERE, {"username": username, "password": password}, **headers)


def test_the_answer_is_a_token_that_opens_the_api(api, vera):
    answer = log_in(api, password=GOOD)
    assert answer.status_code == 200
    assert answer.json()["expiresIn"] == 86_400
    assert answer["Cache-Control"] == "no-store"
    assert api.get("/api/schema", token=answer.json()["token"]).status_code == 200


def test_an_unknown_user_a_wrong_password_and_a_user_switched_off_are_told_the_same(api, vera):
    User.objects.create_user("gone", password=GOOD, is_active=False)
    answers = [log_in(api), log_in(api, "nobody"), log_in(api, "gone", GOOD)]
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.json()["detail"] for answer in answers} == {"the user name or the password is wrong"}


def test_after_five_wrong_tries_even_the_right_password_has_to_wait(api, vera):
    for number in range(5):
        assert log_in(api, REMOTE=str(number)).status_code == 401
    answer = log_in(api, password=GOOD)
    assert answer.status_code == 429
    assert 800 < int(answer["Retry-After"]) <= 901
    assert "try again in" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["vera", "nobody"])
def test_tries_count_for_a_name_whatever_address_they_come_from(api, vera, settings, name):
    settings.AUREUS._values["PUBLIC_URL"] = "https://aureus.example.com"
    try:
        codes = [log_in(api, name.upper(), X_Forwarded_For=f"1.1.1.1, 10.0.0.{n}").status_code for n in range(6)]
    finally:
        settings.AUREUS._values["PUBLIC_URL"] = None
    assert codes == [401] * 5 + [429]


def test_tries_count_for_an_address_whatever_name_they_guess(api, vera):
    assert [log_in(api, f"user{n}").status_code for n in range(6)] == [401] * 5 + [429]


def test_without_a_proxy_nobody_chooses_his_own_address(api, vera):
    codes = [log_in(api, f"user{n}", X_Forwarded_For=f"10.0.0.{n}").status_code for n in range(6)]
    assert codes[-1] == 429


def test_tries_are_forgotten_after_a_quarter_of_an_hour_and_with_a_right_password(api, vera):
    for _ in range(4):
        log_in(api)
    assert log_in(api, password=GOOD).status_code == 200
    assert not LoginTry.objects.exists()
    for _ in range(5):
        log_in(api)
    for one in LoginTry.objects.all():
        LoginTry.objects.filter(pk=one.pk).update(at=one.at - timedelta(minutes=16))
    assert log_in(api).status_code == 401


def test_a_wrong_try_is_an_event_without_the_password(api, vera):
    log_in(api, password="canary-of-a-password")
    event = Event.objects.get(kind="login.failed")
    assert event.data["name"] == "vera"
    assert "canary" not in str(event.data)


def test_an_ipv6_network_counts_as_one():
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert network_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert network_of("nonsense") == "unknown"
