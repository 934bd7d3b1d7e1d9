"""A version's number where it matters: at the gates of a promotion, in a dry run, and where pre-releases may not go."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aureus import clock
from aureus.journal.models import Event
from aureus.journal.refusals import Conflict
from deployments import lifecycle
from deployments.gating import checks
from deployments.models import Deployment, Environment, Installation
from deployments.policy import PolicyError, parse, stored, tightened
from deployments.snapshot import policy_of
from releases import bumping, registry, waiving
from releases.models import Version
from tests.deployments.conftest import ALICE, BOB, SPEC, Fleet
from tests.deployments.test_gating import ANNA

ASK: dict[str, Any] = {"id": "ask", "tool": "http", "params": {"path": "/health"}}
TWO: list[dict[str, Any]] = [ASK, {"id": "tell", "tool": "http", "dependsOn": ["ask"]}]


def version(number: str, tasks: list[dict[str, Any]] = TWO) -> Version:
    return registry.register({**SPEC, "tasks": tasks}, number, actor=ALICE)[0]


def gate(source: Deployment, name: str = "version_bumped") -> Any:
    to = Installation.objects.get(environment__name="production")
    return next((one for one in checks(source, to, policy_of(to)) if one.name == name), None)


@pytest.fixture
def places(fleet: Fleet) -> Fleet:
    """Production has 1.0.0 with two tasks."""
    fleet.environment("staging", hosts=1)
    fleet.environment("production", hosts=1, promote_from="staging", gates="guide", direct=True)
    deployed(fleet, version("1.0.0"))
    return fleet


def deployed(fleet: Fleet, one: Version) -> Deployment:
    """Brought to production, and proven good there."""
    deployment = lifecycle.deploy(one.pk, "production", actor=ALICE)
    fleet.run()
    Deployment.objects.filter(pk=deployment.pk).update(good_at=clock.now())
    return deployment


def staged(fleet: Fleet, number: str, tasks: list[dict[str, Any]] = TWO) -> Deployment:
    deployment = lifecycle.deploy(version(number, tasks).pk, "staging", actor=ALICE)
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "deployed"
    return deployment


def test_a_patch_that_takes_a_task_away_is_held_by_its_gate_and_a_waiver_lets_it_pass(places: Fleet) -> None:
    source = staged(places, "1.0.1", TWO[:1])
    held = gate(source)
    assert not held.passed
    assert held.reason.startswith("1.0.1 is a PATCH after 1.0.0, but tell was removed: that is a MAJOR")
    assert held.evidence["changes"] == [{"task": "tell", "change": "was removed", "demands": "MAJOR"}]
    with pytest.raises(Conflict, match="tell was removed"):
        lifecycle.promote(source.pk, actor=ALICE)
    until = clock.now() + timedelta(days=1)
    waiving.waive(source.version_id, "version_bumped", environment="production", owner="bo", reason="nobody calls it",
                  expires_at=until, actor=ANNA)  # fmt: skip
    assert gate(source).passed


@pytest.mark.parametrize(
    ("number", "tasks", "passed"),
    [("1.0.1", TWO, True), ("1.1.0", TWO, True), ("2.0.0", TWO[:1], True), ("0.9.0", TWO, False)],
)
def test_the_number_is_compared_with_what_the_target_runs(
    places: Fleet, number: str, tasks: list[dict[str, Any]], passed: bool
) -> None:
    assert gate(staged(places, number, tasks)).passed is passed


def test_what_is_deployed_directly_is_told_of_and_not_refused(places: Fleet) -> None:
    lower = version("0.9.0")
    told = lifecycle.dry_run(lower.pk, "production")
    assert told["warnings"] == ["0.9.0 is not newer than 1.0.0, which production runs."]
    deployment = lifecycle.deploy(lower.pk, "production", actor=ALICE)
    asked = Event.objects.get(stream=deployment.stream, kind="deployment.requested")
    assert asked.data["warnings"] == told["warnings"]
    assert lifecycle.dry_run(version("1.0.1").pk, "production")["warnings"] == []


def test_a_rollback_to_a_lower_number_is_asked_nothing(places: Fleet) -> None:
    newer = deployed(places, version("2.0.0", TWO[:1]))
    rollback, _ = lifecycle.roll_back(newer.pk, actor=BOB, reason="bad")
    places.run()
    rollback.refresh_from_db()
    assert (rollback.status, rollback.version.number) == ("deployed", "1.0.0")


def test_a_registration_is_compared_with_the_release_before_it(db: None) -> None:
    version("1.0.0")
    version("2.0.0", TWO[:1])
    version("3.0.0-rc.1")
    assert bumping.warnings(version("2.1.0", TWO[:1])) == []
    [told] = bumping.warnings(version("1.0.1", TWO[:1]))
    assert (told.rule, told.severity, told.tasks) == ("version_number", "warning", ("tell",))
    assert told.message.startswith("1.0.1 is a PATCH after 1.0.0, but tell was removed")
    assert bumping.warnings(version("2.1.1", TWO[:1])) == []
    [grown] = bumping.warnings(version("2.1.2"))
    assert "2.1.2 is a PATCH after 2.1.1, but tell is new: that is a MINOR" in grown.message
    registry.withdraw(Version.objects.get(number="1.0.0").pk, reason="bad", actor=BOB)
    assert bumping.before(Version.objects.get(number="1.0.1")) is None


# Pre-releases


def test_a_pre_release_goes_where_versions_are_deployed_directly_and_not_where_they_are_promoted_to(
    fleet: Fleet,
) -> None:
    fleet.environment("staging", hosts=1)
    fleet.environment("production", hosts=1, promote_from="staging", direct=True)
    source = staged(fleet, "1.1.0-rc.1")
    for ask in (
        lambda: lifecycle.promote(source.pk, actor=ALICE),
        lambda: lifecycle.deploy(source.version_id, "production", actor=ALICE),
    ):
        with pytest.raises(Conflict, match=r"production takes no pre-releases, and 1\.1\.0-rc\.1 is one"):
            ask()
    assert gate(source, "no_prerelease").passed is False
    assert gate(staged(fleet, "1.1.0"), "no_prerelease") is None


def test_an_environment_may_say_otherwise_and_what_waits_is_asked_again(fleet: Fleet) -> None:
    staging = fleet.environment("staging", hosts=1, prereleases=False)
    with pytest.raises(Conflict, match="staging takes no pre-releases") as refused:
        lifecycle.deploy(version("1.1.0-rc.1").pk, "staging", actor=ALICE)
    assert refused.value.code == "prerelease"
    rules = {"approvals": 1, "promote_from": None, "gates": "basic"}
    Environment.objects.filter(pk=staging.environment_id).update(policy=parse(rules).as_json())
    waiting = lifecycle.deploy(version("1.1.0-rc.1").pk, "staging", actor=ALICE)
    Environment.objects.filter(pk=staging.environment_id).update(
        policy=parse({**rules, "prereleases": False}).as_json()
    )
    fleet.run()
    waiting.refresh_from_db()
    assert (waiting.status, waiting.outcome) == ("failed", "stale")
    assert "takes no pre-releases" in waiting.reason


def test_the_rule_is_tightened_by_installations_and_read_from_older_rows() -> None:
    def rules(promote_from: str | None, **more: Any) -> Any:
        return parse({"approvals": 0, "promote_from": promote_from, "gates": "basic", **more})

    assert rules(None).prereleases and not rules("staging").prereleases
    assert rules("staging", prereleases=True).prereleases
    assert not tightened(rules(None), {"prereleases": False}).prereleases
    assert not tightened(rules("staging"), {"prereleases": False}).prereleases
    with pytest.raises(PolicyError, match="prereleases: are not taken by the environment"):
        tightened(rules("staging"), {"prereleases": True})
    with pytest.raises(PolicyError, match="prereleases: must be true or false"):
        rules(None, prereleases="yes")
    for promote_from in (None, "staging"):
        kept = rules(promote_from).as_json()
        del kept["prereleases"]
        assert stored(kept).prereleases is (promote_from is None)
