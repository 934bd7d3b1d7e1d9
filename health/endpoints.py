"""Is Aureus itself well: /health for people and monitors, /ready and /live for whatever starts and stops it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import structlog
from celery import current_app
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis import Redis
from redis.exceptions import RedisError

from aureus import clock
from aureus.journal.models import Event
from health import canaries
from health.models import Window

log = structlog.get_logger(__name__)
STARTED = time.monotonic()
QUICK = 1.0
"""Seconds that the queue may take to answer."""
LATE = timedelta(seconds=30)
"""An open window that nobody has sampled for so long after it was due tells that no worker watches."""

OPERATIONAL, DOWN, READ_ONLY, BEHIND = "operational", "down", "read-only", "behind"
_migrated = False


@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """200 when all is well, 503 when something is not: `unhealthy` without the database, else `degraded`."""
    database = _asked(_database)
    components = {"api": OPERATIONAL, "database": database}
    for name, ask in (("stateStore", _state_store), ("eventLog", _event_log),
                      ("watching", _watching), ("workers", _workers)):  # fmt: skip
        components[name] = _asked(ask) if database == OPERATIONAL else DOWN
    components["queue"] = _queue()
    well = all(state == OPERATIONAL for state in components.values())
    status = "healthy" if well else ("degraded" if database == OPERATIONAL else "unhealthy")
    told = {
        "status": status,
        "version": settings.SPECTACULAR_SETTINGS["VERSION"],
        "uptime": int(time.monotonic() - STARTED),
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "components": components,
    }
    return JsonResponse(told, status=200 if well else 503)


@never_cache
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """Whether requests may come: the database answers and every migration is applied.

    The queues are reported, each with the seconds since its worker last answered, and not counted: with them down a
    rollback must still be possible.
    """
    database = _asked(_database) == OPERATIONAL
    migrated = database and _asked(_migrations) == OPERATIONAL
    checks = {"database": database, "migrations": migrated, "dependencies": _queue() == OPERATIONAL}
    well = database and migrated
    return JsonResponse(
        {"ready": well, "checks": checks, "queues": _ages() if well else {}}, status=200 if well else 503
    )


@never_cache
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """This process answers: nothing else is asked, so that a database that is away restarts nobody."""
    return JsonResponse({"alive": True})


def _asked(question: Callable[[], str]) -> str:
    try:
        return question()
    except DatabaseError as error:
        log.warning("a health check failed", check=question.__name__, error=str(error).strip())
        connection.close()
        return DOWN


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return OPERATIONAL


def _state_store() -> str:
    """State can be written: a standby answers reads only."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool")
        return READ_ONLY if cursor.fetchone()[0] else OPERATIONAL


def _event_log() -> str:
    Event.objects.values("seq").first()
    return OPERATIONAL


def _watching() -> str:
    overdue = Window.objects.filter(closed_at=None, next_sample_at__lt=clock.now() - LATE)
    return BEHIND if overdue.exists() else OPERATIONAL


def _workers() -> str:
    return BEHIND if canaries.behind(canaries.ages()) else OPERATIONAL


def _ages() -> dict[str, float | None]:
    """Seconds since each queue's canary and the dispatcher answered; null for never. Empty while nobody can tell."""
    try:
        return {name: None if age is None else round(age, 1) for name, age in canaries.ages().items()}
    except DatabaseError as error:
        log.warning("the canaries cannot be read", error=str(error).strip())
        return {}


def _migrations() -> str:
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connection)
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return OPERATIONAL if _migrated else BEHIND


def _queue() -> str:
    client = Redis.from_url(current_app.conf.broker_url, socket_timeout=QUICK, socket_connect_timeout=QUICK)
    try:
        client.ping()
        return OPERATIONAL
    except (RedisError, OSError):
        return DOWN
    finally:
        client.close()
