"""Facts in, one action out: the table of every decision."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.engine.decide import (
    Begin,
    Finish,
    GiveUp,
    Replan,
    Run,
    Wait,
    decide,
    left_behind,
    newly_owed,
)
from deployments.engine.facts import Deployment, OnFailure, Stage, Start, Step, Target
from deployments.engine.settle import after, backoff, claimed, failed, given_up, passed, pending
from deployments.engine.status import Outcome, Status, StepStatus, TargetState

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SOON, PAST = NOW + timedelta(seconds=10), NOW - timedelta(seconds=10)
LATER = NOW + timedelta(days=3)


def step(number: int, *, stage: int = 0, **more: Any) -> Step:
    return Step(str(number), stage, "any", **{"target": f"h{number}", **more})


def target(number: int, **more: Any) -> Target:
    facts: dict[str, Any] = {"to_content": "b", "from_content": "a", "back_content": "a", "serving": True}
    return Target(f"h{number}", **{**facts, **more})


ONE_STAGE = (Stage(0, "first"),)


def deployment(
    *steps: Step, stages: tuple[Stage, ...] = ONE_STAGE, status: Status = Status.IN_PROGRESS, **more: Any
) -> Deployment:
    targets = more.pop("targets", tuple(target(n) for n in (1, 2, 3)))
    return Deployment("d", status, tuple(stages), tuple(steps), targets, **more)


def waiting(**start: Any) -> Deployment:
    return deployment(step(1), status=Status.PENDING, start=Start(**start))


RUNNING: dict[str, Any] = {"status": StepStatus.RUNNING, "lease_until": SOON, "attempts": 1}
LOST: dict[str, Any] = {"status": StepStatus.RUNNING, "lease_until": PAST, "attempts": 1}
FAILED: dict[str, Any] = {"status": StepStatus.FAILED, "reason": "it broke"}
DONE: dict[str, Any] = {"status": StepStatus.PASSED}


@pytest.mark.parametrize(
    ("facts", "action"),
    [
        (waiting(), Begin()),
        (waiting(rejected="no"), Finish(Status.FAILED, "no", Outcome.REJECTED)),
        (waiting(broken="withdrawn"), Finish(Status.FAILED, "withdrawn", Outcome.STALE)),
        (waiting(plan_is_current=False), Replan()),
        (waiting(approvals_needed=2, approvals=1), Wait(None, "waits for 1 approval", Status.AWAITING_APPROVAL)),
        (waiting(approvals_needed=2), Wait(None, "waits for 2 approvals", Status.AWAITING_APPROVAL)),
        (
            waiting(approvals_needed=1, note="that of bob expired", look_at=SOON),
            Wait(SOON, "waits for 1 approval: that of bob expired", Status.AWAITING_APPROVAL),
        ),
        (waiting(behind="behind d1", look_at=SOON), Wait(SOON, "behind d1", Status.PENDING)),
        (waiting(held="look first", look_at=SOON), Wait(SOON, "look first", Status.PENDING)),
        (waiting(frozen_until=LATER, frozen="frozen", look_at=SOON), Wait(SOON, "frozen", Status.PENDING)),
        (waiting(frozen_until=SOON, frozen="frozen", look_at=LATER), Wait(SOON, "frozen", Status.PENDING)),
        (waiting(look_at=SOON), Begin()),
        (waiting(behind="behind d1"), Wait(None, "behind d1", Status.PENDING)),
        (waiting(held="look first"), Wait(None, "look first", Status.PENDING)),
        (waiting(frozen_until=SOON, frozen="frozen"), Wait(SOON, "frozen", Status.PENDING)),
        (waiting(frozen_until=PAST, frozen="frozen"), Begin()),
        (replace(waiting(), paused="bob"), Wait(None, "paused by bob", Status.PENDING)),
        (replace(waiting(), aborting="bob aborted"), Finish(Status.FAILED, "bob aborted", Outcome.CANCELLED)),
        (replace(waiting(), status=Status.DEPLOYED), Wait(None, "it has ended")),
    ],
)
def test_only_people_and_time_hold_a_start_and_a_broken_fact_ends_it(facts, action):
    assert decide(facts, NOW) == action


@pytest.mark.parametrize(
    "obstacle",
    [{"approvals_needed": 3}, {"held": "look first"}, {"frozen_until": SOON, "frozen": "frozen", "look_at": SOON}],
)
def test_a_rollback_is_never_held_by_approvals_holds_or_freezes(obstacle):
    assert decide(replace(waiting(**obstacle), is_rollback=True, paused="bob"), NOW) == Begin()


def test_ready_steps_of_the_first_unfinished_stage_run_side_by_side_in_its_lane():
    stages = (Stage(0, "first"), Stage(1, "second", lane="transfer"))
    facts = deployment(step(1, **DONE), step(2, stage=1), step(3, stage=1), stages=stages)
    assert decide(facts, NOW) == Run(("2", "3"), "transfer")


def test_a_step_that_waits_its_time_is_waited_for_with_its_reason():
    facts = deployment(step(1, not_before=SOON, reason="restarting", attempts=1))
    assert decide(facts, NOW) == Wait(SOON, "restarting")


def test_a_held_step_waits_for_somebody():
    assert decide(deployment(step(1, held=True, reason="look at the data")), NOW) == Wait(None, "look at the data")


def test_a_step_in_a_workers_hands_is_waited_for_until_its_lease_ends():
    assert decide(deployment(step(1, **RUNNING)), NOW) == Wait(SOON, "a worker is at it")


def test_a_lost_step_runs_again_and_after_too_many_losses_is_given_up():
    assert decide(deployment(step(1, **LOST)), NOW) == Run(("1",), "deploy")
    action = decide(deployment(step(1, **LOST, failures=2)), NOW)
    assert action == GiveUp(("1",), "the worker that ran it was lost again and again")


def test_a_step_past_its_own_deadline_is_given_up_with_what_was_last_seen():
    late = step(1, attempts=3, deadline_at=PAST, reason="h1 answers 503")
    assert decide(deployment(late), NOW) == GiveUp(("1",), "h1 answers 503")
    assert decide(deployment(replace(late, reason="")), NOW) == GiveUp(("1",), "it was not done by its deadline")
    assert decide(deployment(replace(late, held=True)), NOW) == Wait(None, "h1 answers 503")


def test_a_failure_beyond_what_the_stage_bears_ends_it_and_goes_back_where_something_was_changed():
    changed = (target(1, claimed=True), target(2), target(3))
    action = decide(deployment(step(1, **FAILED), step(2), targets=changed), NOW)
    assert action == Finish(Status.FAILED, "first: it broke", Outcome.ERROR, roll_back=True)


@pytest.mark.parametrize(
    "more",
    [
        {"targets": (target(1), target(2))},
        {"targets": (target(1, claimed=True, back_content=None),)},
        {"targets": (target(1, claimed=True),), "is_rollback": True},
        {"targets": (target(1, claimed=True),), "may_roll_back": False},
    ],
)
def test_nothing_is_rolled_back_where_nothing_changed_or_there_is_no_way_back(more):
    action = decide(deployment(step(1, **FAILED), **more), NOW)
    assert action == Finish(Status.FAILED, "first: it broke", Outcome.ERROR, roll_back=False)


def test_a_failure_of_the_whole_fleet_is_never_borne():
    stage = Stage(0, "first", max_failures=5)
    action = decide(deployment(step(1, target=None, **FAILED), stages=(stage,)), NOW)
    assert isinstance(action, Finish)


def test_a_borne_failure_makes_its_host_owed_and_the_deployment_goes_on_without_it():
    stages = (Stage(0, "first", max_failures=1), Stage(1, "second", max_failures=1))
    facts = deployment(step(1, **FAILED), step(2, **DONE), step(1, stage=1), step(2, stage=1), stages=stages)
    assert newly_owed(facts) == {"h1"}
    owed = replace(facts, targets=(target(1, state=TargetState.OWED), target(2), target(3)))
    assert decide(owed, NOW) == Run(("2",), "deploy")
    assert newly_owed(replace(facts, aborting="bob")) == frozenset()


def test_failures_are_counted_by_host_over_all_batches():
    stages = (Stage(0, "first", max_failures=1), Stage(1, "second", max_failures=1))
    facts = deployment(
        step(1, **FAILED), step(2, stage=1, **FAILED), stages=stages, targets=(target(1, state=TargetState.OWED),)
    )
    assert isinstance(decide(facts, NOW), Finish)


def test_no_more_hosts_are_taken_out_than_the_guard_allows():
    stage = Stage(0, "out", min_serving=1)
    steps = [step(n, removes=(f"h{n}",)) for n in (1, 2, 3)]
    assert decide(deployment(*steps, stages=(stage,)), NOW) == Run(("1", "2"), "deploy")


def test_a_guard_that_cannot_be_kept_ends_the_deployment():
    stage = Stage(0, "out", min_serving=2)
    few = (target(1), target(2, serving=False), target(3, serving=False))
    action = decide(deployment(step(1, removes=("h1",)), stages=(stage,), targets=few), NOW)
    assert isinstance(action, Finish)
    assert "only 1 host(s) serve" in action.why


def test_a_step_that_takes_nobody_out_of_service_passes_any_guard():
    stage = Stage(0, "out", min_serving=3)
    down = (target(1, serving=False),)
    assert decide(deployment(step(1, removes=("h1",)), stages=(stage,), targets=down), NOW) == Run(("1",), "deploy")


def test_while_paused_nothing_new_begins():
    assert decide(deployment(step(1), paused="bob"), NOW) == Wait(None, "paused by bob")
    assert decide(deployment(step(1, **RUNNING), step(2), paused="bob"), NOW) == Wait(SOON, "paused by bob")


def test_an_abort_waits_for_workers_stops_what_was_lost_and_goes_back():
    changed = (target(1, claimed=True),)
    facts = deployment(step(1, **RUNNING), targets=changed, aborting="bob")
    assert decide(facts, NOW) == Wait(SOON, "stopping: bob")
    assert decide(replace(facts, steps=(step(1, **LOST),)), NOW) == Run(("1",), "deploy")
    assert decide(replace(facts, steps=(step(1),)), NOW) == Finish(Status.FAILED, "bob", Outcome.ABORTED, True)


def test_an_abort_while_preparing_just_ends():
    assert decide(deployment(step(1), aborting="bob"), NOW) == Finish(Status.FAILED, "bob", Outcome.ABORTED, False)


def test_when_every_step_has_passed_it_is_deployed_and_names_whom_it_owes():
    assert decide(deployment(step(1, **DONE)), NOW) == Finish(Status.DEPLOYED, "every step passed")
    there = {"claimed": True, "state": TargetState.ON_TO}
    some = (target(1, claimed=True, state=TargetState.OWED), target(2, **there), target(3, **there, serving=False))
    action = decide(deployment(step(2, **DONE), targets=some), NOW)
    assert action == Finish(Status.DEPLOYED, "every step passed; owed: h1, h3")


def test_what_failed_without_stopping_anything_is_named_at_the_end():
    stages = (*ONE_STAGE, Stage(1, "after deployment", on_failure=OnFailure.GO_ON))
    failed_hook = step(2, stage=1, target=None, **FAILED)
    assert decide(deployment(step(1, **DONE), failed_hook, stages=stages), NOW) == Finish(
        Status.DEPLOYED, "every step passed; failed, and nothing depends on it: after deployment"
    )


def test_when_no_host_could_be_brought_there_it_has_failed():
    none = (target(1, claimed=True, state=TargetState.OWED),)
    action = decide(
        deployment(step(1, **FAILED), stages=(Stage(0, "x", on_failure=OnFailure.GO_ON),), targets=none), NOW
    )
    assert action == Finish(
        Status.FAILED, "no host could be brought where it belongs; owed: h1", Outcome.ERROR, roll_back=False
    )


def test_what_was_changed_and_not_proven_is_left_behind():
    on_to = {"claimed": True, "state": TargetState.ON_TO}
    some = (target(1, claimed=True), target(2, **on_to), target(3), target(4, **on_to, serving=False))
    assert left_behind(deployment(targets=some)) == {"h1", "h4"}


def test_the_side_that_rests_is_left_behind_only_where_it_was_changed_and_not_proven():
    rests = {"claimed": True, "serving": False, "resting": True}
    some = (
        target(1, **rests),
        target(2, **rests, state=TargetState.ON_TO),
        target(3, **rests, state=TargetState.CHANGED),
    )
    assert left_behind(deployment(targets=some)) == {"h3"}


def test_where_no_host_that_was_to_serve_arrived_the_side_that_rests_does_not_count():
    lost = target(1, claimed=True, state=TargetState.OWED)
    rested = target(2, claimed=True, serving=False, resting=True, state=TargetState.ON_TO)
    assert decide(deployment(targets=(lost, rested)), NOW) == Finish(
        Status.FAILED, "no host could be brought where it belongs; owed: h1", Outcome.ERROR, roll_back=False
    )
    nobody = target(2, claimed=True, serving=False, resting=True, state=TargetState.OWED)
    action = decide(deployment(targets=(target(1), nobody)), NOW)
    assert isinstance(action, Finish) and action.status is Status.FAILED


def test_a_failed_try_is_repeated_with_backoff_until_the_tries_are_used_up():
    stage, trying = Stage(0, "x", retries=1), step(1, **RUNNING)
    once = after(trying, stage, failed("no"), NOW)
    assert (once.status, once.failures, once.not_before) == (StepStatus.PENDING, 1, NOW + timedelta(seconds=1))
    twice = after(replace(once, status=StepStatus.RUNNING), stage, failed("no"), NOW)
    assert twice.status is StepStatus.FAILED
    assert after(trying, stage, failed("no", permanent=True), NOW).status is StepStatus.FAILED


def test_patience_outlasts_the_tries():
    stage, trying = Stage(0, "x", retries=0, patience=600), step(1, **RUNNING)
    once = after(trying, stage, failed("away", permanent=True), NOW)
    assert once.status is StepStatus.PENDING
    late = after(replace(once, status=StepStatus.RUNNING), stage, failed("away"), NOW + timedelta(seconds=600))
    assert late.status is StepStatus.FAILED


def test_where_going_either_way_would_harm_a_failure_is_held_for_a_person():
    stage = Stage(0, "migrate", on_failure=OnFailure.HOLD, retries=0)
    held = after(step(1, **RUNNING), stage, failed("half done"), NOW)
    assert (held.status, held.held) == (StepStatus.PENDING, True)
    assert given_up(step(1, **LOST), stage, "lost").held


def test_an_answer_of_not_yet_begins_the_count_of_failures_in_a_row_anew():
    stage, trying = Stage(0, "x"), step(1, **RUNNING, failures=1, failing_since=PAST)
    later = after(trying, stage, pending("starting", SOON), NOW)
    assert (later.failing_since, later.not_before, later.held) == (None, SOON, False)
    assert after(trying, stage, pending("for a person", None), NOW).held
    assert after(trying, stage, passed(), NOW).status is StepStatus.PASSED


def test_the_claim_of_a_lost_step_counts_the_loss():
    again = claimed(step(1, **LOST), fence=7, lease_until=SOON, deadline_at=SOON, now=NOW)
    assert (again.failures, again.attempts, again.failing_since, again.fence) == (1, 2, NOW, 7)
    first = claimed(step(1), fence=7, lease_until=SOON, deadline_at=SOON, now=NOW)
    assert (first.failures, first.failing_since) == (0, None)


def test_backoff_doubles_up_to_half_a_minute():
    assert [backoff(n) for n in (1, 2, 3, 6, 9)] == [1, 2, 4, 30, 30]
