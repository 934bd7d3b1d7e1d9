"""A rolling deployment that meets a host on which the new version never becomes healthy."""

import pytest

from tests.flows.rig import Rig

pytestmark = pytest.mark.flow


def test_a_host_that_never_becomes_healthy_stops_the_roll_and_everybody_is_back_on_the_old_version(
    rig: Rig,
) -> None:
    fleet = rig.fleet("sick", {"sick": 3})
    first, second, third = fleet.machines["sick"]
    rig.deployed("sick", "1.0.0", "sick")
    (second.root / "shared" / "sick").write_text("2.0.0")

    asked = rig.deploy("sick", "2.0.0", "sick")
    ended = rig.until(asked["id"], lambda now: now["status"] == "failed", "2.0.0 has failed")
    undone = rig.until(ended["rollback"]["id"], lambda now: now["status"] == "deployed", "the rollback is done")

    assert fleet.versions("sick") == ["1.0.0", "1.0.0", "1.0.0"]
    assert undone["version"] == "1.0.0"
    activated = {m.name: [line[3] for line in m.ledger() if line[2:5:2] == ["activate@main", "done"]] for m in
                 (first, second, third)}  # fmt: skip
    assert [content.rsplit("-", 1)[0] for content in activated[third.name]] == ["1.0.0"], "the third was touched"
    assert [content.rsplit("-", 1)[0] for content in activated[second.name]] == ["1.0.0", "2.0.0", "1.0.0"]
    assert {target["host"]: target["state"] for target in ended["targets"]}[third.name] == "untouched"

    [failed] = [step for step in rig.client.get(f"/deployments/{asked['id']}/steps") if step["status"] == "failed"]
    assert (failed["kind"], failed["host"]) == ("verify", second.name)
    assert "answered 503" in failed["reason"]
    assert failed["rule"]
    assert failed["next"]
    assert second.name in ended["reason"]
    assert second.name in rig.client.get(f"/deployments/{asked['id']}/explain")["sentence"]
