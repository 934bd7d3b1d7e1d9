"""What the looks at a host come to, by tables: no database, no clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deployments.engine.truth import Judgement, Sighting, Standing, judge

START = datetime(2026, 1, 1, tzinfo=UTC)
OLD, NEW = "1.0.0-000000000000", "1.1.0-111111111111"
GOOD = {"content": OLD, "version": "1.0.0", "fence": 7}
DRIFT = {"content": NEW, "fence": 7}
LOST = {"reached": False, "error": "no route"}


def looks(*rows: dict, minutes: float = 5) -> list[Sighting]:
    """One look each, so many minutes apart."""
    return [Sighting(START + timedelta(minutes=minutes * n), **row) for n, row in enumerate(rows)]


def state(*rows: dict, recorded: str = OLD, owed: str = "", highest: int = 100, minutes: float = 5) -> Judgement:
    return judge(recorded, owed, looks(*rows, minutes=minutes), highest)


TABLE: dict[str, tuple[tuple[dict, ...], Standing]] = {
    "nobody looked": ((), Standing.UNSEEN),
    "one look that agrees": ((GOOD,), Standing.AS_RECORDED),
    "one look that differs is not believed": ((DRIFT,), Standing.UNSEEN),
    "one look that differs after one that agreed": ((GOOD, DRIFT), Standing.AS_RECORDED),
    "two looks that differ": ((DRIFT, DRIFT), Standing.DRIFTED),
    "it went back by itself": ((DRIFT, DRIFT, GOOD), Standing.AS_RECORDED),
    "its link agrees, its answer does not, twice": ((GOOD | {"version": "0.9.0"},) * 2, Standing.DRIFTED),
    "an answer with a v, and one with the whole content": (
        (GOOD | {"version": "v1.0.0"}, GOOD | {"version": OLD}),
        Standing.AS_RECORDED,
    ),
    "a sick host does not differ": ((GOOD | {"version": None, "healthy": False},) * 4, Standing.AS_RECORDED),
    "what it ran before our last act does not count": (
        ({"content": NEW, "fence": 5}, {"content": NEW, "fence": 5}, {"content": NEW, "fence": 7}),
        Standing.UNSEEN,
    ),
    "two lost looks": ((GOOD, LOST, LOST), Standing.AS_RECORDED),
    "three lost looks": ((GOOD, LOST, LOST, LOST), Standing.UNREACHABLE),
    "back after three lost looks": ((LOST, LOST, LOST, GOOD), Standing.AS_RECORDED),
    "lost from the beginning": ((LOST, LOST), Standing.UNSEEN),
    "a fence from the future": ((GOOD | {"fence": 101},), Standing.AHEAD),
    "two restarts": (tuple(GOOD | {"restarts": n} for n in (0, 1, 2)), Standing.AS_RECORDED),
    "three restarts": (tuple(GOOD | {"restarts": n} for n in (0, 1, 3)), Standing.FLAPPING),
    "three restarts counted anew after a person's": (
        tuple(GOOD | {"restarts": n} for n in (5, 1, 2, 3)),
        Standing.FLAPPING,
    ),
    "three other start times": (tuple(GOOD | {"started_at": n} for n in (1, 2, 3, 4)), Standing.FLAPPING),
    "restarts under our own acts": (
        tuple(GOOD | {"fence": n, "restarts": n, "started_at": n} for n in range(1, 9)),
        Standing.AS_RECORDED,
    ),
    "the link there and back": ((GOOD, DRIFT, GOOD), Standing.FLAPPING),
    "the answer there and back": ((GOOD, GOOD | {"version": "0.9.0"}, GOOD), Standing.FLAPPING),
    "a switch by our own act and back by another": (
        (GOOD, DRIFT | {"fence": 8}, GOOD | {"fence": 9}),
        Standing.AS_RECORDED,
    ),
    "nothing recorded and nothing there": (({"content": ""},), Standing.AS_RECORDED),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_table(case):
    rows, expected = TABLE[case]
    recorded = "" if case.startswith("nothing recorded") else OLD
    assert state(*rows, recorded=recorded).state is expected


def test_a_hand_installed_application_is_told_from_an_empty_host():
    found = state({"version": "1.0.0"}, {"version": "1.0.0"}, recorded="")
    assert found == Judgement(Standing.DRIFTED, "its health answer says 1.0.0, the record says nothing")


def test_restarts_count_within_the_window_alone():
    rows = tuple(GOOD | {"restarts": n} for n in range(4))
    assert state(*rows, minutes=15).state is Standing.FLAPPING
    assert state(*rows, minutes=25).state is Standing.AS_RECORDED


def test_what_weighs_more_is_said():
    ahead = GOOD | {"fence": 101}
    assert state(ahead, LOST, LOST, LOST, owed="it was sick").state is Standing.AHEAD
    assert state(GOOD, LOST, LOST, LOST, owed="it was sick") == Judgement(Standing.OWED, "it was sick")
    flapping_and_drifted = tuple(DRIFT | {"restarts": n} for n in range(5))
    assert state(*flapping_and_drifted).state is Standing.FLAPPING


def test_what_is_not_sure_yet_is_looked_at_again_soon():
    assert state(GOOD, DRIFT).confirm and state(GOOD, LOST).confirm and state(DRIFT).confirm
    assert not state(GOOD).confirm and not state(DRIFT, DRIFT).confirm and not state(LOST, LOST, LOST).confirm


def test_the_reason_names_both_sides():
    assert state(DRIFT, DRIFT).why == f"its link is on {NEW}, the record says {OLD}"
    assert state(LOST, LOST, LOST).why == "not reached in 3 looks: no route"
    assert "restarted 4 times within 60 minutes" in state(*(GOOD | {"restarts": n} for n in range(5))).why
    assert state(GOOD, DRIFT, GOOD).why.endswith(f": {OLD}, {NEW}, {OLD}")
