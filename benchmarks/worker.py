"""The worker of the engine's benchmark: the body of the real task on hosts in memory, beside an empty task."""

from __future__ import annotations

import time

import django
import redis

django.setup()

# ruff: noqa: E402 - Django has to be set up before its apps are imported.
from aureus.celery import app
from benchmarks import memory
from deployments import execution, hints

HOPS = "bench:hops"


@app.task(name="bench empty")
def empty(sent: float) -> None:
    """An empty task that notes how long it was on its way."""
    late = time.time() - sent
    redis.Redis.from_url(str(app.conf.broker_url)).rpush(HOPS, late)


@app.task(name="bench advance")
def advance(deployment_id: str, lane: str) -> None:
    """The body of `advance deployment`, with hosts in memory."""
    execution.work_on(deployment_id, lane, memory.OUTSIDE, hint)


def hint(deployment_id: str, lane: str) -> bool:
    """As deployments.hints.hint, for this benchmark's task."""
    return hints.publish("bench advance", [deployment_id, lane], lane)
