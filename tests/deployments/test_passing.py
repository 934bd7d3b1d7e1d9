"""What holds a deployment by time, each with its sentence; the override of one person, and the glass that two break."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from aureus import clock
from aureus.journal.actor import EVERYWHERE, Actor, Role
from aureus.journal.models import Event
from aureus.journal.refusals import Conflict, Invalid, NotAllowed, NotFound
from deployments import lifecycle, smoke
from deployments.engine.calendar import DAYS
from deployments.explain import explain
from deployments.fleet import freezing, locking
from deployments.models import BreakGlass, Deployment, Environment, Freeze, Incident
from health.models import SmokeRun
from releases import registry
from tests.deployments.conftest import ALICE, BOB, Fleet
from tests.deployments.racing import Said, lawful, one_won, race
from tests.deployments.test_approvals import asked, turned


def somebody(name: str, role: Role, environment: str = EVERYWHERE) -> Actor:
    return Actor(name, "user", {environment: frozenset({role})})


RITA, ROB = somebody("rita", Role.RELEASE_MANAGER), somebody("rob", Role.RELEASE_MANAGER)
ANNA = somebody("anna", Role.APPROVER)
VERA = somebody("vera", Role.VIEWER)
KEY = Actor("key:bot", "key", {EVERYWHERE: frozenset({Role.RELEASE_MANAGER})}, "rita")
ZONE = "Europe/Berlin"


def weekly(*days: int, **more: Any) -> Mapping[str, Any]:
    """Whole days of the week, counted from today in Berlin."""
    today = clock.now().astimezone(ZoneInfo(ZONE)).weekday()
    first, last = (DAYS[(today + day) % 7] for day in days)
    return {"from": first, "to": last, "zone": ZONE, **more}


def freeze(environment: str | None = "staging", **declared: Any) -> Freeze:
    row = Environment.objects.get(name=environment) if environment else None
    return freezing.add(row, declared or weekly(0, 1), reason="nobody is there", actor=BOB)[0]


@pytest.fixture
def here(fleet: Fleet) -> Fleet:
    fleet.environment("staging", hosts=1)
    return fleet


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_repeating_freeze_holds_with_a_sentence_that_says_until_when_by_its_own_clocks(here, everywhere):
    freeze(None if everywhere else "staging")
    held = asked(here)
    assert held.status == "pending" and held.wake_at is not None
    until = held.wake_at.astimezone(ZoneInfo(ZONE))
    assert held.reason == f"frozen until {until:%A %Y-%m-%d} 00:00 Europe/Berlin: nobody is there"
    assert (until.date() - clock.now().astimezone(ZoneInfo(ZONE)).date()).days == 2
    assert "a release manager may override it, with a reason" in explain(held).next


def test_freezes_that_overlap_hold_until_the_last_one_ends(here):
    now = clock.now()
    for hours, reason in ((1, "inventory"), (30, "the fair")):
        Freeze.objects.create(starts=now, ends=now + timedelta(hours=hours), reason=reason, by="bob")
    held = asked(here)
    assert held.reason.endswith("UTC: the fair")
    assert held.wake_at is not None and held.wake_at > now + timedelta(hours=29)


def test_a_freeze_elsewhere_or_of_another_day_holds_nothing(here):
    here.environment("elsewhere", hosts=1)
    freeze("elsewhere")
    freeze("staging", **weekly(2, 3))
    assert asked(here).status == "in_progress"


def test_a_freeze_never_holds_a_rollback_nor_what_has_started(here):
    here.deployed("1.0.0")
    second = asked(here, "1.1.0")
    freeze()
    here.run()
    second.refresh_from_db()
    assert second.status == "deployed", second.reason
    rollback, _ = lifecycle.roll_back(second.pk, actor=RITA, reason="wrong prices")
    assert rollback.status == "in_progress"
    here.run()
    rollback.refresh_from_db()
    assert rollback.status == "deployed", rollback.reason


def test_a_freeze_that_is_lifted_lets_who_waits_go_on_and_is_told_with_its_actor(here):
    row = freeze()
    held = asked(here)
    freezing.lift(row.pk, actor=RITA, environment=Environment.objects.get())
    held.refresh_from_db()
    assert held.wake_at is not None and held.wake_at <= clock.now()
    assert turned(held).status == "in_progress"
    told = Event.objects.filter(stream="environment:staging").order_by("seq")
    assert [(event.kind, event.actor) for event in told] == [("freeze.added", "bob"), ("freeze.lifted", "rita")]
    with pytest.raises(NotFound):
        freezing.lift(row.pk, actor=RITA)


def test_the_same_freeze_again_is_the_one_that_is_there(here):
    row = freeze()
    assert freeze().pk == row.pk
    assert freezing.lift(row.pk, actor=RITA) is None
    came = race([lambda _: freeze()])
    assert came[0].answer.pk != row.pk


@pytest.mark.parametrize(
    ("declared", "reason", "field"),
    [
        ({"from": "friday", "to": "monday", "zone": "Mars/Olympus"}, "x", "zone"),
        ({"from": "friday", "to": "monday", "zone": "UTC"}, " ", "reason"),
        ({"from": "2026-01-01", "to": "2026-01-02", "zone": "UTC"}, "x", "to"),
    ],
)
def test_a_freeze_that_cannot_hold_is_refused_by_field(here, declared, reason, field):
    with pytest.raises(Invalid) as refused:
        freezing.add(None, declared, reason=reason, actor=BOB)
    assert field in dict(refused.value.errors)
    assert not Freeze.objects.exists()


def test_outside_its_deployment_windows_nothing_starts_and_the_next_opening_is_told(fleet):
    fleet.environment("staging", hosts=1, deployment_windows=[weekly(1, 1)])
    held = asked(fleet)
    tomorrow = (clock.now() + timedelta(days=1)).astimezone(ZoneInfo(ZONE))
    assert held.reason == (
        f"outside the deployment windows of staging: the next one opens {tomorrow:%A %Y-%m-%d} 00:00 Europe/Berlin"
    )
    assert held.wake_at == datetime.combine(tomorrow, datetime.min.time(), ZoneInfo(ZONE))


def test_within_a_deployment_window_it_starts(fleet):
    fleet.environment("staging", hosts=1, deployment_windows=[weekly(1, 1), weekly(0, 0)])
    assert asked(fleet).status == "in_progress"


def test_a_release_manager_lets_one_deployment_past_the_time_that_holds_it_and_no_other(fleet):
    fleet.environment("staging", hosts=1, deployment_windows=[weekly(1, 1)])
    freeze()
    held = asked(fleet)
    lifecycle.override(held.pk, actor=RITA, reason="a hole in the login")
    started = turned(held)
    assert started.status == "in_progress"
    kept = started.overrides.get()
    assert (kept.by, kept.reason, kept.holds) == ("rita", "a hole in the login", ["freeze", "window"])
    [event] = Event.objects.filter(kind="deployment.overridden")
    assert (event.actor, event.data["holds"]) == ("rita", ["freeze", "window"])
    fleet.run()
    assert turned(asked(fleet, "1.1.0")).status == "pending"


def test_an_override_names_what_it_lets_past_and_the_rest_holds_still(fleet):
    fleet.environment("staging", hosts=1, deployment_windows=[weekly(1, 1)])
    freeze()
    held = asked(fleet)
    lifecycle.override(held.pk, actor=RITA, reason="the fair is over", holds=["freeze"])
    assert turned(held).reason.startswith("outside the deployment windows")
    with pytest.raises(Conflict, match="overridden already"):
        lifecycle.override(held.pk, actor=RITA, reason="again", holds=["freeze"])
    with pytest.raises(Invalid, match="there is: freeze, window, soak"):
        lifecycle.override(held.pk, actor=RITA, reason="again", holds=["approvals"])


def test_an_override_is_of_the_plan_it_was_said_to(here):
    freeze()
    held = asked(here)
    lifecycle.override(held.pk, actor=RITA, reason="a hole")
    Environment.objects.update(revision=2)
    assert turned(held).reason.startswith("frozen until")


@pytest.mark.parametrize(
    ("who", "code"), [(VERA, "missing_role"), (ANNA, "missing_role"), (ALICE, "missing_role"), (KEY, "not_a_person"),
                      (somebody("rolf", Role.RELEASE_MANAGER, "elsewhere"), "missing_role")],
)  # fmt: skip
def test_only_a_release_manager_of_the_environment_overrides(here, who, code):
    freeze()
    held = asked(here)
    with pytest.raises(NotAllowed) as refused:
        lifecycle.override(held.pk, actor=who, reason="please")
    assert refused.value.code == code
    assert not held.overrides.exists()


def test_nothing_is_overridden_without_a_reason_or_where_nothing_holds(here):
    freeze()
    held = asked(here)
    with pytest.raises(Invalid):
        lifecycle.override(held.pk, actor=RITA, reason=" ")
    lifecycle.override(held.pk, actor=RITA, reason="a hole")
    turned(held)
    with pytest.raises(Conflict, match="nothing holds it"):
        lifecycle.override(held.pk, actor=RITA, reason="again")


@pytest.fixture
def urgent(fleet: Fleet) -> Deployment:
    """Two approvals are missing and it is frozen."""
    fleet.environment("staging", hosts=1, approvals=2)
    freeze()
    return asked(fleet)


def test_two_people_break_the_glass_and_neither_alone(fleet, urgent):
    lifecycle.break_glass(urgent.pk, actor=RITA, reason="all orders fail")
    told = turned(urgent)
    assert told.status == "awaiting_approval"
    assert "rita asks to break the glass (all orders fail), and somebody else may confirm it until" in told.reason
    with pytest.raises(NotAllowed, match="a second person has to confirm"):
        lifecycle.confirm_break_glass(urgent.pk, actor=RITA)
    assert turned(urgent).status == "awaiting_approval"
    assert not Incident.objects.exists()
    lifecycle.confirm_break_glass(urgent.pk, actor=ANNA)
    assert turned(urgent).status == "in_progress"
    [incident] = Incident.objects.filter(deployment=urgent)
    assert "rita and anna broke the glass: all orders fail" in incident.text
    glass = urgent.glasses.get()
    assert (glass.incident_id, glass.used_at is not None) == (incident.pk, True)
    kinds = Event.objects.filter(stream=urgent.stream, kind__contains="glass").order_by("seq")
    assert [(e.kind, e.actor) for e in kinds] == [
        ("deployment.glass_asked", "rita"), ("deployment.glass_broken", "anna"), ("deployment.glass_used", "aureus"),
    ]  # fmt: skip
    fleet.run()
    lawful()


def test_who_asked_for_the_deployment_may_be_one_of_the_two(fleet, urgent):
    alice = somebody("alice", Role.RELEASE_MANAGER)
    lifecycle.break_glass(urgent.pk, actor=alice, reason="all orders fail")
    lifecycle.confirm_break_glass(urgent.pk, actor=ANNA)
    assert turned(urgent).status == "in_progress"


@pytest.mark.parametrize(("who", "code"), [(VERA, "missing_role"), (ALICE, "missing_role"), (KEY, "not_a_person")])
def test_who_may_not_break_the_glass_neither_asks_nor_confirms(urgent, who, code):
    with pytest.raises(NotAllowed) as refused:
        lifecycle.break_glass(urgent.pk, actor=who, reason="please")
    assert refused.value.code == code
    lifecycle.break_glass(urgent.pk, actor=ANNA, reason="all orders fail")
    with pytest.raises(NotAllowed) as refused:
        lifecycle.confirm_break_glass(urgent.pk, actor=who)
    assert refused.value.code == code


def test_a_glass_that_nobody_confirms_in_time_counts_for_nothing(urgent):
    lifecycle.break_glass(urgent.pk, actor=RITA, reason="all orders fail")
    assert turned(urgent).wake_at == urgent.glasses.get().expires_at
    past(urgent)
    with pytest.raises(Conflict, match="nobody has asked"):
        lifecycle.confirm_break_glass(urgent.pk, actor=ANNA)
    assert "the glass that rita asked to break was not confirmed by" in turned(urgent).reason


def test_a_broken_glass_that_is_not_used_in_time_counts_for_nothing(urgent):
    lifecycle.break_glass(urgent.pk, actor=RITA, reason="all orders fail")
    lifecycle.pause(urgent.pk, actor=RITA)
    lifecycle.confirm_break_glass(urgent.pk, actor=ANNA)
    paused = turned(urgent)
    assert (paused.status, paused.reason, paused.wake_at) == ("pending", "paused by rita", glass_of(urgent).expires_at)
    past(urgent)
    lifecycle.resume(urgent.pk, actor=RITA)
    told = turned(urgent)
    assert told.status == "awaiting_approval"
    assert "waits for 2 approvals: the glass was broken and not used by " in told.reason


def past(deployment: Deployment) -> None:
    BreakGlass.objects.filter(deployment=deployment).update(expires_at=clock.now())


def glass_of(deployment: Deployment) -> BreakGlass:
    return deployment.glasses.get()


def test_a_glass_is_of_the_plan_it_was_broken_for(urgent):
    lifecycle.break_glass(urgent.pk, actor=RITA, reason="all orders fail")
    lifecycle.confirm_break_glass(urgent.pk, actor=ANNA)
    Environment.objects.update(revision=2)
    assert turned(urgent).status == "awaiting_approval"


def test_of_those_who_ask_and_confirm_at_once_two_different_people_count(urgent):
    def ask(who: Actor) -> Said:
        return lambda _: lifecycle.break_glass(urgent.pk, actor=who, reason="all orders fail")

    def confirm(who: Actor) -> Said:
        return lambda _: lifecycle.confirm_break_glass(urgent.pk, actor=who)

    one_won(race([ask(RITA), ask(ROB), ask(ANNA)]), losers_hear="has asked already")
    first = glass_of(urgent).asked_by
    others = [who for who in (RITA, ROB, ANNA) if who.name != first]
    one_won(race([confirm(who) for who in others]), losers_hear="has confirmed it already")
    glass = glass_of(urgent)
    assert glass.confirmed_by in {who.name for who in others}
    assert Incident.objects.count() == 1


def test_a_lock_and_a_rejection_hold_also_with_a_broken_glass(urgent):
    locking.lock("staging", actor=BOB, reason="the disk array is being replaced")
    lifecycle.break_glass(urgent.pk, actor=RITA, reason="all orders fail")
    lifecycle.confirm_break_glass(urgent.pk, actor=ANNA)
    assert turned(urgent).reason.startswith("staging is locked by bob since ")
    lifecycle.reject(urgent.pk, actor=BOB, comment="it would lose the disks")
    urgent.refresh_from_db()
    assert urgent.outcome == "rejected"


@pytest.fixture
def untested(fleet: Fleet) -> Deployment:
    """1.1.0 in staging without a smoke test, so that no gate lets it on."""
    fleet.environment("staging", hosts=1)
    fleet.environment("production", hosts=1, promote_from="staging", approvals=1)
    return fleet.deployed("1.1.0")


def emergency(source: Deployment) -> Deployment:
    wish = lifecycle.Wish(break_glass="all orders fail")
    return turned(lifecycle.promote(source.pk, actor=RITA, wish=wish)[0])


def test_gates_that_fail_are_passed_by_two_people_and_it_waits_for_the_second(fleet, untested):
    with pytest.raises(Conflict, match="cannot be promoted"):
        lifecycle.promote(untested.pk, actor=RITA)
    promotion = emergency(untested)
    assert promotion.status == "awaiting_approval"
    with pytest.raises(Conflict, match=f"for {promotion.pk} itself"):
        emergency(untested)
    lifecycle.approve(promotion.pk, actor=ANNA)
    held = turned(promotion)
    assert held.status == "pending" and held.reason.startswith("rita asks to break the glass")
    lifecycle.confirm_break_glass(promotion.pk, actor=ANNA)
    fleet.run()
    promotion.refresh_from_db()
    assert promotion.status == "deployed", promotion.reason


def test_an_emergency_that_nobody_confirms_ends_by_the_gates_it_wanted_to_pass(untested):
    promotion = emergency(untested)
    lifecycle.approve(promotion.pk, actor=ANNA)
    past(promotion)
    ended = turned(promotion)
    assert (ended.status, ended.outcome) == ("failed", "stale")
    assert "smoke" in ended.reason.lower()


def test_an_approval_does_not_stand_in_for_the_second_person(untested):
    """Rita asks, and Anna only approves the plan: the gates hold it."""
    promotion = emergency(untested)
    lifecycle.approve(promotion.pk, actor=ANNA)
    assert turned(promotion).status == "pending"


def test_a_hot_fix_that_never_was_in_staging_starts_by_a_broken_glass_alone(fleet, untested):
    version = fleet.version("1.1.1")
    with pytest.raises(Conflict, match="by promotion"):
        lifecycle.deploy(version.pk, "production", actor=RITA)
    wish = lifecycle.Wish(break_glass="all orders fail")
    fix = turned(lifecycle.deploy(version.pk, "production", actor=RITA, wish=wish))
    assert fix.skips_promotion
    lifecycle.approve(fix.pk, actor=ANNA)
    assert turned(fix).status == "pending"
    lifecycle.confirm_break_glass(fix.pk, actor=ANNA)
    assert turned(fix).status == "in_progress"


def test_a_hot_fix_whose_glass_expires_ends_and_is_not_retried_past_staging(fleet, untested):
    wish = lifecycle.Wish(break_glass="all orders fail")
    fix = lifecycle.deploy(fleet.version("1.1.1").pk, "production", actor=RITA, wish=wish)
    lifecycle.approve(fix.pk, actor=ANNA)
    past(fix)
    ended = turned(fix)
    assert (ended.outcome, "by promotion" in ended.reason) == ("stale", True)
    with pytest.raises(Conflict, match="by promotion"):
        lifecycle.retry(fix.pk, actor=RITA)


def test_ci_asks_for_no_emergency(untested):
    wish = lifecycle.Wish(break_glass="the pipeline wants to go home")
    with pytest.raises(NotAllowed):
        lifecycle.promote(untested.pk, actor=KEY, wish=wish)
    assert not untested.promotions.exists()


def test_no_glass_lets_a_withdrawn_version_or_other_bytes_pass(fleet, untested):
    promotion = emergency(untested)
    lifecycle.confirm_break_glass(promotion.pk, actor=ANNA)
    registry.withdraw(untested.version_id, reason="it sends every mail twice", actor=BOB)
    ended = turned(promotion)
    assert (ended.outcome, "was withdrawn" in ended.reason) == ("stale", True)


def test_no_glass_lets_an_unsigned_version_pass(fleet):
    fleet.environment("staging", hosts=1)
    signers = ["a@example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJlEcbLD0ptxBRBMQXKmUIxBvXRPZpCJkmXDCLTy9xWd"]
    fleet.environment("production", hosts=1, promote_from="staging", signed=True, signers=signers)
    source = fleet.deployed("1.1.0")
    run = smoke.ask(source, [{"name": "home", "endpoint": "/"}], asked_by="ci")
    SmokeRun.objects.filter(pk=run.pk).update(verdict="passed", status="passed")
    with pytest.raises(Conflict, match="takes only signed artifacts"):
        lifecycle.promote(source.pk, actor=RITA, wish=lifecycle.Wish(break_glass="all orders fail"))


def test_a_lock_has_an_owner_and_an_age_and_a_rollback_passes(here):
    here.deployed("1.0.0")
    second = here.deployed("1.1.0")
    locked = locking.lock("staging", actor=BOB, reason="moving house")
    assert locking.lock("staging", actor=BOB, reason="moving house").locked_at == locked.locked_at
    with pytest.raises(Conflict, match=r"staging is locked by bob since .*: moving house; unlock it first"):
        locking.lock("staging", actor=RITA, reason="mine")
    assert asked(here, "1.2.0").reason == locked.locked
    rollback, _ = lifecycle.roll_back(second.pk, actor=RITA, reason="wrong prices")
    here.run()
    rollback.refresh_from_db()
    assert rollback.status == "deployed"


def test_a_lock_keeps_plans_and_approvals_and_is_taken_off_once_with_its_actor(fleet):
    fleet.environment("staging", hosts=1, approvals=1)
    waiting = asked(fleet)
    lifecycle.approve(waiting.pk, actor=ANNA)
    locking.lock("staging", actor=BOB, reason="moving house")
    assert turned(waiting).status == "pending"
    came = race([lambda who: locking.unlock("staging", actor=who, reason="done")] * 3)
    assert [one.won for one in came].count(True) == 1
    [told] = Event.objects.filter(kind="environment.unlocked")
    assert told.data == {"reason": "done", "locked_by": "bob", "lock_reason": "moving house"}
    assert turned(waiting).status == "in_progress"
    with pytest.raises(Invalid):
        locking.lock("staging", actor=BOB, reason="")
