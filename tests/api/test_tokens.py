"""Which tokens open the API, and which do not."""

import json
import time
from base64 import urlsafe_b64encode
from datetime import timedelta

import jwt
import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from aureus.accounts import keys, tokens
from aureus.accounts.models import ApiKey, Grant
from aureus.journal.actor import Actor, Role
from tests.api.conftest import key, person

HERE = "/api/deployments"


def forged(
    settings, *, secret: str = "", algorithm: str = "HS256", headers: dict | None = None, **claims: object
) -> str:
    """A token of vera's with some claims changed; None takes one out."""
    user = person("vera")
    now = int(time.time())
    good = {"sub": str(user.pk), "iat": now, "exp": now + 60, "jti": "x", "pwd": tokens.fragment(user)}
    good |= {"aud": tokens.AUDIENCE, "iss": tokens.ISSUER}
    whole = {name: value for name, value in {**good, **claims}.items() if value is not None}
    return jwt.encode(whole, secret or settings.JWT_SECRET, algorithm=algorithm, headers=headers)


def test_a_token_as_we_make_it_opens_the_api(api, settings):
    assert api.get(HERE, token=forged(settings)).status_code == 200


CHANGES = {
    "expired": {"exp": int(time.time()) - 10},
    "without an end": {"exp": None},
    "of ten years": {"iat": int(time.time()) - 400_000_000},
    "from the future": {"iat": int(time.time()) + 1000},
    "for another audience": {"aud": "somebody-else"},
    "without audience": {"aud": None},
    "of another issuer": {"iss": "somebody-else"},
    "without issuer": {"iss": None},
    "of nobody": {"sub": "999999"},
    "of a name": {"sub": "vera' OR 1=1"},
    "of an endless number": {"sub": "9" * 40},
    "without subject": {"sub": None},
    "without a password's fragment": {"pwd": None},
    "with another password's fragment": {"pwd": "0" * 16},
    "without an id": {"jti": None},
    "by another secret": {"secret": "y" * 40},
    "by another algorithm": {"algorithm": "HS512"},
    "with a key of its own": {"headers": {"jku": "http://127.0.0.1/k", "kid": "../../dev/null"}, "secret": "z" * 40},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_token_that_is_not_right_in_every_part_is_refused(api, settings, change):
    answer = api.get(HERE, token=forged(settings, **change))
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == 'Bearer realm="aureus"'
    assert answer["Content-Type"] == "application/problem+json"


def test_a_token_without_signature_is_refused(api, settings):
    good = forged(settings)
    head = urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode().rstrip("=")
    for token in (f"{head}.{good.split('.')[1]}.", good.rpartition(".")[0] + ".", good[:-2], good + "A" * 5000, "x"):
        assert api.get(HERE, token=token).status_code == 401


def test_an_expired_token_says_so(api, settings):
    answer = api.get(HERE, token=forged(settings, exp=int(time.time()) - 10))
    assert "expired: log in again" in answer.json()["detail"]


def test_a_longer_life_than_is_allowed_now_does_not_count(api, settings):
    token = forged(settings, iat=int(time.time()) - 3600, exp=int(time.time()) + 86_400)
    settings.JWT_EXPIRY = timedelta(minutes=5)
    assert api.get(HERE, token=token).status_code == 401


def test_the_secret_before_a_rotation_still_opens(api, settings):
    settings.JWT_SECRET_PREVIOUS = settings.JWT_SECRET
    token = forged(settings)
    settings.JWT_SECRET = settings.SECRET_KEY = "a new secret of forty characters in length"
    assert api.get(HERE, token=token).status_code == 200
    settings.JWT_SECRET_PREVIOUS = None
    assert api.get(HERE, token=token).status_code == 401


def test_a_changed_password_ends_every_token(api):
    token, _ = tokens.issue(person("vera"))
    user = User.objects.get(username="vera")
    user.set_password("another one entirely")
    user.save()
    assert api.get(HERE, token=token).status_code == 401


def test_a_user_who_was_switched_off_is_out_at_once(api):
    token, _ = tokens.issue(person("vera"))
    User.objects.filter(username="vera").update(is_active=False)
    assert api.get(HERE, token=token).status_code == 401


def test_roles_are_read_at_each_call_and_never_from_the_token(api):
    token, _ = tokens.issue(person("vera"))
    assert api.get(HERE, token=token).status_code == 200
    Grant.objects.filter(user__username="vera").delete()
    assert api.get(HERE, token=token).status_code == 403


def test_being_a_superuser_neither_ships_nor_approves(api):
    root = User.objects.create_superuser("root")
    token, _ = tokens.issue(root)
    assert api.get(HERE, token=token).status_code == 200
    assert api.post("/api/deployments/versions", {}, token=token).status_code == 403


@pytest.mark.parametrize("header", ["Basic dmVyYTp4", "Bearer", "Bearer ", "Token abc", ""])
def test_another_scheme_is_refused(api, header):
    assert api.get(HERE, Authorization=header).status_code == 401


def test_no_cookie_and_no_header_of_a_proxy_opens_the_api(api):
    api.client.force_login(User.objects.create_superuser("root"))
    assert api.get(HERE).status_code == 401
    assert api.post("/api/deployments/versions", {}, X_Remote_User="root", X_Forwarded_User="root").status_code == 401


def test_a_wrong_token_is_refused_even_where_nobody_needs_one(api, settings):
    assert api.get("/api/schema", token="nonsense").status_code == 401
    settings.AUREUS._values["ENABLE_AUTH"] = False
    try:
        assert api.get(HERE).status_code == 200
        assert api.get(HERE, token="nonsense").status_code == 401
    finally:
        settings.AUREUS._values["ENABLE_AUTH"] = True


def test_a_key_opens_until_it_is_revoked(api):
    text = key("bot")
    assert api.get(HERE, token=text).status_code == 200
    keys.revoke("bot", by=Actor("adam"))
    assert api.get(HERE, token=text).status_code == 401


def test_a_key_that_has_ended_is_refused(api):
    text = key("bot")
    ApiKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert api.get(HERE, token=text).status_code == 401


def test_a_key_of_another_secret_is_refused(api):
    text = key("bot")
    identity = text.split("_")[1]
    for wrong in (f"aur_{identity}_{'a' * 43}", f"aur_{identity}_", f"aur_{identity}", "aur__", f"aur_{'0' * 16}_x"):
        assert api.get(HERE, token=wrong).status_code == 401


def test_only_the_hash_of_a_key_is_kept(db):
    secret = key("bot").split("_", 2)[2]
    assert secret not in str(ApiKey.objects.values().get())


def test_a_key_holds_what_it_was_granted_and_no_more(api):
    text = key("looker", (Role.VIEWER, "staging"))
    assert api.get(HERE, token=text).status_code == 200
    assert api.post("/api/deployments/versions", {}, token=text).status_code == 403


def test_the_last_use_of_a_key_is_written_once_a_minute_at_most(api, django_assert_max_num_queries):
    text = key("bot")
    api.get(HERE, token=text)
    seen = ApiKey.objects.get().last_used_at
    assert seen is not None
    api.get(HERE, token=text)
    assert ApiKey.objects.get().last_used_at == seen
