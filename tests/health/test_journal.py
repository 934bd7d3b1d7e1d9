"""Errors in the journal: counted once, and never taken for silence where it could not be read."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from health.measured import Sample
from health.quiet import quiet_for
from health.sources.journal import count_errors
from tests.health.shell import saying, unreachable

OPENED = datetime(2026, 1, 1, tzinfo=UTC)


def entries(*cursors: str) -> bytes:
    return b"unit loaded\n" + b"".join(json.dumps({"__CURSOR": c, "PRIORITY": "3"}).encode() + b"\n" for c in cursors)


def test_entries_are_counted_and_the_next_look_begins_after_the_last():
    run = saying(entries("s=1;i=1", "s=1;i=2"))
    found = count_errors(run, "app.service", None, 90.4)
    assert (found.kind, found.count, found.state) == ("value", 2, {"cursor": "s=1;i=2"})
    assert run.asked[0][4:7] == ["app.service", "90", ""]
    again = count_errors(run, "app.service", found.state, 95)
    assert run.asked[1][4:7] == ["app.service", "95", "s=1;i=2"]
    assert again.count == 2


def test_no_entry_is_no_error_where_the_unit_is_known():
    found = count_errors(saying(b"unit loaded\n"), "app.service", None, 90)
    assert (found.kind, found.count, found.state) == ("value", 0, {"cursor": ""})


@pytest.mark.parametrize(
    ("run", "kind", "words"),
    [
        (unreachable, "down", "could not be reached"),
        (saying(b"unit not-found\n"), "absent", "knows no unit"),
        (saying(b"unit \n"), "absent", "knows no unit"),
        (saying(b"unit loaded\n", b"Hint: You are currently not seeing messages from other users and the system.\n"),
         "absent", "systemd-journal"),
        (saying(b"unit loaded\n", b"No journal files were opened due to insufficient permissions.\n", 1),
         "absent", "systemd-journal"),
        (saying(b"unit loaded\n", b"journalctl: not found\n", 127), "down", "not found"),
        (saying(b"unit loaded\nNov 24 01:02:03 app[1]: no JSON\n"), "absent", "not answer in JSON"),
        (saying(b'unit loaded\n{"PRIORITY":"3"}\n'), "absent", "not answer in JSON"),
        (saying(entries("s=1; rm -rf /")), "absent", "cursor that cannot be kept"),
        (saying(b"", b"sh: not found\n", 127), "down", "cannot be read"),
    ],
)  # fmt: skip
def test_a_journal_that_could_not_be_read_is_not_quiet(run, kind, words):
    found = count_errors(run, "app.service", None, 90)
    assert (found.kind, found.count, found.state) == (kind, 0, None)
    assert words in found.why


def test_a_unit_that_is_no_unit_is_not_sent_anywhere():
    run = saying(entries())
    assert count_errors(run, "app; reboot", None, 90).kind == "absent"
    assert count_errors(run, "", None, 90).kind == "absent"
    assert run.asked == []


def look(minute: float, errors: int = 0, endpoint: str = "h1", kind: str = "value") -> Sample:
    at = OPENED + timedelta(minutes=minute)
    return Sample(endpoint, "c", "check:journal", kind, at, value=float(errors), why="" if kind == "value" else "no!")


def answer(looks, minute, endpoints=("h1",)):
    return quiet_for(looks, endpoints, OPENED, OPENED + timedelta(minutes=minute))


def test_thirty_minutes_without_an_error_are_quiet():
    assert answer([look(1), look(30)], 30).quiet is True
    early = answer([look(1), look(29)], 29)
    assert (early.quiet, early.until) == (False, OPENED + timedelta(minutes=30))


def test_an_error_starts_the_time_anew():
    found = answer([look(1), look(20, 2), look(30)], 31)
    assert (found.quiet, found.until) == (False, OPENED + timedelta(minutes=50))
    assert "h1 wrote 2 errors at 00:20:00" in found.sentence
    assert answer([look(20, 2), look(50)], 50).quiet is True


@pytest.mark.parametrize(
    "looks", [[], [look(1)], [look(1), look(30, kind="down")], [look(30, endpoint="h2")], [look(30, kind="absent")]]
)
def test_what_could_not_be_read_is_never_quiet(looks):
    found = answer(looks, 40)
    assert found.quiet is None and "h1" in found.sentence


def test_every_host_must_be_quiet():
    assert answer([look(30), look(20, 1, "h2"), look(30, 0, "h2")], 30, ("h1", "h2")).quiet is False
    assert answer([look(30)], 30, ("h1", "h2")).quiet is None
