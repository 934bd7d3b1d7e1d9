"""People and keys with roles, and a client that speaks the API as one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.contrib.auth.models import User
from django.test import Client
from redis import Redis

from aureus.accounts import keys, tokens
from aureus.accounts.models import Grant
from aureus.journal.actor import EVERYWHERE, Actor, Role
from tests.deployments.conftest import SPEC, Fleet

PEOPLE = {"vera": Role.VIEWER, "cid": Role.CI, "rita": Role.RELEASE_MANAGER, "anna": Role.APPROVER, "adam": Role.ADMIN}
MISSING = "00000000-0000-4000-8000-000000000000"


@dataclass
class Api:
    """Requests as the owner of a token; `token` wins over `as_`."""

    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    def __call__(
        self, method: str, path: str, body: Any = None, *, as_: str = "", token: str = "", **headers: str
    ) -> Any:
        """Headers by their name with underscores."""
        if as_:
            token = tokens.issue(person(as_))[0]
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            named["Authorization"] = f"Bearer {token}"
        sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = named.pop("Content-Type", "application/json" if sent else "")
        return self.client.generic(method, path, sent, content_type=kind, headers=named)

    def get(self, path: str, **how: Any) -> Any:
        return self("GET", path, **how)

    def post(self, path: str, body: Any = None, **how: Any) -> Any:
        return self("POST", path, {} if body is None else body, **how)

    def deploy(self, number: str = "1.0.0", environment: str = "staging", *, as_: str = "cid", **how: Any) -> Any:
        """Register and deploy, as CI does."""
        version = self.post(
            "/api/deployments/versions", {"workflowSpec": SPEC, "version": number, "createdBy": "bot"}, as_=as_
        )
        assert version.status_code in (200, 201), version.content
        body = {"versionId": version.json()["id"], "environment": environment, "deployedBy": "bot"}
        return self.post("/api/deployments", body, as_=as_, **how)


def person(name: str, *environments: str, role: Role | None = None, password: str = "") -> User:
    """A user; those of PEOPLE come with their role everywhere."""
    user, is_new = User.objects.get_or_create(username=name)
    if is_new:
        user.set_password(password or None)
        user.save()
        if chosen := role or PEOPLE.get(name):
            for environment in environments or (EVERYWHERE,):
                Grant.objects.create(user=user, role=chosen, environment=environment)
    return user


def key(name: str = "bot", *roles: tuple[Role, str], days: int = 1) -> str:
    """The text of a new API key."""
    return keys.issue(name, by=Actor("adam"), lives=timedelta(days=days), roles=roles or ((Role.CI, EVERYWHERE),))[1]


@pytest.fixture
def api(db: None) -> Api:
    return Api()


@pytest.fixture
def queue(valkey: str) -> Iterator[str]:
    """A queue that answers, at this address."""
    with Redis.from_url(valkey) as client:
        client.flushdb()
    before, current_app.conf.broker_url = current_app.conf.broker_url, valkey
    yield valkey
    current_app.conf.broker_url = before


@pytest.fixture
def fleet(transactional_db: None) -> Fleet:
    """Effects run in threads, which see only what is committed."""
    return Fleet()
