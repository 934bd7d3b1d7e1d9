"""The command as people type it, against the real API on a real port, with fake hosts behind the verbs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from typer.testing import CliRunner

from aureus.accounts import tokens
from aureus.cli import app
from deployments import lifecycle
from deployments.models import Deployment
from tests.api.conftest import person
from tests.deployments.conftest import ALICE, SPEC, Fleet

__all__ = ["SPEC"]


@dataclass
class Said:
    """How one command ended. Output holds no colour and no box, since no terminal is there."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*words: str, stdin: str | None = None) -> Said:
    """Type a command."""
    done = CliRunner().invoke(app, list(words), input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Said(done.exit_code, done.stdout, done.stderr)


@pytest.fixture(autouse=True)
def nobodys_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the person who runs the tests is read or written."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("AUREUS_TOKEN", raising=False)
    monkeypatch.setenv("AUREUS_URL", "http://127.0.0.1:1")


@pytest.fixture
def world(transactional_db: None, live_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """The API listens, and the command speaks as rita, a release manager."""
    monkeypatch.setenv("AUREUS_URL", live_server.url)
    monkeypatch.setitem(settings.AUREUS._values, "ARTIFACT_DIR", str(tmp_path / "artifacts"))
    speak_as("rita", monkeypatch)
    return Fleet()


def speak_as(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next commands carry this person's token."""
    monkeypatch.setenv("AUREUS_TOKEN", tokens.issue(person(name))[0])


def deployment_of(fleet: Fleet, number: str = "1.0.0", environment: str = "staging") -> Deployment:
    """Asked for, and carried no further."""
    return lifecycle.deploy(fleet.version(number).pk, environment, actor=ALICE)


class Workers:
    """Plays the workers in a thread while a command waits."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._play)

    def __enter__(self) -> Workers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join(30)

    def _play(self) -> None:
        try:
            while not self._left.wait(0.05):
                self._fleet.run()
        finally:
            connections.close_all()


@pytest.fixture
def workers(world: Fleet) -> Callable[[], Workers]:
    return lambda: Workers(world)
