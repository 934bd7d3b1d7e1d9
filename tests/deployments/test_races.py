"""People who speak at the same instant: one of them is heard, and the others are told who or what was first."""

from __future__ import annotations

import copy
import os
import random
from collections import Counter

import pytest

from aureus import clock
from aureus.journal.models import Event
from deployments import edits, lifecycle
from deployments.engine.status import OPEN
from deployments.fleet.apply import apply
from deployments.fleet.declaration import Declaration, check
from deployments.models import Deployment, Endpoint, Environment, Host, Step
from health.models import SmokeRun
from releases import registry
from tests.deployments.conftest import ALICE, Fleet
from tests.deployments.racing import PEOPLE, Came, Said, lawful, one_won, race
from tests.deployments.test_fleet_declaration import GOOD

ROUNDS = int(os.environ.get("RACE_ROUNDS", "100"))
STATES = ("waiting", "waiting", "changing", "changing", "deployed")
SEED = int(os.environ.get("RACE_SEED", "7"))


@pytest.fixture
def under_way(fleet: Fleet) -> Deployment:
    """1.1.0 on its way over a good 1.0.0, its first host changed."""
    fleet.environment("staging", hosts=3)
    fleet.deployed("1.0.0")
    return changing(fleet, "1.1.0")


def changing(fleet: Fleet, number: str) -> Deployment:
    deployment = lifecycle.deploy(fleet.version(number).pk, "staging", actor=ALICE)
    fleet.play_until(lambda: deployment.targets.filter(claimed_at__isnull=False).exists())
    deployment.refresh_from_db()
    return deployment


def held(deployment: Deployment) -> None:
    """Let a step of it wait for a person, as a command does whose worker was lost."""
    left = deployment.steps.filter(status="pending").order_by("pk")[:1]
    Step.objects.filter(pk__in=left).update(held=True, attempts=1, reason="the worker that ran it was lost")


def four(verb: Said) -> list[Said]:
    return [verb] * len(PEOPLE)


def test_of_four_who_pause_one_has_paused_it(under_way):
    one_won(race(four(lambda who: lifecycle.pause(under_way.pk, actor=who))))
    lawful()


def test_of_four_who_resume_one_has_resumed_it(under_way):
    lifecycle.pause(under_way.pk, actor=ALICE)
    one_won(race(four(lambda who: lifecycle.resume(under_way.pk, actor=who))))


def test_of_four_who_abort_one_has_aborted_it(fleet, under_way):
    winner = one_won(race(four(lambda who: lifecycle.abort(under_way.pk, actor=who, reason="no"))))
    fleet.run()
    under_way.refresh_from_db()
    assert under_way.reason == f"aborted by {winner.who}: no"
    lawful()


def test_of_four_who_abandon_one_has_abandoned_it(under_way):
    one_won(race(four(lambda who: lifecycle.abandon(under_way.pk, actor=who, reason="no"))))
    lawful()


def test_of_those_who_retry_or_resume_a_held_step_one_has_let_it_go_on(under_way):
    held(under_way)
    again = [
        lambda who: lifecycle.retry(under_way.pk, actor=who),
        lambda who: lifecycle.resume(under_way.pk, actor=who),
    ]
    one_won(race(again * 2))
    assert Event.objects.filter(kind__in=["deployment.resumed", "deployment.retried"]).count() == 1


def test_of_four_who_exclude_a_host_one_has_excluded_it(fleet, under_way):
    came = race(four(lambda who: lifecycle.exclude(under_way.pk, actor=who, host="staging-2", reason="its disk")))
    winner = one_won(came)
    fleet.run()
    under_way.refresh_from_db()
    assert (under_way.status, under_way.reason) == ("deployed", "every step passed; owed: staging-2")
    assert under_way.targets.get(name="staging-2").why == f"excluded by {winner.who}: its disk"
    assert Event.objects.filter(kind="deployment.excluded").count() == 1


def test_of_four_who_reject_one_has_rejected_it(fleet):
    fleet.environment("staging", hosts=1, approvals=1)
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    one_won(race(four(lambda who: lifecycle.reject(deployment.pk, actor=who, comment="no"))))
    lawful()


def test_of_four_who_retry_a_failed_deployment_one_has_made_a_new_attempt(under_way):
    lifecycle.abandon(under_way.pk, actor=ALICE, reason="no")
    one_won(race(four(lambda who: lifecycle.retry(under_way.pk, actor=who))), losers_hear="{winner} has retried it")
    assert under_way.retries.count() == 1


def test_four_who_roll_back_are_all_given_the_one_rollback(fleet, under_way):
    came = race(four(lambda who: lifecycle.roll_back(under_way.pk, actor=who, reason="bad")))
    rollback = under_way.rollbacks.get()
    assert {one.answer[0].pk for one in came} == {rollback.pk}
    assert [one.answer[1] for one in came].count(True) == 1
    fleet.run()
    lawful()


def test_four_who_promote_are_all_given_the_one_promotion(fleet):
    source = promotable(fleet)
    came = race(four(lambda who: lifecycle.promote(source.pk, actor=who)))
    assert {one.answer[0].pk for one in came} == {source.promotions.get().pk}
    assert [one.answer[1] for one in came].count(True) == 1


def test_four_withdrawals_are_one(fleet):
    version = fleet.version("1.0.0")
    came = race(four(lambda who: registry.withdraw(version.pk, reason=f"by {who.name}", actor=who)))
    [told] = Event.objects.filter(kind="version.withdrawn")
    assert {one.answer.withdrawn_reason for one in came} == {f"by {told.actor}"}


def with_smoke(deployment: Deployment) -> Deployment:
    """Its smoke tests have passed, so that it may be promoted."""
    content = deployment.version.content
    SmokeRun.objects.create(
        subject=deployment.pk,
        content=content,
        tests=[],
        asked_by="ci",
        status="passed",
        verdict="passed",
        not_before=clock.now(),
    )
    return deployment


def promotable(fleet: Fleet) -> Deployment:
    """1.0.0 good in staging and production; 1.1.0 tested in staging."""
    fleet.environment("staging", hosts=1)
    production = fleet.environment("production", hosts=1, promote_from="staging")
    first = with_smoke(fleet.deployed("1.0.0"))
    lifecycle.promote(first.pk, actor=ALICE)
    fleet.run()
    Deployment.objects.filter(installation=production).update(good_at="2026-01-01T00:00:00Z")
    return with_smoke(fleet.deployed("1.1.0"))


def test_a_rollback_of_what_runs_outranks_whoever_stops_it(fleet, under_way):
    came = race(
        [
            lambda who: lifecycle.abort(under_way.pk, actor=who, reason="no"),
            lambda who: lifecycle.roll_back(under_way.pk, actor=who, reason="no"),
            lambda who: lifecycle.pause(under_way.pk, actor=who),
        ]
    )
    told_who_was_first(came, under_way)
    fleet.run()
    assert under_way.rollbacks.get().status == "deployed"
    lawful()


def told_who_was_first(came: list[Came], deployment: Deployment) -> None:
    """Who was refused hears of somebody who was heard, or of how the deployment has ended."""
    deployment.refresh_from_db()
    heard = [one.who for one in came if one.won]
    for one in came:
        if not one.won:
            assert one.refusal is not None and one.refusal.status == 409
            assert any(who in one.sentence for who in heard) or deployment.reason in one.sentence, one.sentence


def test_the_rollback_of_the_current_one_and_the_abort_of_what_runs_over_it(fleet, under_way):
    current = Deployment.objects.get(version__number="1.0.0")
    lifecycle.deploy(fleet.version("1.2.0").pk, "staging", actor=ALICE)
    came = race(
        [
            lambda who: lifecycle.roll_back(current.pk, actor=who, reason="bad", target_version=None),
            lambda who: lifecycle.abort(under_way.pk, actor=who, reason="no"),
            lambda who: lifecycle.abandon(under_way.pk, actor=who, reason="no"),
        ]
    )
    assert any(one.won for one in came)
    fleet.run()
    lawful()
    assert not Deployment.objects.filter(status__in=OPEN).exists()


def test_a_rollback_waits_for_nobody_and_who_waits_goes_on_after_it(fleet, under_way):
    waiting = lifecycle.deploy(fleet.version("1.2.0").pk, "staging", actor=ALICE)
    came = race(
        [
            lambda who: lifecycle.roll_back(under_way.pk, actor=who, reason="bad"),
            lambda who: lifecycle.advance(waiting.pk, "deploy"),
            lambda who: lifecycle.advance(under_way.pk, "deploy"),
        ]
    )
    assert all(one.won for one in came)
    rollback = under_way.rollbacks.get()
    assert (rollback.status, rollback.started_at is not None) == ("in_progress", True)
    Step.objects.filter(status="running").update(lease_until="2026-01-01T00:00:00Z")
    fleet.run()
    waiting.refresh_from_db()
    rollback.refresh_from_db()
    assert (rollback.status, waiting.status) == ("deployed", "deployed")
    assert waiting.started_at > rollback.ended_at
    lawful()


def test_what_is_approved_this_very_moment_is_not_superseded_and_what_is_superseded_is_not_approved(fleet):
    fleet.environment("staging", hosts=1, approvals=1, queue="supersede")
    chance, ends = random.Random(SEED), Counter[str]()
    for number in range(12):
        older = lifecycle.deploy(fleet.version(f"1.{number}.0").pk, "staging", actor=ALICE)
        newer = fleet.version(f"1.{number}.1")
        came = race(
            [
                lambda who, of=older: lifecycle.approve(of.pk, actor=who),
                lambda who, to=newer: lifecycle.deploy(to.pk, "staging", actor=ALICE),
            ],
            chance,
        )
        older.refresh_from_db()
        said_yes = older.approvals.filter(yes=True).exists()
        assert (older.outcome == "superseded") is not said_yes
        for one in came:
            if not one.won:
                assert f"superseded by 1.{number}.1" in one.sentence
        ends[older.outcome or "approved"] += 1
        for left in Deployment.objects.filter(status__in=OPEN):
            lifecycle.abandon(left.pk, actor=ALICE, reason="next")
        lawful()
    print(f"seed {SEED}: {dict(ends)}")


def test_what_starts_while_its_environment_is_edited_runs_by_one_revision_or_the_other(fleet):
    here = fleet.environment("staging", hosts=1)
    chance, ends = random.Random(SEED), Counter[str]()
    for number in range(12):
        deployment = lifecycle.deploy(fleet.version(f"1.{number}.0").pk, "staging", actor=ALICE)
        environment = Environment.objects.get(pk=here.environment_id)
        race(
            [
                lambda who, of=deployment: lifecycle.advance(of.pk, "deploy"),
                lambda who, row=environment: edits.edited(row, changed=["order"], actor=who),
            ],
            chance,
        )
        lifecycle.advance(deployment.pk, "deploy")
        deployment.refresh_from_db()
        environment.refresh_from_db()
        replanned = Event.objects.filter(stream=deployment.stream, kind="deployment.replanned").exists()
        started = Event.objects.get(stream=deployment.stream, kind="deployment.in_progress")
        edited = Event.objects.filter(kind="fleet.edited").order_by("-seq")[0]
        assert replanned is (edited.seq < started.seq)
        assert deployment.revisions["environment"] == environment.revision - (not replanned)
        ends["replanned" if replanned else "as it was"] += 1
        lifecycle.abandon(deployment.pk, actor=ALICE, reason="next")
    print(f"seed {SEED}: {dict(ends)}")


def test_edits_at_the_same_instant_raise_the_revision_once_each(fleet):
    here = fleet.environment("staging", hosts=1)
    was = here.environment.revision
    rows = [Environment.objects.get(pk=here.environment_id) for _ in PEOPLE]
    race([lambda who, row=row: edits.edited(row, changed=["order"], actor=who) for row in rows])
    assert Environment.objects.get(pk=here.environment_id).revision == was + len(PEOPLE)


def test_of_two_who_exclude_the_last_two_that_serve_one_is_refused(fleet, under_way):
    came = race(
        [
            lambda who: lifecycle.exclude(under_way.pk, actor=who, host="staging-2", reason="its disk"),
            lambda who: lifecycle.exclude(under_way.pk, actor=who, host="staging-3", reason="its disk"),
        ]
    )
    one_won(came, losers_hear="is the last host that serves")
    fleet.run()
    assert under_way.targets.filter(state="owed").count() == 1


def test_a_version_withdrawn_while_it_is_asked_for_is_never_deployed_afterwards(fleet):
    fleet.environment("staging", hosts=1)
    chance, ends = random.Random(SEED), Counter[str]()
    for number in range(12):
        version = fleet.version(f"1.{number}.0")
        race(
            [
                lambda who, of=version: lifecycle.deploy(of.pk, "staging", actor=who),
                lambda who, of=version: registry.withdraw(of.pk, reason=f"{who.name} found a hole", actor=who),
            ],
            chance,
        )
        fleet.run()
        deployment = Deployment.objects.filter(version=version).first()
        if deployment is None:
            ends["refused"] += 1
        else:
            assert (deployment.status, deployment.outcome) == ("failed", "stale")
            assert "found a hole" in deployment.reason
            ends["stale"] += 1
    print(f"seed {SEED}: {dict(ends)}")


def staging_of(*names: str) -> Declaration:
    """Staging with these hosts and the shop on all of them."""
    tree = copy.deepcopy(GOOD)
    hosts = [{"name": name, "address": name, "user": "deploy", "key": "agent"} for name in names]
    tree["environments"] = [tree["environments"][0] | {"hosts": hosts}]
    tree["installations"] = tree["installations"][:1]
    return check(tree)


def test_a_host_is_retired_before_a_start_or_not_at_all_while_it_runs(fleet):
    chance, ends = random.Random(SEED), Counter[str]()
    apply(staging_of("s1", "s2"), actor=ALICE)
    Host.objects.update(fingerprint="SHA256:" + "a" * 43)
    for number in range(12):
        deployment = lifecycle.deploy(fleet.version(f"1.{number}.0").pk, "staging", actor=ALICE)
        came = race(
            [
                lambda who, of=deployment: lifecycle.advance(of.pk, "deploy"),
                lambda who: apply(staging_of("s1"), actor=who),
            ],
            chance,
            jitter=0.1,
        )
        lifecycle.advance(deployment.pk, "deploy")
        deployment.refresh_from_db()
        assert deployment.status == "in_progress"
        living = set(Host.objects.filter(state="active").values_list("name", flat=True))
        assert set(deployment.targets.values_list("name", flat=True)) == living
        refused = [one for one in came if not one.won]
        assert len(refused) == (living == {"s1", "s2"})
        assert all(str(deployment.pk) in str(one.refusal.errors) for one in refused if one.refusal)
        ends["refused" if refused else "retired"] += 1
        lifecycle.abandon(deployment.pk, actor=ALICE, reason="next")
        apply(staging_of("s1", "s2"), actor=ALICE)
    print(f"seed {SEED}: {dict(ends)}")


@pytest.mark.parametrize("seed", range(SEED, SEED + 4))
def test_rounds_of_promote_abort_and_rollback_have_one_winner_each(fleet, seed):
    source = promotable(fleet)
    chance, ends = random.Random(seed), Counter[str]()
    for _ in range(ROUNDS // 4):
        begun = Deployment.objects.count()
        promotion, _ = lifecycle.promote(source.pk, actor=ALICE)
        bring(fleet, promotion, chance.choice(STATES))
        came = race(
            [
                lambda who, of=promotion: lifecycle.roll_back(of.pk, actor=who, reason="bad")[0],
                lambda who, of=promotion: lifecycle.abort(of.pk, actor=who, reason="wrong"),
                lambda who: lifecycle.promote(source.pk, actor=who)[0],
            ],
            chance,
        )
        told_who_was_first(came, promotion)
        assert source.promotions.filter(status__in=OPEN).count() <= 1
        assert promotion.rollbacks.count() <= 1
        for left in Deployment.objects.filter(status="pending", abort_reason=""):
            lifecycle.abort(left.pk, actor=ALICE, reason="next")
        fleet.run()
        played = Deployment.objects.order_by("created_at", "id")[begun:]
        lawful(played)
        assert not Deployment.objects.filter(status__in=OPEN).exists()
        ends[how_it_ended(promotion)] += 1
        on_the_record(fleet)
    print(f"seed {seed}, {ROUNDS // 4} rounds: {dict(ends)}")


def bring(fleet: Fleet, deployment: Deployment, state: str) -> None:
    if state == "changing":
        fleet.play_until(lambda: deployment.targets.filter(claimed_at__isnull=False).exists())
    elif state == "deployed":
        fleet.run()


def how_it_ended(deployment: Deployment) -> str:
    """Its one end, in which the one who ended it is named."""
    deployment.refresh_from_db()
    ends = Event.objects.filter(
        stream=deployment.stream, kind__in=[f"deployment.{word}" for word in ("failed", "rolled_back")]
    )
    if deployment.status == "deployed":
        assert not ends.exists()
        return "deployed"
    [end] = ends
    assert any(f"by {who.name}" in end.data["reason"] for who in (*PEOPLE, ALICE)) or deployment.status == "rolled_back"
    return deployment.outcome or deployment.status


def on_the_record(fleet: Fleet) -> None:
    """Every host runs what we say it runs."""
    for endpoint in Endpoint.objects.select_related("host"):
        assert fleet.hosts.at(endpoint.host.name).site(fleet.root).slots["main"] == endpoint.recorded
        assert endpoint.owed == ""
