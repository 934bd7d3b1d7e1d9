"""Who is replaced by `aureus up`: he who is there, could answer, and does not."""

import pytest

from aureus.celery import QUEUES
from aureus.up.stuck import ANSWERS, Lookout

LIMIT = 90.0
FRESH = {**dict.fromkeys(QUEUES, 2.0), "dispatcher": 2.0}
RUNNING = {**dict.fromkeys([*ANSWERS, "beat", "web"], 1000.0)}


def ready(ages=FRESH, broker=True):
    return {"ready": True, "checks": {"database": True, "migrations": True, "dependencies": broker}, "queues": ages}


def after(seconds: float, told, *, alive=True, running=RUNNING, lookout=None):
    """What is judged when that was told now and `seconds` ago."""
    lookout = lookout or Lookout(LIMIT)
    lookout.judge(1000.0 - seconds, told, alive, running)
    return lookout.judge(1000.0, told, alive, running)


def late(*names: str) -> dict[str, float | None]:
    return {**FRESH, **dict.fromkeys(names, 91.0)}


def test_every_queue_has_a_process_that_answers_its_canary():
    assert {name for names in ANSWERS.values() for name in names} == {*QUEUES, "dispatcher"}


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (ready(), []),
        (ready(late("deploy")), ["worker deploy"]),
        (ready(late("smoke")), ["worker watch"]),
        (ready({**FRESH, "rollback": None}), ["worker rollback"]),
        (ready(late("dispatcher")), ["dispatch"]),
        (ready(late(*QUEUES)), [*(name for name in ANSWERS if name.startswith("worker ")), "beat"]),
    ],
)
def test_who_has_not_answered_for_too_long_is_replaced(told, found):
    assert after(91, told) == found


def test_nobody_is_replaced_for_the_time_in_which_the_broker_was_away():
    assert after(91, ready(late(*QUEUES), broker=False)) == []
    lookout = Lookout(LIMIT)
    after(200, ready(late(*QUEUES), broker=False), lookout=lookout)
    assert lookout.judge(1001.0, ready(late(*QUEUES)), True, RUNNING) == []
    assert "worker deploy" in lookout.judge(1092.0, ready(late(*QUEUES)), True, RUNNING)


def test_the_dispatcher_answers_without_the_broker():
    assert after(91, ready(late("dispatcher"), broker=False)) == ["dispatch"]


def test_nobody_is_replaced_for_the_time_in_which_the_database_was_away():
    lookout = Lookout(LIMIT)
    after(200, None, lookout=lookout)
    assert lookout.judge(1001.0, ready(late("deploy")), True, RUNNING) == []


def test_who_was_just_started_gets_the_time_to_answer():
    assert after(91, ready(late("deploy")), running={**RUNNING, "worker deploy": 89.0}) == []


def test_a_web_that_answers_nothing_is_replaced_and_then_gets_its_time():
    assert after(91, None, alive=False) == ["web"]
    assert after(91, None, alive=False, running={**RUNNING, "web": 5.0}) == []
    assert after(91, None, alive=True) == []
