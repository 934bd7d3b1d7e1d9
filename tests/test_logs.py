"""No log line holds a secret, whoever wrote it."""

import json
import logging

import pytest
import structlog

from aureus import logs

SECRET = "canary-of-the-signing-secret"


@pytest.fixture(autouse=True)
def _restored_logging() -> object:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    before = structlog.get_config()
    yield
    # Not the defaults: those print to standard output, where other tests read a command's answer.
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        "redis://:canary@127.0.0.1:6379/0",
        "postgresql://user:canary@host/db",
        "Authorization: Bearer canarycanary",
        "-----BEGIN OPENSSH PRIVATE KEY-----\ncanary\n-----END OPENSSH PRIVATE KEY-----",
        "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOjF9canary.c2lnbmF0dXJl",
    ],
)
def test_a_secret_is_taken_out_of_any_text(text: str) -> None:
    clean = logs.redaction([SECRET])
    assert "canary" not in json.dumps(clean({"event": f"said {text} twice {text}", "deep": [{"more": (text,)}]}))


@pytest.mark.parametrize("name", ["password", "JWT_SECRET", "apiKey", "Authorization", "ssh_key", "webhook"])
def test_a_value_with_a_telling_name_is_hidden(name: str) -> None:
    assert logs.redaction([])({name: "anything", "host": "web1"}) == {name: logs.HIDDEN, "host": "web1"}


@pytest.mark.parametrize("form", ["text", "json"])
def test_events_traces_and_foreign_loggers_are_cleaned(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", form, [SECRET])
    structlog.get_logger().info("started", password="hidden-1", note=f"with {SECRET}")
    try:
        raise ValueError(f"refused {SECRET}")
    except ValueError:
        logging.getLogger("somebody").exception("failed for %s", SECRET)
    said = capsys.readouterr().err
    assert "started" in said and "ValueError" in said
    assert SECRET not in said and "hidden-1" not in said


def test_no_event_forges_another_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "text", [])
    structlog.get_logger().warning("first\n2026-01-01 info forged", note="a\nb")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_one_event_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json", [])
    logging.getLogger("somebody").warning("two\nlines")
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "two\nlines"
