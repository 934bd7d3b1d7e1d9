"""Logging in, and the keys, users and grants that somebody has to make first."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from aureus.accounts.models import ApiKey, Grant
from aureus.cli import credentials
from aureus.journal.models import Event
from tests.api.conftest import person
from tests.cli.conftest import run

PASSWORD = "correct horse battery"


def test_login_keeps_a_token_that_only_its_owner_reads(world, live_server, monkeypatch):
    monkeypatch.delenv("AUREUS_TOKEN")
    user = person("rita")
    user.set_password(PASSWORD)
    user.save()
    assert run("status").code == 1, "nobody is logged in"
    done = run("login", "--username", "rita", "--password-stdin", stdin=PASSWORD + "\n")
    assert done.code == 0, done.err
    place = credentials.path()
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert PASSWORD not in place.read_text()
    assert run("status").code == 0
    monkeypatch.setenv("AUREUS_URL", live_server.url.replace("localhost", "127.0.0.1") + "/other")
    assert credentials.token_for(os.environ["AUREUS_URL"]) == "", "a token is for its own server alone"


def test_a_wrong_password_is_said_and_keeps_nothing(world):
    done = run("login", "--username", "rita", "--password-stdin", stdin="wrong\n")
    assert done.code == 1
    assert "the user name or the password is wrong" in done.err
    assert not credentials.path().exists()


def test_a_token_that_is_not_accepted_says_which_it_was(world, monkeypatch):
    monkeypatch.setenv("AUREUS_TOKEN", "aur_0000_none")
    done = run("status")
    assert done.code == 1
    assert "AUREUS_TOKEN is not accepted" in done.err


def test_a_key_is_shown_once_works_and_is_revoked(world, monkeypatch):
    world.environment("staging")
    done = run("keys", "create", "github", "--role", "ci:staging", "--role", "viewer", "--days", "30")
    assert done.code == 0, done.err
    text = done.out.splitlines()[-1]
    assert ApiKey.objects.get().hash == ApiKey.digest(text.split("_", 2)[2])
    monkeypatch.setenv("AUREUS_TOKEN", text)
    assert run("status").code == 0
    [row] = run("keys", "list", "--json").json
    assert (row["name"], sorted(row["roles"])) == ("github", ["ci:staging", "viewer:*"])
    assert text.split("_", 2)[2] not in run("keys", "list").out
    assert run("keys", "create", "github", "--role", "ci").code == 1
    assert run("keys", "create", "x", "--role", "king").code == 2
    assert run("keys", "create", "x").code == 2, "a key without a role is good for nothing"
    assert run("keys", "revoke", "github").code == 0
    assert run("status").code == 1


def test_a_user_gets_a_password_and_roles(world, monkeypatch):
    world.environment("staging")
    done = run("users", "create", "nora", "--role", "approver:staging")
    assert done.code == 0, done.err
    password = done.out.splitlines()[-1]
    monkeypatch.delenv("AUREUS_TOKEN")
    assert run("login", "-u", "nora", "--password-stdin", stdin=password).code == 0
    assert run("users", "create", "nora").code == 1
    assert run("users", "create", "a:b").code == 2
    assert "too short" in run("users", "create", "paul", "--password-stdin", stdin="short\n").err
    assert not Grant.objects.filter(user__username="paul").exists()


def test_roles_are_granted_and_taken_away_with_an_event(world):
    world.environment("staging")
    person("nora")
    assert "nora has release_manager in staging" in run("grant", "nora", "release-manager:staging").out
    assert run("grant", "nora", "release_manager:staging", "--json").json["changed"] is False
    assert Grant.objects.filter(user__username="nora", role="release_manager", environment="staging").count() == 1
    assert run("grant", "nora", "ci:moon").code == 1
    assert run("grant", "nobody", "ci").code == 1
    run("keys", "create", "github", "--role", "viewer")
    assert run("grant", "key:github", "ci:staging").code == 0
    assert run("grant", "nora", "release_manager:staging", "--remove").code == 0
    assert not Grant.objects.filter(user__username="nora").exists()
    kinds = Event.objects.filter(stream="grants:nora").order_by("seq").values_list("kind", flat=True)
    assert list(kinds) == ["role.granted", "role.ungranted"]


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"http://127.0.0.1:1": 5}'])
def test_a_damaged_file_of_tokens_is_as_none(content):
    place: Path = credentials.path()
    place.parent.mkdir(parents=True)
    place.write_text(content)
    assert credentials.token_for("http://127.0.0.1:1") == ""
