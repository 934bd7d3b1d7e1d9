"""Two people who say different things of one deployment at the same instant: what the order of their words allows."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from itertools import combinations

import pytest
from django.db import connection, transaction

from aureus.journal.actor import Actor
from aureus.journal.models import Event
from deployments import edits, lifecycle
from deployments.engine.status import OPEN
from deployments.lifecycle.people import WAITS
from deployments.models import Deployment, Environment, Step
from releases import registry
from tests.conftest import _delete_rows, wait_until
from tests.deployments.conftest import ALICE, Fleet
from tests.deployments.racing import PEOPLE, Came, lawful, race
from tests.deployments.test_races import ROUNDS, SEED, changing, promotable, with_smoke

HOST = "staging-2"
VERBS: dict[str, Callable[..., object]] = {
    "pause": lifecycle.pause,
    "resume": lifecycle.resume,
    "abort": lambda of, actor: lifecycle.abort(of, actor=actor, reason="no"),
    "abandon": lambda of, actor: lifecycle.abandon(of, actor=actor, reason="no"),
    "exclude": lambda of, actor: lifecycle.exclude(of, actor=actor, host=HOST, reason="its disk"),
    "retry": lifecycle.retry,
    "promote_full": lambda of, actor: lifecycle.promote_full(of, actor=actor, reason="enough"),
}
HEARD_AS = {
    "pause": "paused",
    "resume": "resumed",
    "abort": "abort_asked",
    "abandon": "failed",
    "exclude": "excluded",
    "retry": "retried",
    "promote_full": "promoted_full",
}
PAIRS = [*combinations(VERBS, 2), ("promote_full", "promote_full")]
"""Of the others four have said the same in test_races."""
EACH = max(1, ROUNDS // 100)
"""Rounds of each pair."""


def held_step(fleet: Fleet, chance: random.Random) -> Step:
    """A step that waits for a person, of 1.1.0 on its way over a good 1.0.0: of it everything may be said."""
    here = fleet.environment("staging", hosts=3)
    fleet.deployed("1.0.0")
    policy = {**here.environment.policy, "bake": 10.0}
    Environment.objects.filter(pk=here.environment_id).update(policy=policy)
    deployment = changing(fleet, "1.1.0")
    step = chance.choice(list(deployment.steps.filter(status="pending").order_by("pk")))
    Step.objects.filter(pk=step.pk).update(held=True, attempts=1, reason="the worker that ran it was lost")
    return step


def is_heard_after(first: str, second: str, step: Step) -> bool:
    """Whether the second word has a meaning still, when the first was heard."""
    if first == "abandon":
        return second == "retry"  # of what has failed: a new attempt
    if first == "abort":
        return second == "abandon"
    gone = (first == "exclude" and step.target == HOST) or (first == "promote_full" and step.kind in WAITS)
    if second in ("resume", "retry"):
        return not gone and first not in ("resume", "retry")
    return second != first


def in_order(came: list[Came], said: tuple[str, str], deployment: Deployment) -> tuple[Came, Came]:
    """Who was heard first, by the deployment's own events, and the other one."""
    words = {f"deployment.{HEARD_AS[verb]}": verb for verb in said}
    first = Event.objects.filter(stream=deployment.stream, kind__in=words).order_by("seq")[0]
    [one] = [one for one in came if one.who == first.actor]
    [other] = [other for other in came if other is not one]
    return one, other


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_of_two_words_the_first_is_heard_and_the_second_if_it_has_a_meaning_still(transactional_db, pair):
    chance, ends = random.Random(f"{SEED} {pair}"), Counter[str]()
    for number in range(EACH):
        if number:
            _delete_rows()
        fleet = Fleet()
        step = held_step(fleet, chance)
        deployment = step.deployment
        of = deployment.pk
        came = race([lambda who, of=of, verb=VERBS[name]: verb(of, actor=who) for name in pair], chance)
        verb_of = {who.name: name for who, name in zip(PEOPLE, pair, strict=False)}
        first, second = in_order(came, pair, deployment)
        said = f"{verb_of[first.who]}, then {verb_of[second.who]} (held: {step.kind} {step.target})"
        assert first.won, said
        assert second.won is is_heard_after(verb_of[first.who], verb_of[second.who], step), (said, second)
        if second.refusal is not None:
            assert second.refusal.status == 409, said
            assert first.who in second.sentence, (said, second.sentence)
        ends[f"{said.split(' (')[0]}: {'both' if second.won else 'one'} heard"] += 1
        lawful()
        if chance.random() < 0.4:  # it is most of what a round costs
            comes_to_its_end(fleet)
    print(f"seed {SEED}: {dict(ends)}")


def comes_to_its_end(fleet: Fleet) -> None:
    """Whatever was said, everything ends, with what people still have to say."""
    for left in Deployment.objects.filter(status__in=OPEN, abort_reason=""):
        if left.paused_by:
            lifecycle.resume(left.pk, actor=ALICE)
        if left.steps.filter(status="pending", held=True).exists():
            lifecycle.retry(left.pk, actor=ALICE)
        lifecycle.advance(left.pk, left.lane)
        if left.steps.filter(kind__in=WAITS, status="pending").exists():
            lifecycle.promote_full(left.pk, actor=ALICE, reason="the test need not wait")
    Step.objects.filter(status="running").update(lease_until="2026-01-01T00:00:00Z")
    fleet.run()
    assert not Deployment.objects.filter(status__in=OPEN).exists()
    lawful()


def test_a_version_withdrawn_as_it_starts_was_started_before_or_is_never_started(fleet):
    fleet.environment("staging", hosts=1)
    chance, ends = random.Random(SEED), Counter[str]()
    for number in range(8):
        version = fleet.version(f"1.{number}.0")
        deployment = lifecycle.deploy(version.pk, "staging", actor=ALICE)
        came = race(
            [
                lambda who, of=deployment: lifecycle.advance(of.pk, "deploy"),
                lambda who, of=version: registry.withdraw(of.pk, reason=f"{who.name} found a hole", actor=who),
            ],
            chance,
        )
        assert all(one.won for one in came)
        ends[started_or_stale(deployment)] += 1
        lawful()
    print(f"seed {SEED}: {dict(ends)}")


def started_or_stale(deployment: Deployment) -> str:
    lifecycle.advance(deployment.pk, "deploy")
    deployment.refresh_from_db()
    if deployment.status == "in_progress":
        lifecycle.abandon(deployment.pk, actor=ALICE, reason="next")
        return "started"
    assert (deployment.status, deployment.outcome, deployment.started_at) == ("failed", "stale", None)
    assert "found a hole" in deployment.reason
    return "stale"


def test_what_is_withdrawn_while_a_start_waits_for_an_edit_is_not_started(fleet):
    here = fleet.environment("staging", hosts=1)
    version = fleet.version("1.0.0")
    deployment = lifecycle.deploy(version.pk, "staging", actor=ALICE)
    held = threading.Event()

    def withdraw(who: Actor) -> None:
        """With the environment in hand, once the start waits for it."""
        with transaction.atomic():
            Environment.objects.select_for_update().get(pk=here.environment_id)
            held.set()
            wait_until(somebody_waits_for_a_lock, seconds=10, what="the start waits for the environment")
            registry.withdraw(version.pk, reason="found a hole", actor=who)

    def start(who: Actor) -> None:
        assert held.wait(10)
        lifecycle.advance(deployment.pk, "deploy")

    came = race([withdraw, start])
    assert all(one.won for one in came)
    assert started_or_stale(deployment) == "stale"


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


def test_what_is_approved_as_it_is_withdrawn_is_never_started(fleet):
    fleet.environment("staging", hosts=1, approvals=1)
    chance, ends = random.Random(SEED), Counter[str]()
    for number in range(8):
        version = fleet.version(f"1.{number}.0")
        deployment = lifecycle.deploy(version.pk, "staging", actor=ALICE)
        lifecycle.advance(deployment.pk, "deploy")
        came = race(
            [
                lambda who, of=deployment: lifecycle.approve(of.pk, actor=who),
                lambda who, of=version: registry.withdraw(of.pk, reason=f"{who.name} found a hole", actor=who),
                lambda who, of=deployment: lifecycle.advance(of.pk, "deploy"),
            ],
            chance,
        )
        for one in came:
            assert one.won or "found a hole" in one.sentence, one.sentence
        ends[f"{'approved' if all(one.won for one in came) else 'too late'}, {started_or_stale(deployment)}"] += 1
        lawful()
    print(f"seed {SEED}: {dict(ends)}")


def test_what_is_withdrawn_as_it_is_promoted_never_comes_to_production(fleet):
    chance, ends = random.Random(SEED), Counter[str]()
    source = promotable(fleet)
    for number in range(2, 8):
        came = race(
            [
                lambda who, of=source: lifecycle.promote(of.pk, actor=who)[0],
                lambda who, of=source: registry.withdraw(of.version_id, reason=f"{who.name} found a hole", actor=who),
            ],
            chance,
        )
        promoted, withdrawn = sorted(came, key=lambda one: one.who)
        assert withdrawn.won
        if promoted.won:
            ends[started_or_stale(promoted.answer)] += 1
        else:
            assert promoted.refusal is not None and promoted.refusal.status == 409
            assert "found a hole" in promoted.sentence
            ends["refused"] += 1
        lawful()
        fresh = lifecycle.deploy(fleet.version(f"1.{number}.0").pk, "staging", actor=ALICE)
        fleet.run()
        source = with_smoke(fresh)
    assert not Deployment.objects.filter(installation__environment__name="production", status="in_progress").exists()
    print(f"seed {SEED}: {dict(ends)}")


def test_what_is_approved_as_its_environment_is_edited_runs_by_the_approved_plan_or_is_asked_for_again(fleet):
    here = fleet.environment("staging", hosts=1, approvals=1)
    chance, ends = random.Random(SEED), Counter[str]()
    for number in range(8):
        deployment = lifecycle.deploy(fleet.version(f"1.{number}.0").pk, "staging", actor=ALICE)
        lifecycle.advance(deployment.pk, "deploy")
        environment = Environment.objects.get(pk=here.environment_id)

        def approve_and_start(who: Actor, of: Deployment = deployment) -> None:
            lifecycle.approve(of.pk, actor=who)
            lifecycle.advance(of.pk, "deploy")

        came = race(
            [approve_and_start, lambda who, row=environment: edits.edited(row, changed=["order"], actor=who)], chance
        )
        assert all(one.won for one in came)
        lifecycle.advance(deployment.pk, "deploy")
        deployment.refresh_from_db()
        approved = deployment.approvals.filter(yes=True, plan_hash=deployment.plan_hash).exists()
        assert (deployment.status == "in_progress") is approved
        assert approved or deployment.status == "awaiting_approval"
        ends["as approved" if approved else "asked for again"] += 1
        lifecycle.abandon(deployment.pk, actor=ALICE, reason="next")
    print(f"seed {SEED}: {dict(ends)}")
