"""The abstract row of work that a worker may hold for a time: lease, fence, attempts, deadline.

Every claim draws the next value of one sequence, so that a later claim of anything outranks every earlier one.
"""

from __future__ import annotations

import os
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from django.db import Error, close_old_connections, connection, connections, models

SECONDS = 20
"""Length of a lease; a heartbeat renews it. A killed worker's work is claimed again within this and one sweep."""
RENEW_EVERY = 5.0
"""Seconds between two heartbeats."""
FENCES = "aureus_fence"


class Lease(models.Model):
    """What the worker holds, and what came of its tries. Times are the database's."""

    status = models.CharField(max_length=20, default="pending")
    reason = models.TextField(default="", blank=True)
    held = models.BooleanField(default=False, help_text="Waits until a person acts.")
    not_before = models.DateTimeField()
    within = models.FloatField(default=120.0, help_text="Seconds from the first claim to the deadline.")
    deadline_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_owner = models.CharField(max_length=100, default="", blank=True)
    fence = models.BigIntegerField(default=0)
    attempts = models.IntegerField(default=0)
    failures = models.IntegerField(default=0)
    failing_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True


def owner() -> str:
    """This process, as people find it: host and pid."""
    return f"{socket.gethostname()}:{os.getpid()}"


def next_fence() -> int:
    """A number above every fence given so far."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(%s)", [FENCES])
        return cursor.fetchone()[0]


def highest_fence() -> int:
    """The highest fence given so far (0 before the first)."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {FENCES}")
        return cursor.fetchone()[0]


def claim(table: str, ids: Sequence[int]) -> Mapping[int, int]:
    """Claim those of the rows that may be claimed now, by the database's clock; id -> fence.

    A row is free when it is pending, not held and due, or when the lease of its worker has run out: then the lost try
    counts as a failure. One statement, so that of two workers one wins.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE {table} SET
                status = 'running', fence = nextval('{FENCES}'), attempts = attempts + 1,
                failures = failures + (status = 'running')::int,
                failing_since = CASE WHEN status = 'running'
                    THEN coalesce(failing_since, clock_timestamp()) ELSE failing_since END,
                lease_owner = %s, lease_until = clock_timestamp() + make_interval(secs => {SECONDS}),
                deadline_at = coalesce(deadline_at, clock_timestamp() + make_interval(secs => within))
            WHERE id = ANY(%s) AND (
                (status = 'pending' AND NOT held AND not_before <= clock_timestamp())
                OR (status = 'running' AND lease_until <= clock_timestamp()))
            RETURNING id, fence
            """,
            [owner(), list(ids)],
        )
        return dict(cursor.fetchall())


def renew(table: str, fences: Mapping[int, int]) -> dict[int, datetime]:
    """Renew the leases still held under these fences, never beyond a row's deadline; id -> end of the lease."""
    if not fences:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE {table} AS row SET lease_until =
                least(clock_timestamp() + make_interval(secs => {SECONDS}), row.deadline_at)
            FROM unnest(%s::bigint[], %s::bigint[]) AS mine(id, fence)
            WHERE row.id = mine.id AND row.fence = mine.fence AND row.status = 'running'
              AND row.deadline_at > clock_timestamp()
            RETURNING row.id, row.lease_until
            """,
            [list(fences.keys()), list(fences.values())],
        )
        return dict(cursor.fetchall())


class Heartbeat(ABC):
    """Renews what a worker holds from a thread of its own, until it is left."""

    def __init__(self, fences: Mapping[int, int], every: float = RENEW_EVERY) -> None:
        """fences: those that are held, by the row's id. every: seconds between two renewals."""
        self._fences = dict(fences)
        self._every = every
        self._lock = threading.Lock()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._left.set()
        self._thread.join(self._every)

    def done(self, row: int) -> None:
        """This row's work has answered: nothing of it is renewed any more."""
        with self._lock:
            self._fences.pop(row, None)

    @abstractmethod
    def renew(self, mine: Mapping[int, int]) -> None:
        """Renew these rows under these fences, and notice what else has to be."""

    def _beat(self) -> None:
        try:
            while not self._left.wait(self._every):
                with self._lock:
                    mine = dict(self._fences)
                close_old_connections()
                try:
                    self.renew(mine)
                except Error:
                    connection.close()  # the leases then run out by themselves, which is what they are for
        finally:
            connections.close_all()
