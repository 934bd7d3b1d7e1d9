"""The database's clock: the only clock that leases, waits and windows are measured by."""

from datetime import datetime

from django.db import connection


def now() -> datetime:
    """The database's time at this moment (not at the start of the transaction)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]
