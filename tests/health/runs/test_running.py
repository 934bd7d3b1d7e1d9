"""Runs of workflows on real rows: what people ask for, what a worker does, and what survives one that is killed."""

import functools
import json
import os
import random
import signal
from collections import Counter
from datetime import timedelta

import pytest
from django.db import transaction

from aureus import clock
from aureus.journal.actor import Actor
from aureus.journal.models import Event
from aureus.journal.refusals import Conflict, NotFound
from health.models import TaskRun, WorkflowRun
from health.runs import lifecycle
from health.runs.carrying import Boundary, work_on
from health.runs.facts import OPEN, RunStatus, TaskStatus
from health.runs.plan import Way
from health.runs.settle import Answer, Result
from health.runs.tools import NAMES, Addresses, Asked, tools, wait
from releases import registry
from tests.api.conftest import MISSING
from tests.health.runs.player import workflow
from tests.health.runs.world import ALICE, Fates, carried, hurry, killed, ledger, spec, started, statuses, step
from tests.health.web import site

pytestmark = pytest.mark.django_db(transaction=True)


def post(path):
    return {"method": "POST", "path": path}


def http(name, path, *needs, method="POST", **fields):
    params = {"method": method, "path": path}
    return {"id": name, "tool": "http", "params": params, "dependsOn": list(needs), **fields}


def gone_at(boundary, task=""):
    """Kills the worker at this boundary of that task, or of any."""

    def reached(at, of):
        if at is boundary and (not task or of == task):
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


def noop(name, *needs, **fields):
    return {"id": name, "tool": "noop", "dependsOn": list(needs), **fields}


def test_a_run_passes_results_and_params_from_task_to_task():
    routes = {
        "/orders": lambda asked: (201, {"id": 7, "for": json.loads(asked.body)["who"]}),
        "/orders/7": lambda asked: (200, {"id": 7}),
    }
    make = http("make", "/orders")
    make["params"] |= {"body": {"who": "${params.who}"}}
    tasks = [make, http("look", "/orders/${tasks.make.body.id}", "make", method="GET")]
    with site(routes) as web:
        run = carried(started(spec(*tasks), who="ann"), web.url)
    assert (run.status, run.reason) == (RunStatus.PASSED, "every task that was needed has passed")
    assert [asked.path for asked in web.asked] == ["/orders", "/orders/7"]
    made = run.tasks.get(task="make")
    assert made.output == {"status": 201, "body": {"id": 7, "for": "ann"}}
    assert web.asked[0].headers["idempotency-key"] == f"{run.pk}:forward:make"
    kinds = [event.kind for event in Event.objects.filter(stream=run.stream).order_by("seq")]
    assert kinds == ["workflow_run.requested", "workflow_run.running", "workflow_run.passed"]


def test_a_failure_takes_back_what_was_done_in_reverse_order_and_each_once():
    undo = {"compensationAction": {"tool": "http", "params": {"method": "POST", "path": "/undo"}}}
    tasks = [
        http("a", "/act", **undo),
        http("b", "/act", "a", **undo),
        http("c", "/never", "b", **undo),
        noop("d", "c"),
    ]
    with ledger(random.Random(1), 0) as (web, book):
        run = carried(started(spec(*tasks)), web.url)
    assert run.status == RunStatus.FAILED
    assert run.reason == "task c failed"
    assert statuses(run) == {
        "a": "passed",
        "b": "passed",
        "c": "failed",
        "d": "skipped",
        "-b": "passed",
        "-a": "passed",
    }
    assert book.done == [f"{run.pk}:{one}" for one in ("forward:a", "forward:b", "back:b", "back:a")]
    told = Event.objects.filter(stream=run.stream, kind__startswith="workflow_task").order_by("seq")
    assert [(event.kind, event.data["task"]) for event in told] == [
        ("workflow_task.failed", "c"), ("workflow_task.passed", "b"), ("workflow_task.passed", "a"),
    ]  # fmt: skip


def test_a_decision_opens_one_branch_by_its_answer():
    decision = http("ask", "/limit", method="GET", type="decision", otherwise=["small"],
                    branches=[{"when": {"field": "body.limit", "atLeast": 100}, "then": ["big"]}])  # fmt: skip
    with site({"/limit": lambda _: (200, {"limit": 250})}) as web:
        run = carried(
            started(spec(decision, noop("big", "ask"), noop("small", "ask"), noop("join", "big", "small"))), web.url
        )
    assert run.status == RunStatus.PASSED
    assert statuses(run) == {"ask": "passed", "big": "passed", "small": "skipped", "join": "passed"}
    assert run.tasks.get(task="ask").picked == ["big"]
    assert run.tasks.get(task="small").reason == "no decision picked it"


def test_a_wait_is_a_moment_in_its_row_and_nobody_sleeps_for_it():
    run = started(spec({"id": "w", "tool": "wait", "params": {"ms": 3_600_000}}, noop("after", "w")))
    step(run)
    row = run.tasks.get(task="w")
    assert row.status == TaskStatus.PENDING
    assert timedelta(minutes=59) < row.not_before - clock.now() <= timedelta(hours=1)
    run.refresh_from_db()
    assert run.wake_at == row.not_before
    TaskRun.objects.filter(pk=row.pk).update(started_at=clock.now() - timedelta(hours=2), not_before=clock.now())
    step(run)
    run.refresh_from_db()
    assert run.status == RunStatus.PASSED


@pytest.mark.parametrize("ms", [None, -1, True, "5", 86_400_001, 1.5])
def test_a_wait_that_is_no_time_is_refused_for_good(ms):
    answer = wait(Asked({"ms": ms}, 1.0, "k", clock.now(), clock.now()))
    assert (answer.result, answer.final) == (Result.FAILED, True)


def test_a_failed_try_is_made_again_later_under_the_same_key():
    answers = iter((503, 503, 200))
    task = http("a", "/", retry={"maxAttempts": 3, "backoffMs": 60_000})
    with site({"/": lambda _: (next(answers), {})}) as web:
        run = started(spec(task))
        step(run, web.url)
        row = run.tasks.get()
        assert (row.status, row.failures) == (TaskStatus.PENDING, 1)
        assert row.not_before - clock.now() > timedelta(seconds=50)
        assert carried(run, web.url).status == RunStatus.PASSED
    assert len({asked.headers["idempotency-key"] for asked in web.asked}) == 1
    assert len(web.asked) == 3


def test_the_key_of_the_specs_author_is_sent_with_its_places_filled():
    with site({"/": lambda _: (200, {})}) as web:
        carried(started(spec(http("a", "/", idempotencyKey="order-${params.n}")), n=7), web.url)
    assert web.asked[0].headers["idempotency-key"] == "order-7"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"url": "http://127.0.0.1:9/"}, "is private"),
        ({"url": "http://169.254.169.254/latest"}, "must not be asked"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "is private"),
        ({"path": "/"}, "set WORKFLOW_ADDRESSES"),
        ({"url": 7}, "either a path or a url"),
        ({"url": "http://x:port/"}, "is no address"),
        ({"url": "file:///etc/passwd"}, "must begin with http"),
        ({"path": "/${params.gone}"}, "There is no 'params.gone'"),
    ],
)
def test_a_task_reaches_no_private_address_that_was_not_declared(params, words):
    run = carried(started(spec({"id": "a", "tool": "http", "params": params, "retry": {"maxAttempts": 5}})))
    row = run.tasks.get()
    assert (run.status, row.attempts) == (RunStatus.FAILED, 1)
    assert words in row.reason


def test_a_declared_server_is_asked_by_path_or_by_its_own_address_only():
    with site({"/": lambda _: (200, {})}) as web, site({"/": lambda _: (200, {})}) as other:
        tasks = [http("path", "/"), {"id": "url", "tool": "http", "params": {"url": f"{web.url}/"}}]
        assert carried(started(spec(*tasks)), web.url).status == RunStatus.PASSED
        foreign = spec({"id": "url", "tool": "http", "params": {"url": f"{other.url}/"}})
        assert carried(started(foreign), web.url).status == RunStatus.FAILED
    assert (len(web.asked), len(other.asked)) == (2, 0)


def test_a_tool_that_breaks_fails_its_task_and_not_its_worker():
    def broken(_):
        raise RuntimeError("boom")

    run = started(spec(noop("a"), {"id": "b", "tool": "wait", "params": {"ms": 0}}))
    work_on(str(run.pk), {**tools(Addresses()), "wait": broken}, lambda _: None)
    assert statuses(run) == {"a": "passed", "b": "failed"}
    assert "boom" in run.tasks.get(task="b").reason


def test_what_cannot_run_here_is_refused_before_anything_is_written():
    strange, _ = registry.register(spec({"id": "a", "tool": "shell"}), "9.0.0", actor=ALICE)
    empty, _ = registry.register(spec(), "9.0.1", actor=ALICE)
    gone, _ = registry.register(spec(noop("a")), "9.0.2", actor=ALICE)
    registry.withdraw(gone.pk, reason="wrong", actor=ALICE)
    for version, words in (
        (strange, "tools that this server does not have: shell"),
        (empty, "no tasks"),
        (gone, "wrong"),
    ):
        with pytest.raises(Conflict, match=words):
            lifecycle.start(version.pk, {}, tools=NAMES, actor=ALICE)
    with pytest.raises(NotFound):
        lifecycle.start(MISSING, {}, tools=NAMES, actor=ALICE)
    assert not WorkflowRun.objects.exists()


def test_a_cancelled_run_takes_back_what_it_did_and_a_run_that_has_ended_is_not_cancelled():
    run = started(
        spec(noop("a", compensationAction={"tool": "noop"}), {"id": "w", "tool": "wait", "params": {"ms": 9_999_999}})
    )
    step(run)
    lifecycle.cancel(run.pk, reason="wrong order", actor=Actor("bob"))
    lifecycle.cancel(run.pk, reason="again", actor=Actor("bob"))
    run = carried(run)
    assert (run.status, run.reason) == (RunStatus.CANCELLED, "cancelled: wrong order")
    assert statuses(run) == {"a": "passed", "w": "skipped", "-a": "passed"}
    with pytest.raises(Conflict, match="it is cancelled"):
        lifecycle.cancel(run.pk, reason="late", actor=ALICE)


def test_an_answer_under_an_older_fence_changes_nothing():
    run = started(spec(noop("a")))
    [first] = lifecycle.advance(run.pk).claims
    hurry(run)
    [second] = lifecycle.advance(run.pk).claims
    assert second.fence > first.fence
    assert lifecycle.settle(first, Answer(Result.FAILED, "late", final=True)) is False
    assert statuses(run) == {"a": "running"}
    assert lifecycle.settle(second, Answer(Result.PASSED)) is True
    assert lifecycle.settle(second, Answer(Result.FAILED)) is False
    assert carried(run).status == RunStatus.PASSED


def test_a_repeated_wake_up_claims_nothing_twice():
    run = started(spec(noop("a"), noop("b")))
    assert len(lifecycle.advance(run.pk).claims) == 2
    assert lifecycle.advance(run.pk).claims == []
    assert lifecycle.advance(MISSING).claims == []


def test_who_is_due_is_hinted_once_and_again_when_the_message_seems_lost():
    run = started(spec(noop("a")))
    assert lifecycle.due() == [str(run.pk)]
    assert lifecycle.due() == []
    WorkflowRun.objects.update(hinted_at=clock.now() - timedelta(seconds=lifecycle.HINT_AGAIN_AFTER + 1))
    assert lifecycle.due() == [str(run.pk)]
    carried(run)
    WorkflowRun.objects.update(hinted_at=None)
    assert lifecycle.due() == []


def test_more_than_one_worker_takes_is_told_to_another():
    run = started(spec(*(noop(f"t{n}") for n in range(lifecycle.SIDE_BY_SIDE + 1))))
    hints: list[str] = []
    assert work_on(str(run.pk), tools(Addresses()), hints.append) == lifecycle.SIDE_BY_SIDE + 1
    assert hints == [str(run.pk)]


@pytest.mark.parametrize("boundary", Boundary)
def test_a_worker_that_is_killed_at_a_boundary_costs_a_try_and_nothing_else(boundary):
    with ledger(random.Random(1), 0) as (web, book):
        run = started(spec(http("a", "/act"), http("b", "/act", "a", idempotencyKey="k"), http("c", "/act", "b")))
        assert killed(lambda: step(run, web.url, reached=gone_at(boundary, "b")))
        run.refresh_from_db()
        assert carried(run, web.url).status == RunStatus.PASSED
    assert len(book.done) == len(set(book.done)) == 3


def test_a_call_that_may_not_be_repeated_is_not_repeated_after_its_worker_was_lost():
    undo = {"compensationAction": {"tool": "http", "params": {"method": "POST", "path": "/undo"}}}
    with ledger(random.Random(1), 0) as (web, book):
        run = started(spec(http("once", "/act", **undo)))
        assert killed(lambda: step(run, web.url, reached=gone_at(Boundary.BEFORE_SETTLE)))
        run = carried(run, web.url)
    assert run.status == RunStatus.FAILED
    assert statuses(run) == {"once": "failed", "-once": "passed"}, "nobody knows whether it happened: it is taken back"
    assert "nobody knows" in run.tasks.get(way=Way.FORWARD).reason
    assert book.done == [f"{run.pk}:forward:once", f"{run.pk}:back:once"]


def as_http(drawn, chance):
    """A drawn spec whose calls are requests that may fail a few times; some of its tasks call nothing."""
    for task in drawn["tasks"]:
        nothing = task.get("type") == "parallel" or chance.random() < 0.4
        path = "/undo" if task["id"] == "cleanup" else "/act"
        task |= {"tool": "noop"} if nothing and path == "/act" else {"tool": "http", "params": post(path)}
        if "compensationAction" in task:
            task["compensationAction"] = {"tool": "http", "params": post("/undo")}
        task["retry"] = {"maxAttempts": 9}
    return drawn


def with_kills(run, url, chance):
    """Play the run with workers of which some are killed; how many were."""
    kills = 0
    while run.status in OPEN:
        fates = Fates(random.Random(chance.random()), 0.004)
        kills += killed(functools.partial(step, run, url, budget=60, reached=fates))
        hurry(run)
        run.refresh_from_db()
    return kills


def test_many_tasks_with_faults_and_killed_workers_all_pass_or_are_skipped_by_a_decision():
    chance = random.Random(1)
    drawn = as_http(workflow(chance, 300), chance)
    with ledger(chance, 0.1) as (web, book):
        run = started(drawn)
        assert with_kills(run, web.url, chance)
    assert run.status == RunStatus.PASSED, run.reason
    ends = Counter(statuses(run).values())
    assert set(ends) == {TaskStatus.PASSED, TaskStatus.SKIPPED}
    called = {row.task for row in run.tasks.filter(status=TaskStatus.PASSED) if "status" in row.output}
    keyed = {task["id"] for task in drawn["tasks"] if "idempotencyKey" in task}
    # Keys of the author are one key in this drawing, whoever sends it.
    assert Counter(book.done) == Counter({f"{run.pk}:forward:{name}" for name in called - keyed} | {"k"})


def test_a_thousand_tasks_that_go_wrong_are_taken_back_each_once_though_workers_are_killed():
    chance = random.Random(2)
    drawn = as_http(workflow(chance, 1000), chance)
    # A join of many: some branch before it is always run.
    drawn["tasks"].append(
        {"id": "bad", "tool": "http", "params": post("/never"), "dependsOn": [f"t{n}" for n in range(500, 600)]}
    )
    with ledger(chance, 0.1) as (web, book):
        run = started(drawn)
        assert with_kills(run, web.url, chance) >= 3
    assert (run.status, run.reason) == (RunStatus.FAILED, "task bad failed")
    forward = {row.task: row for row in run.tasks.filter(way=Way.FORWARD)}
    back = {row.task: row for row in run.tasks.filter(way=Way.BACK)}
    tasks = {task["id"]: task for task in drawn["tasks"]}
    # Of one whose worker was lost while the run was ending nobody knows whether it happened.
    done = {name for name, row in forward.items() if row.status == TaskStatus.PASSED or row.doubtful}
    owed = {name for name in done if "compensationAction" in tasks[name]} | {"cleanup"}
    assert len(owed) > 100
    assert set(back) == owed
    assert {row.status for row in back.values()} == {TaskStatus.PASSED}
    undone = [key.rpartition(":")[2] for key in book.done if ":back:" in key]
    assert sorted(undone) == sorted(owed), "by the server's own book each was carried out, and once"
    ended = [forward[name].ended_at or clock.now() for name in undone if name in forward]
    assert ended == sorted(ended, reverse=True), "the last done first"


GUIDE = {"id": "my-workflow", "name": "My Workflow", "version": "1.0.0"}
"""The guide's example ("1. Register a Version"), whose tasks the guide leaves to the reader."""

THREE_TASKS = {
    "id": "refund", "name": "Refund", "goal": "Pay an order back", "constraints": ["once"], "successCriteria": ["paid"],
    "tasks": [
        {"id": "read", "name": "Read it", "type": "action", "toolName": "http", "riskTier": "LOW", "intent": "read",
         "inputs": {"path": "/orders/${params.order}"}, "retry": {"maxAttempts": 3, "backoffMs": 10, "jitter": True}},
        {"id": "worth", "name": "Is it worth it", "type": "decision", "toolName": "noop",
         "inputs": {"total": "${tasks.read.body.total}"},
         "branches": [{"when": {"field": "total", "atLeast": 1}, "then": ["pay"]}]},
        {"id": "pay", "name": "Pay it back", "type": "action", "toolName": "http", "riskTier": "CRITICAL",
         "requiredPermissions": [{"action": "execute", "resource": "till"}], "timeoutMs": 5000,
         "inputs": {"method": "POST", "path": "/pay"}, "idempotencyKey": "refund-${params.order}",
         "compensationAction": {"tool": "http", "args": {"method": "POST", "path": "/unpay"}}},
    ],
    "dependencies": {"worth": ["read"], "pay": ["worth"]},
    "safetyPolicy": {"name": "strict", "rules": []},
}  # fmt: skip
"""Three tasks with every field that upstream's format has for them."""


def test_the_example_of_the_guide_runs():
    run = carried(started({**GUIDE, "tasks": [noop("build"), noop("check", "build")]}))
    assert (run.status, set(statuses(run).values())) == (RunStatus.PASSED, {"passed"})


@pytest.mark.parametrize(
    ("total", "pay", "asked"), [(12, "passed", ["/orders/7", "/pay"]), (0, "skipped", ["/orders/7"])]
)
def test_the_example_of_three_tasks_in_upstreams_format_runs(total, pay, asked):
    version, _ = registry.register(THREE_TASKS, "1.0.0", actor=ALICE, policy="strict")
    routes = {"/orders/7": lambda _: (200, {"total": total}), "/pay": lambda _: (201, {})}
    with site(routes) as web:
        run = carried(lifecycle.start(version.pk, {"order": 7}, tools=NAMES, actor=ALICE), web.url)
    assert (run.status, statuses(run)) == (RunStatus.PASSED, {"read": "passed", "worth": "passed", "pay": pay})
    assert [one.path for one in web.asked] == asked


def test_of_two_workers_at_once_each_task_has_one():
    run = started(spec(*(noop(f"t{n}") for n in range(40))))
    with transaction.atomic():
        first = lifecycle.advance(run.pk).claims
        second = lifecycle.advance(run.pk).claims
    assert not {claim.id for claim in first} & {claim.id for claim in second}
