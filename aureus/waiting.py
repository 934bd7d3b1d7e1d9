"""Waiting for PostgreSQL with an end: a connection whose other side fell silent is noticed, and the wait can be broken.

libpq waits for an answer for ever, and no signal interrupts it; the kernel's timeouts help only where nobody
acknowledges. With this each wait is ours: it ends with an error, and the connection is closed.
"""

from __future__ import annotations

import select
import time
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, STATUS_SETUP, set_wait_callback

CONNECTING = 5.0
"""Seconds to connect; libpq's own limit holds only for its own waits."""
GRACE = 5.0
"""Seconds beyond the longest statement: the server ends that itself, and says so."""


def with_an_end(longest_statement: float) -> None:
    """From now on no wait of this process for PostgreSQL is longer than `longest_statement` seconds and the grace."""

    def wait(connection: Any) -> None:
        limit = CONNECTING if connection.status == STATUS_SETUP else longest_statement + GRACE
        ends = time.monotonic() + limit
        while (state := connection.poll()) != POLL_OK:
            answer = select.poll()
            answer.register(connection, select.POLLIN if state == POLL_READ else select.POLLOUT)
            if not answer.poll(max(ends - time.monotonic(), 0) * 1000):
                raise psycopg2.OperationalError(f"PostgreSQL has not answered for {limit:g} s")

    set_wait_callback(wait)
