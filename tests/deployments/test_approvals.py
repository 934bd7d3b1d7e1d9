"""Who says yes to what: by the risk of the plan, to the plan that was seen, for as long as a yes counts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aureus import clock
from aureus.journal.actor import EVERYWHERE, Actor, Role
from aureus.journal.models import Event
from aureus.journal.refusals import Conflict, Invalid, NotAllowed, Refused
from deployments import edits, lifecycle
from deployments.explain import explain
from deployments.models import Approval, Deployment, Endpoint, Environment, Freeze, Installation
from deployments.standing import voices_of, way_back_of
from releases import registry
from tests.api.conftest import Api, person
from tests.deployments.conftest import ALICE, BOB, SPEC, Fleet
from tests.deployments.racing import Said, lawful, race

CAROL = Actor("carol")
BY_RISK = {"low": 0, "medium": 1, "high": 2, "critical": 2}
HIGH = {**SPEC, "tasks": [{**SPEC["tasks"][0], "riskTier": "HIGH", "requiredPermissions": ["deploy"]}]}  # type: ignore[dict-item]


def asked(fleet: Fleet, number: str = "1.0.0", spec: dict[str, Any] = SPEC, *, where: str = "staging") -> Deployment:
    version, _ = registry.register(spec, number, actor=ALICE)
    return turned(lifecycle.deploy(version.pk, where, actor=ALICE))


def turned(deployment: Deployment) -> Deployment:
    """As it stands once somebody has looked at it who claims no step of it."""
    lifecycle.advance(deployment.pk, "no lane")
    return Deployment.objects.get(pk=deployment.pk)


def later(deployment: Deployment, hours: float) -> None:
    """So much time passes over what people said."""
    for voice in deployment.approvals.all():
        Approval.objects.filter(pk=voice.pk).update(at=voice.at - timedelta(hours=hours))


@pytest.fixture
def waiting(fleet: Fleet) -> Deployment:
    fleet.environment("staging", hosts=1, approvals=1)
    return asked(fleet)


def test_the_risk_is_kept_with_its_reasons_and_decides_how_many_people_are_asked(fleet):
    fleet.environment("production", hosts=1, promote_from="staging", direct=True, approvals=BY_RISK)
    medium = asked(fleet, where="production")
    assert (medium.risk, medium.status, medium.reason) == ("medium", "awaiting_approval", "waits for 1 approval")
    lifecycle.reject(medium.pk, actor=BOB, comment="no")
    high = asked(fleet, "1.1.0", HIGH, where="production")
    assert (high.risk, high.reason) == ("high", "waits for 2 approvals")
    assert ["high", "a task of its workflow has the risk tier HIGH"] in high.risk_reasons
    assert high.intent["risk"] == "high"
    told = explain(high)
    assert told.next == "2 more of 2 approvals, by others than alice, and it starts"
    assert {"kind": "risk", "status": "high", "seen": "a task of its workflow has the risk tier HIGH"} in told.evidence
    lifecycle.approve(high.pk, actor=BOB)
    assert turned(high).reason == "waits for 1 approval"
    lifecycle.approve(high.pk, actor=CAROL)
    assert turned(high).status == "in_progress"


def test_history_and_a_missing_way_back_raise_the_risk_of_the_next_plan(fleet):
    fleet.environment("production", hosts=2, promote_from="staging", direct=True)
    first = fleet.deployed("1.0.0", "production")
    second = asked(fleet, "1.1.0", where="production")
    lifecycle.abandon(second.pk, actor=ALICE, reason="it hangs")
    Deployment.objects.filter(pk=first.pk).update(good_at=None)
    plan = lifecycle.dry_run(second.version_id, "production")
    assert (plan["risk"], plan["approvals"]) == ("high", 0)
    reasons = [why for _, why in plan["risk_reasons"]]
    assert "this version failed or was undone here once" in reasons
    assert "the last attempt here failed or had to be undone" in reasons
    assert "there is no way back on production-1, production-2: no earlier version proved good there" in reasons
    assert not Deployment.objects.filter(version=second.version_id).exclude(pk=second.pk).exists()


def one_of_two_sides(fleet: Fleet, **policy: Any) -> list[str]:
    """Why a version on its way to the side that rests is a risk."""
    here = fleet.environment("staging", hosts=4, balanced=True, **policy)
    for endpoint in list(here.endpoints.all()):
        Endpoint.objects.filter(pk=endpoint.pk).update(slot="blue", port=8001, serving=True)
        Endpoint.objects.create(installation=here, host=endpoint.host, slot="green", port=8002)
    plan = lifecycle.dry_run(fleet.version("1.0.0").pk, "staging")
    return [why for _, why in plan["risk_reasons"]]


def test_a_switch_between_two_sides_is_all_at_once(fleet):
    assert one_of_two_sides(fleet, strategy="blue-green") == ["4 of 4 hosts begin to serve it at once"]


@pytest.mark.parametrize(("weights", "told"), [([10, 30, 50, 70, 90, 100], []), ([10, 100], ["4 of 4"])])
def test_a_canary_between_two_sides_counts_its_largest_step(fleet, weights, told):
    found = one_of_two_sides(fleet, strategy="canary", weights=weights)
    assert [why.split(" hosts")[0] for why in found] == told


def test_a_plan_that_is_made_anew_is_assessed_anew_and_its_yes_counts_no_more(fleet):
    here = fleet.environment("production", hosts=10, promote_from="staging", direct=True, approvals=BY_RISK)
    deployment = asked(fleet, where="production")
    assert deployment.risk == "medium"
    Installation.objects.filter(pk=here.pk).update(policy_overrides={"batch": "100%"})
    edits.edited(Installation.objects.get(pk=here.pk), changed=["policy_overrides"], actor=BOB)
    anew = turned(deployment)
    assert (anew.risk, anew.reason) == ("high", "waits for 2 approvals")
    assert anew.plan_hash != deployment.plan_hash


def test_the_way_back_is_told_before_anybody_says_yes(fleet, waiting):
    assert way_back_of(waiting) == "nothing runs there yet: there is nothing to go back to"
    lifecycle.approve(waiting.pk, actor=BOB)
    fleet.run()
    Deployment.objects.filter(pk=waiting.pk).update(good_at=clock.now())
    assert way_back_of(asked(fleet, "1.1.0")) == "every host goes back to 1.0.0"
    Deployment.objects.filter(pk=waiting.pk).update(good_at=None)
    assert "no way back" in way_back_of(asked(fleet, "1.2.0"))


def test_a_yes_that_expired_before_the_start_asks_again_and_says_whose_it_was(fleet, waiting):
    now = clock.now()
    freeze = Freeze.objects.create(starts=now, ends=now + timedelta(days=3), reason="holidays", by="bob")
    lifecycle.approve(waiting.pk, actor=BOB)
    frozen = turned(waiting)
    assert frozen.status == "pending" and "holidays" in frozen.reason
    expires = waiting.approvals.get().at + timedelta(hours=24)
    assert frozen.wake_at == expires, "it is looked at again when the yes expires, not only when the freeze ends"
    later(waiting, 24)
    freeze.delete()
    again = turned(waiting)
    assert again.status == "awaiting_approval"
    assert again.reason.startswith("waits for 1 approval: that of bob expired at ")
    assert not voices_of(again, clock.now())["voices"][0]["counts"]
    lifecycle.approve(waiting.pk, actor=BOB)
    assert turned(waiting).status == "in_progress"
    assert [voice.renewed_at is None for voice in waiting.approvals.all()] == [False, True]
    lawful()


def test_one_that_has_not_expired_is_not_given_twice(waiting):
    lifecycle.approve(waiting.pk, actor=BOB)
    with pytest.raises(Conflict, match="already said"):
        lifecycle.approve(waiting.pk, actor=BOB)


def test_an_environment_says_for_how_long_a_yes_counts(fleet):
    fleet.environment("staging", hosts=1, approvals=1, approval_expires=3600)
    deployment = asked(fleet)
    Freeze.objects.create(starts=clock.now(), ends=clock.now() + timedelta(days=3), reason="holidays", by="bob")
    lifecycle.approve(deployment.pk, actor=BOB)
    later(deployment, 2)
    assert turned(deployment).status == "awaiting_approval"


def test_what_has_started_goes_on_when_its_approval_expires(fleet, waiting):
    lifecycle.approve(waiting.pk, actor=BOB)
    turned(waiting)
    later(waiting, 48)
    fleet.run()
    waiting.refresh_from_db()
    assert waiting.status == "deployed", waiting.reason


@pytest.mark.parametrize("comment", ["", "  \n "])
def test_a_no_without_a_reason_is_refused_and_changes_nothing(waiting, comment):
    with pytest.raises(Invalid) as refused:
        lifecycle.reject(waiting.pk, actor=BOB, comment=comment)
    assert dict(refused.value.errors) == {"comment": "must not be empty"}
    assert not waiting.approvals.exists()


def test_a_yes_to_the_plan_that_was_seen_is_refused_once_the_plan_has_changed(fleet, waiting):
    seen = waiting.plan_hash
    edits.edited(Environment.objects.get(), changed=["order"], actor=ALICE)
    anew = turned(waiting)
    with pytest.raises(Conflict, match="the plan has changed since you looked at it") as refused:
        lifecycle.approve(waiting.pk, actor=BOB, plan_hash=seen)
    assert refused.value.code == "plan_changed"
    assert not waiting.approvals.exists()
    lifecycle.approve(waiting.pk, actor=BOB, plan_hash=anew.plan_hash)
    assert turned(waiting).status == "in_progress"


def test_who_asked_through_a_key_does_not_approve_as_a_person(fleet):
    fleet.environment("staging", hosts=1, approvals=1)
    key = Actor("key:ci", "key", {EVERYWHERE: frozenset({Role.CI})}, "bob")
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=key)
    with pytest.raises(NotAllowed, match="you asked for this deployment"):
        lifecycle.approve(deployment.pk, actor=BOB)


def test_of_all_who_race_to_approve_exactly_the_allowed_one_counts(fleet):
    """Over HTTP, each on a connection of its own: an approver, one who saw an older plan, the requester, two without
    the role, and one whose role is in another environment."""
    fleet.environment("staging", hosts=1, approvals=1)
    fleet.environment("elsewhere", hosts=1)
    person("anna"), person("amir", role=Role.APPROVER), person("vera"), person("rita")
    person("elsa", "elsewhere", role=Role.APPROVER)
    person("alice", role=Role.APPROVER)
    deployment = asked(fleet)
    old = deployment.plan_hash
    edits.edited(Environment.objects.get(name="staging"), changed=["order"], actor=ALICE)
    deployment = turned(deployment)
    where = f"/api/deployments/{deployment.pk}/approve"

    def as_(name: str, **body: str) -> Said:
        return lambda _: (name, Api().post(where, body, as_=name).status_code)

    came = race([
        as_("anna", planHash=deployment.plan_hash), as_("amir", planHash=old), as_("alice"), as_("vera"), as_("rita"),
        as_("elsa"),
    ])  # fmt: skip
    told = dict(one.answer for one in came)
    assert told == {"anna": 200, "amir": 409, "alice": 403, "vera": 403, "rita": 403, "elsa": 404}
    assert [voice.by for voice in deployment.approvals.all()] == ["anna"]
    assert Event.objects.filter(kind="deployment.approved").count() == 1
    assert turned(deployment).status == "in_progress"
    lawful()


def test_of_two_who_race_to_approve_both_voices_are_kept_and_it_starts_once(fleet, waiting):
    came = race([lambda _, who=who: lifecycle.approve(waiting.pk, actor=who) for who in (BOB, CAROL)])
    assert all(one.won for one in came)
    assert turned(waiting).status == "in_progress"
    assert Event.objects.filter(stream=waiting.stream, kind="deployment.in_progress").count() == 1
    lawful()


def test_the_same_person_twice_at_once_is_one_voice(waiting):
    came = race([lambda _: lifecycle.approve(waiting.pk, actor=BOB)] * 4)
    assert [one.won for one in came].count(True) == 1
    assert waiting.approvals.count() == 1


def test_a_yes_that_races_with_an_edit_never_starts_a_plan_it_was_not_said_to(fleet):
    """Whichever comes first: what runs in the end is what somebody said yes to."""
    fleet.environment("staging", hosts=1, approvals=1)
    for number in range(8):
        deployment = asked(fleet, f"1.{number}.0")
        seen = deployment.plan_hash
        here = Environment.objects.get()
        came = race([
            lambda _, pk=deployment.pk, saw=seen: lifecycle.approve(pk, actor=BOB, plan_hash=saw),
            lambda _, row=here: edits.edited(row, changed=["order"], actor=ALICE),
        ])  # fmt: skip
        assert not [one for one in came if not one.won and not isinstance(one.refusal, Refused)]
        after = turned(deployment)
        if after.status == "in_progress":
            assert after.approvals.filter(plan_hash=after.plan_hash, yes=True).exists()
        else:
            assert (after.status, after.plan_hash != seen) == ("awaiting_approval", True)
        lifecycle.abandon(deployment.pk, actor=ALICE, reason="the next round")
