"""The pure core of runs: what a table of small workflows must do, and what holds in every random life."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from health.runs.choosing import chosen
from health.runs.decide import Compensate, Finish, GiveUp, Run, Wait, decide
from health.runs.facts import Cause, RunStatus, TaskStatus, undo_of
from health.runs.filling import LARGEST, Unfilled, filled
from health.runs.plan import LOST_ATTEMPTS, Way
from health.runs.settle import Answer, Result, after
from releases.spec import parse
from tests.health.runs.player import BEGAN, LEASE, Player, workflow

LIVES = 150


def task(name, *needs, **fields):
    return {"id": name, "tool": "act", "dependsOn": list(needs), **fields}


def player(*tasks, **how):
    return Player({"id": "w", "name": "W", "tasks": list(tasks)}, random.Random(1), faults=0, **how)


def begin(run):
    """The ids that are begun next, which then are."""
    action = decide(run.plan, run.facts, run.now)
    assert isinstance(action, Run), action
    for way, name in action.tasks:
        run.begin(way, name)
    return [name for _, name in action.tasks]


def answer(run, name, result=Result.PASSED, way=Way.FORWARD, **how):
    run.now += timedelta(milliseconds=10)
    part = after(run.plan, run.part(way, name), Answer(result, **how), run.now, 0.0)
    run.write({(way, name): part})
    return part


def settled(run):
    """The next action that is no skipping, once all skipping has been written."""
    while True:
        action = decide(run.plan, run.facts, run.now)
        if type(action).__name__ != "Skip":
            return action
        run.apply(action)


def test_what_is_independent_begins_together_and_a_join_waits_for_all():
    run = player(task("a"), task("b"), task("join", "a", "b"))
    assert begin(run) == ["a", "b"]
    answer(run, "a")
    assert isinstance(decide(run.plan, run.facts, run.now), Wait)
    answer(run, "b")
    assert begin(run) == ["join"]
    answer(run, "join")
    assert decide(run.plan, run.facts, run.now) == Finish(RunStatus.PASSED, "every task that was needed has passed")


CHOICE = task(
    "d", type="decision", branches=[{"when": {"field": "n", "atLeast": 5}, "then": ["big"]}], otherwise=["small"]
)


@pytest.mark.parametrize(("n", "way", "other"), [(5, "big", "small"), (4, "small", "big"), (None, "small", "big")])
def test_a_decision_opens_one_branch_and_the_join_goes_on_with_it(n, way, other):
    run = player(CHOICE, task("big", "d"), task("small", "d"), task("always", "d"), task("join", "big", "small"),
                 task("behind", other))  # fmt: skip
    begin(run)
    answer(run, "d", output={"n": n})
    assert settled(run) == Run(
        tuple((Way.FORWARD, name) for name in sorted((way, "always"), key=["big", "small", "always"].index))
    )
    assert begin(run) == sorted((way, "always"), key=["big", "small", "always"].index)
    for name in (way, "always"):
        answer(run, name)
    assert begin(run) == ["join"]
    assert run.part(Way.FORWARD, other).status is TaskStatus.SKIPPED
    assert run.part(Way.FORWARD, "behind").status is TaskStatus.SKIPPED


def test_a_task_that_a_decision_names_does_not_run_unpicked_though_something_else_before_it_passed():
    run = player(CHOICE, task("a"), task("big", "d", "a"), task("small", "d"))
    begin(run)
    answer(run, "a")
    answer(run, "d", output={})
    assert settled(run) == Run(((Way.FORWARD, "small"),))


def test_a_failed_try_is_tried_again_after_a_growing_pause_and_chance_shortens_it():
    retry = {"maxAttempts": 4, "backoffMs": 1000, "backoffMultiplier": 3, "maxBackoffMs": 5000, "jitter": 0.5}
    run = player(task("a", retry=retry))
    for seconds in (1, 3, 5):
        assert begin(run) == ["a"]
        part = answer(run, "a", Result.FAILED)
        assert (part.status, part.not_before - run.now) == (TaskStatus.PENDING, timedelta(seconds=seconds))
        assert decide(run.plan, run.facts, run.now) == Wait(part.not_before)
        assert after(
            run.plan, replace(part, failures=part.failures - 1), Answer(Result.FAILED), run.now, 1.0
        ).not_before == (run.now + timedelta(seconds=seconds / 2))
        run.now = part.not_before
    begin(run)
    assert answer(run, "a", Result.FAILED).status is TaskStatus.FAILED


def test_what_would_fail_alike_is_not_tried_again():
    run = player(task("a", retry={"maxAttempts": 4}))
    begin(run)
    assert answer(run, "a", Result.FAILED, final=True).status is TaskStatus.FAILED


UNDO = {"compensationAction": {"tool": "undo"}}


def test_after_a_failure_nothing_begins_and_what_passed_is_taken_back_last_first():
    run = player(task("a", **UNDO), task("b", **UNDO), task("none"), task("bad", "a"), task("later", "b"))
    begin(run)
    for name in ("b", "a", "none"):
        answer(run, name)
    run.begin(Way.FORWARD, "bad")
    answer(run, "bad", Result.FAILED)
    action = decide(run.plan, run.facts, run.now)
    assert action == Compensate(("a", "b"), "task bad failed")
    run.apply(action)
    assert run.part(Way.FORWARD, "later").status is TaskStatus.SKIPPED
    for name in ("a", "b"):
        assert decide(run.plan, run.facts, run.now) == Run(((Way.BACK, name),))
        run.begin(Way.BACK, name)
        answer(run, name, way=Way.BACK)
    assert decide(run.plan, run.facts, run.now) == Finish(RunStatus.FAILED, "task bad failed")


def test_who_is_still_under_way_is_waited_for_before_anything_is_taken_back():
    run = player(task("a", **UNDO), task("bad"))
    begin(run)
    answer(run, "bad", Result.FAILED)
    assert decide(run.plan, run.facts, run.now) == Wait(BEGAN + LEASE)
    answer(run, "a")
    assert decide(run.plan, run.facts, run.now) == Compensate(("a",), "task bad failed")


def test_a_compensation_that_fails_for_good_does_not_keep_the_others_from_running_and_is_told():
    run = player(task("a", **UNDO), task("b", "a", **UNDO), task("bad", "b"))
    for name in ("a", "b"):
        begin(run)
        answer(run, name)
    begin(run)
    answer(run, "bad", Result.FAILED)
    run.apply(decide(run.plan, run.facts, run.now))
    run.begin(Way.BACK, "b")
    assert answer(run, "b", Result.FAILED, Way.BACK).status is TaskStatus.PENDING, "it is tried again unasked"
    run.begin(Way.BACK, "b")
    answer(run, "b", Result.FAILED, Way.BACK, final=True)
    assert begin(run) == ["a"]
    answer(run, "a", way=Way.BACK)
    action = decide(run.plan, run.facts, run.now)
    assert action == Finish(RunStatus.FAILED, "task bad failed; NOT taken back, a person must look: b")


@pytest.mark.parametrize(
    ("fields", "status", "cause", "back"),
    [
        (UNDO, TaskStatus.PASSED, Cause.NONE, "a"),
        (UNDO, TaskStatus.FAILED, Cause.ERROR, ""),
        (UNDO, TaskStatus.FAILED, Cause.TIMEOUT, "a"),
        (UNDO, TaskStatus.FAILED, Cause.LOST, "a"),
        ({"compensation": {"onFailure": "u"}}, TaskStatus.PASSED, Cause.NONE, "u"),
        ({"compensation": {"onFailure": "u"}}, TaskStatus.FAILED, Cause.ERROR, "u"),
        ({"compensation": {"onFailure": "u", "onTimeout": "v"}}, TaskStatus.FAILED, Cause.TIMEOUT, "v"),
        ({"compensation": {"onTimeout": "v"}}, TaskStatus.PASSED, Cause.NONE, ""),
        ({}, TaskStatus.FAILED, Cause.TIMEOUT, ""),
    ],
)
def test_what_is_taken_back_depends_on_what_is_known_of_its_end(fields, status, cause, back):
    run = player(task("a", **fields), task("u"), task("v"))
    part = run.part(Way.FORWARD, "a")
    failed = cause is not Cause.NONE
    ended = replace(
        part,
        status=status,
        attempts=1,
        failures=int(failed),
        cause=cause,
        doubtful=cause in (Cause.TIMEOUT, Cause.LOST),
    )
    assert undo_of(run.plan, ended) == back
    assert undo_of(run.plan, replace(part, status=TaskStatus.SKIPPED)) == ""


def test_a_lost_call_that_may_not_be_repeated_is_given_up_and_one_that_may_is_begun_again():
    run = player(task("once"), task("keyed", idempotencyKey="k"), task("thrice", retry={"maxAttempts": 3}))
    begin(run)
    run.now += LEASE
    assert decide(run.plan, run.facts, run.now) == GiveUp(
        ((Way.FORWARD, "once"),), Cause.LOST, "its worker was lost, and nobody knows whether it happened"
    )
    run.write({(Way.FORWARD, "once"): run.ended("once", TaskStatus.PASSED)})
    for _ in range(2):
        assert begin(run) == ["keyed", "thrice"]
        run.now += LEASE
    assert isinstance(decide(run.plan, run.facts, run.now), GiveUp)


def test_a_workflow_that_was_cancelled_takes_back_what_it_did():
    run = player(task("a", **UNDO), task("b", "a"))
    begin(run)
    answer(run, "a")
    run.facts = replace(run.facts, cancelled="wrong order")
    action = decide(run.plan, run.facts, run.now)
    assert action == Compensate(("a",), "cancelled: wrong order")
    run.apply(action)
    begin(run)
    answer(run, "a", way=Way.BACK)
    assert decide(run.plan, run.facts, run.now) == Finish(RunStatus.CANCELLED, "cancelled: wrong order")


@pytest.mark.parametrize("seed", range(LIVES))
def test_every_random_life_ends_right(seed):
    random_ = random.Random(seed)
    spec = workflow(random_, random_.choice((1, 3, 8, 25)))
    faults = random_.choice((0, 0.05, 0.3))
    cancel = random_.choice((10**9, 10**9, random_.randint(1, 30)))
    run = Player(spec, random_, faults=faults, cancel_at=cancel).play()
    forward, back = run.facts.forward, run.facts.back
    assert all(part.ended for part in run.facts.parts)
    if run.facts.status is RunStatus.PASSED:
        assert not back and not run.facts.cancelled
        assert {part.status for part in forward.values()} <= {TaskStatus.PASSED, TaskStatus.SKIPPED}
    else:
        assert run.facts.cancelled or any(part.status is TaskStatus.FAILED for part in forward.values())
        owed = {name for part in forward.values() if (name := undo_of(run.plan, part))}
        assert owed == {part.task for part in back}, "each is taken back by one part"
        ends = {part.task: part.ended_at or BEGAN for part in forward.values() if part.status is TaskStatus.PASSED}
        own = [ends[part.task] for part in back if part.task in ends]
        assert own == sorted(own, reverse=True), "the last done is taken back first"
        turned = min((i for i, (way, _) in enumerate(run.begun) if way is Way.BACK), default=len(run.begun))
        assert all(way is Way.BACK for way, _ in run.begun[turned:]), "nothing goes forward after the turn"
    _nothing_ran_before_what_it_needs(run)
    for name, times in run.times(Way.FORWARD).items():
        call = run.plan.call(name, Way.FORWARD)
        laters = 40
        assert times <= (max(call.retry.attempts, LOST_ATTEMPTS) if call.repeatable else call.retry.attempts) + laters


def _nothing_ran_before_what_it_needs(run):
    ended: set[str] = set()
    forward = run.facts.forward
    skipped = {name for name, part in forward.items() if part.status is TaskStatus.SKIPPED}
    for name, part in sorted(forward.items(), key=lambda item: (item[1].ended_at or BEGAN, item[1].position)):
        if part.status is TaskStatus.PASSED:
            needs = set(run.plan.tasks[name].depends_on)
            assert needs <= ended | skipped
            assert not needs or needs - skipped, f"{name} ran though nothing before it did"
            ended.add(name)


def test_a_call_that_cannot_be_repeated_is_begun_once_whatever_happens():
    for seed in range(40):
        spec = {"id": "w", "name": "W", "tasks": [task(f"t{n}", *([f"t{n - 1}"] if n else [])) for n in range(6)]}
        run = Player(spec, random.Random(seed), faults=0.6)
        run.said = lambda part: Answer(Result.PASSED)  # type: ignore[method-assign]
        assert max(run.play().times(Way.FORWARD).values()) == 1


@pytest.mark.parametrize(
    ("when", "output", "holds"),
    [
        ({"field": "a.b", "equals": 1}, {"a": {"b": 1}}, True),
        ({"field": "a.0", "equals": 1}, {"a": [1]}, True),
        ({"field": "a.9", "equals": 1}, {"a": [1]}, False),
        ({"field": "a", "equals": True}, {"a": 1}, False),
        ({"field": "a", "notEquals": 2}, {"a": 1}, True),
        ({"field": "a", "notEquals": 2}, {}, False),
        ({"field": "a", "atMost": 2}, {"a": 2}, True),
        ({"field": "a", "atMost": 2}, {"a": "2"}, False),
        ({"field": "a", "atMost": 2}, {"a": True}, False),
        ({"field": "a", "in": ["x", "y"]}, {"a": "y"}, True),
        ({"field": "a", "in": []}, {"a": "y"}, False),
        ({"field": "a", "exists": True}, {"a": None}, True),
        ({"field": "a", "exists": False}, {}, True),
        ({"equals": {"a": 1}}, {"a": 1}, True),
    ],
)
def test_a_branch_holds_by_its_one_test(when, output, holds):
    tasks = [{"id": "d", "type": "decision", "branches": [{"when": when, "then": ["f"]}]}, task("f", "d")]
    [decision, _] = parse({"id": "w", "name": "W", "tasks": tasks}).tasks
    assert chosen(decision, output) == (("f",) if holds else ())


def test_places_are_filled_with_the_value_itself_or_with_its_text():
    known = {"params": {"n": 7, "deep": {"x": [1, 2]}}, "tasks": {"a": {"body": "hi"}}}
    assert filled({"x": "${params.n}", "y": ["n=${params.n} ${tasks.a.body}"], "z": "${params.deep}"}, known) == {
        "x": 7, "y": ["n=7 hi"], "z": {"x": [1, 2]},
    }  # fmt: skip
    assert filled("${params.deep.x.1} $x ${} {}", known) == "2 $x ${} {}"


@pytest.mark.parametrize("value", ["${params.gone}", "x${tasks.b.body}", "${nothing}"])
def test_a_place_that_names_nothing_is_refused(value):
    with pytest.raises(Unfilled, match="There is no"):
        filled([value], {"params": {}, "tasks": {}})


def test_what_is_filled_in_is_bounded():
    with pytest.raises(Unfilled, match="More than"):
        filled(["${params.long}"] * 100_000, {"params": {"long": "x" * (LARGEST // 4)}})
