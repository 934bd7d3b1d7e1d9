"""PostgreSQL, Redis, the queues' workers, and the machine that Aureus itself runs on."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import connection
from redis import Redis
from redis.exceptions import RedisError

from deployments.doctor.findings import Finding, ok, size, warning, wrong
from deployments.doctor.machines import CONTROL, clock, sizes
from health import canaries

OLDEST_POSTGRES = 140000
PER_MACHINE = 30
"""Connections that the processes of one `aureus up` may hold at once, beside the web's."""
SLOW = 0.05
"""Seconds for one PING, beyond which each hint is felt."""


def here() -> Iterator[Finding]:
    """This machine."""
    cores, memory = os.cpu_count() or 0, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    home = settings.AUREUS.home
    # Before the first start it is not there yet; the disk it will be on is.
    disk = shutil.disk_usage(next(folder for folder in (home, *home.parents) if folder.exists()))
    yield from sizes("this machine", cores, memory, disk.total, CONTROL)
    if disk.free < disk.total / 10:
        left = f"{size(disk.free)} of {size(disk.total)} are free where {home} is"
        yield warning("this machine", left, "free space: artifacts, logs and the embedded database live there")
    if not settings.AUREUS.ENABLE_AUTH:
        yield warning("configuration", "ENABLE_AUTH=false: whoever reaches the port may deploy", "set it to true")


def postgres() -> Iterator[Finding]:
    """The database that is the truth."""
    about, told = "PostgreSQL", _settings("server_version_num", "server_version", "max_connections", "fsync",
                                          "synchronous_commit", "full_page_writes")  # fmt: skip
    if int(told["server_version_num"]) < OLDEST_POSTGRES:
        yield wrong(about, f"it is version {told['server_version']}", "Aureus needs 14 or newer")
    else:
        yield ok(about, f"version {told['server_version']} answers")
    for name in ("fsync", "full_page_writes"):
        if told[name] != "on":
            yield wrong(about, f"{name} is {told[name]}: a power loss may lose the record", f"set {name} = on")
    if told["synchronous_commit"] == "off":
        yield warning(about, "synchronous_commit is off: the last settled steps may be forgotten after a crash",
                      "set it to on")  # fmt: skip
    wanted = PER_MACHINE + settings.AUREUS.DATABASE_POOL_SIZE * settings.AUREUS.WEB_WORKERS
    if int(told["max_connections"]) < wanted:
        yield warning(about, f"max_connections is {told['max_connections']}; one machine of Aureus may hold {wanted}",
                      "raise it, or lower DATABASE_POOL_SIZE and WEB_WORKERS")  # fmt: skip
    yield from clock(about, _clock_off())


def _clock_off() -> float:
    """Seconds by which PostgreSQL's clock is ahead of ours. Waits and leases go by its clock, tokens by ours."""
    begun = time.time()
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        [theirs] = cursor.fetchone()
    return float(theirs) - (begun + time.time()) / 2


def _settings(*names: str) -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, current_setting(name) FROM unnest(%s) AS name", [list(names)])
        return dict(cursor.fetchall())


def redis() -> Iterator[Finding]:
    """The broker. Losing it loses no deployment, only speed."""
    client = Redis.from_url(current_app.conf.broker_url, socket_timeout=3, socket_connect_timeout=3)
    try:
        begun = time.monotonic()
        client.ping()
        took = time.monotonic() - begun
        yield from _redis(client.info(), took)
    except (RedisError, OSError) as error:
        yield wrong("Redis", f"it does not answer: {error}", "start it, or correct REDIS_URL; rollbacks go on without")
    finally:
        client.close()


def _redis(told: dict[str, Any], took: float) -> Iterator[Finding]:
    yield ok("Redis", f"version {told.get('redis_version', '?')} answers in {took * 1000:.1f} ms")
    if took > SLOW:
        yield warning("Redis", f"it needs {took * 1000:.0f} ms to answer", "put it nearer, or find what keeps it busy")
    limit, policy = int(told.get("maxmemory", 0)), told.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield warning("Redis", f"maxmemory-policy is {policy}: it may drop messages", "set noeviction")
    if limit and int(told.get("used_memory", 0)) > limit * 0.8:
        yield warning("Redis", f"it uses more than 80 % of {size(limit)}", "raise maxmemory")


def workers() -> Iterator[Finding]:
    """Who answers his canary."""
    ages = canaries.ages()
    for name, age in ages.items():
        about = "dispatcher" if name == canaries.DISPATCHER else f"queue {name}"
        if age is None:
            yield wrong(about, "nobody has ever answered", "start aureus up, or a worker for this queue")
        elif age > canaries.LATE:
            yield wrong(about, f"the last answer is {age:.0f} s old", "is aureus up running? look at its logs")
        else:
            yield ok(about, f"answered {age:.0f} s ago")
    if all(age is None or age > canaries.LATE for name, age in ages.items() if name != canaries.DISPATCHER):
        yield wrong("Beat", "no queue was asked lately, or none answers", "start aureus up")
