"""What the API says of an adopted deployment, and of an installation that waits to be compared."""

from __future__ import annotations

from deployments import identity
from deployments.models import Deployment, Identity, Installation
from tests.deployments.test_fleet_adopt import adopted, by_hand

__all__ = ["by_hand"]


def test_an_adopted_deployment_is_shown_as_what_it_is(api, by_hand):
    deployment = adopted(by_hand)
    here = f"/api/deployments/{deployment.pk}"
    shown = api.get(here, as_="vera").json()
    assert (shown["status"], shown["strategy"], "window" in shown) == ("deployed", "adopt", False)
    assert shown["reason"] == "adopted by alice because it came from the old scripts"
    assert api.get(f"{here}/steps", as_="vera").json() == []
    assert "was deployed on 3 hosts" in api.get(f"{here}/explain", as_="vera").json()["sentence"]
    [current] = api.get("/api/deployments?environment=staging&current=true", as_="vera").json()
    assert current["id"] == str(deployment.pk)
    refused = api.post(f"{here}/rollback", {"reason": "no"}, as_="rita")
    assert (refused.status_code, "there is no way back" in refused.json()["detail"]) == (409, True)


def test_an_unproven_installation_says_so_and_refuses_a_rollback(api, by_hand):
    adopted(by_hand)
    newer = by_hand.deployed("1.1.0")
    Identity.objects.exclude(seal="").update(known="another database")
    assert identity.notice()
    [staging] = api.get("/api/environments", as_="vera").json()
    assert "aureus recover" in staging["installations"][0]["unproven"]
    refused = api.post(f"/api/deployments/{newer.pk}/rollback", {"reason": "bad"}, as_="rita")
    assert refused.status_code == 409
    assert "was restored or copied" in refused.json()["detail"]
    told = api.deploy("1.2.0").json()
    by_hand.play_until(lambda: "aureus recover" in reason_of(told["id"]))
    assert "aureus recover" in api.get(f"/api/deployments/{told['id']}/explain", as_="vera").json()["sentence"]
    assert Installation.objects.exclude(unproven="").count() == 1


def reason_of(deployment_id: str) -> str:
    return Deployment.objects.get(pk=deployment_id).reason
