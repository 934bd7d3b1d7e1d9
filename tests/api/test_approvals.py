"""Risk, approvals, freezes, locks and emergencies over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.test_deployments import HERE, staged, two
from tests.deployments.conftest import Fleet

__all__ = ["two"]


@pytest.fixture
def promotion(api: Api, two: Fleet) -> Any:
    """Asked for in production, where somebody has to say yes."""
    return api.post(f"{HERE}/{staged(api, two)['id']}/promote", {}, as_="rita").json()


def test_a_dry_run_and_a_deployment_tell_their_risk_why_and_where_they_would_go_back(api, two):
    made = api.deploy().json()
    assert (made["risk"], made["riskReasons"], made["approvals"]["needed"]) == ("low", [], 0)
    assert made["wayBack"] == "nothing runs there yet: there is nothing to go back to"
    body = {"versionId": made["versionId"], "environment": "staging"}
    planned = api.post(f"{HERE}?dryRun=true", body, as_="cid").json()
    assert (planned["risk"], planned["riskReasons"], planned["approvals"]) == ("low", [], 0)
    listed = api.get(HERE, as_="vera").json()
    assert listed[0]["risk"] == "low" and "riskReasons" not in listed[0]


def test_nobody_sends_a_risk(api, two):
    version = api.deploy().json()["versionId"]
    body = {"versionId": version, "environment": "staging", "risk": "low"}
    refused = api.post(HERE, body, as_="cid")
    assert refused.status_code == 400
    assert [error["path"] for error in refused.json()["errors"]] == ["risk"]


def test_a_no_without_a_reason_is_a_mistake(api, promotion):
    for body in ({}, {"comment": ""}, {"comment": "  "}):
        refused = api.post(f"{HERE}/{promotion['id']}/reject", body, as_="anna")
        assert (refused.status_code, refused.json()["errors"][0]["path"]) == (400, "comment")
    assert api.get(f"{HERE}/{promotion['id']}", as_="vera").json()["status"] != "failed"


def test_an_emergency_is_two_peoples_and_shown(api, promotion):
    where = f"{HERE}/{promotion['id']}/break-glass"
    assert api.post(where, {}, as_="rita").status_code == 400
    asked = api.post(where, {"reason": "all orders fail"}, as_="rita").json()
    [glass] = asked["passes"]
    assert (glass["kind"], glass["by"], glass["counts"], "confirmedBy" in glass) == (
        "break_glass",
        "rita",
        False,
        False,
    )
    assert api.post(f"{where}/confirm", {}, as_="rita").status_code == 403
    [glass] = api.post(f"{where}/confirm", {}, as_="anna").json()["passes"]
    assert (glass["confirmedBy"], glass["counts"]) == ("anna", True)
    assert glass["holds"] == ["approvals", "gates", "freeze", "window", "soak"]


FREEZE = {"from": "friday 16:00", "to": "monday 08:00", "zone": "Europe/Berlin", "reason": "the weekend"}


def test_a_freeze_is_added_listed_and_lifted(api, two):
    where = "/api/environments/production/freezes"
    made = api.post(where, FREEZE, as_="rita")
    assert made.status_code == 201
    told = made.json()
    assert {name: told[name] for name in FREEZE} == FREEZE
    assert (told["environment"], told["by"], told["declared"]) == ("production", "rita", False)
    assert api.post(where, FREEZE, as_="rita").status_code == 200
    assert api.get(where, as_="vera").json() == [told]
    assert api.get("/api/environments/staging/freezes", as_="vera").json() == []
    assert api("DELETE", f"/api/environments/staging/freezes/{told['id']}", as_="rita").status_code == 404
    assert api("DELETE", f"{where}/{told['id']}", as_="rita").status_code == 204
    assert api("DELETE", f"{where}/{told['id']}", as_="rita").status_code == 404


def test_a_freeze_that_is_none_is_refused_with_every_field(api, two):
    wrong = {"from": "someday", "to": "monday", "zone": "Mars", "reason": "x", "days": ["moonday"]}
    refused = api.post("/api/environments/production/freezes", wrong, as_="rita")
    assert refused.status_code == 400
    assert {error["path"] for error in refused.json()["errors"]} == {"from", "zone", "days"}


def test_an_environment_is_locked_and_unlocked_and_tells_by_whom(api, two):
    where = "/api/environments/production"
    locked = api.post(f"{where}/lock", {"reason": "moving house"}, as_="rita").json()
    assert (locked["locked"], locked["lockedBy"]) == ("moving house", "rita") and locked["lockedAt"]
    taken = api.post(f"{where}/lock", {"reason": "mine"}, as_="adam")
    assert taken.status_code == 409 and "locked by rita since" in taken.json()["detail"]
    assert api.post(f"{where}/unlock", {}, as_="adam").json()["locked"] == ""
    assert api.post(f"{where}/unlock", {}, as_="adam").status_code == 409
