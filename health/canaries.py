"""Canaries: a small message per queue, carried out every few seconds. How old the last one is tells who still works.

A worker that is asked and does not answer is stuck, whatever its process says of itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from celery import current_app
from django.db import connection
from django.db.models import F

from aureus import lease
from aureus.journal.models import ClockTimestamp
from health.models import Canary

LATE = 30.0
"""Seconds without an answer after which a queue is called behind: several canaries and a restart of its worker."""
DISPATCHER = "dispatcher"
"""It has no queue; it answers for itself."""


def names() -> tuple[str, ...]:
    """Everybody who has a canary: each queue, and the dispatcher."""
    return (*(queue.name for queue in current_app.conf.task_queues), DISPATCHER)


def answered(whose: Iterable[str]) -> None:
    """Write down that they work at this moment, by the database's clock."""
    whose = sorted(set(whose) & set(names()))
    if not whose:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO {Canary._meta.db_table} (name, answered_at, answered_by)
            SELECT name, clock_timestamp(), %s FROM unnest(%s) AS name
            ON CONFLICT (name) DO UPDATE
                SET answered_at = excluded.answered_at, answered_by = excluded.answered_by
            """,
            [lease.owner(), whose],
        )


def ages() -> dict[str, float | None]:
    """Seconds since each one's last answer, by the database's clock; None for who has never answered."""
    rows = Canary.objects.annotate(age=ClockTimestamp() - F("answered_at")).values_list("name", "age")
    known = {name: max(age.total_seconds(), 0.0) for name, age in rows}
    return {name: known.get(name) for name in names()}


def behind(found: dict[str, float | None], limit: float = LATE) -> list[str]:
    """Who has not answered for longer than `limit` seconds, or never."""
    return [name for name, age in found.items() if age is None or age > limit]
