"""Nobody waits for a silent PostgreSQL for ever."""

import os
import signal
import threading
from collections.abc import Iterator

import psycopg2
import pytest
from django.conf import settings

from aureus import waiting
from aureus.embedded.postgres import Postgres
from tests.faults.proxy import Proxy


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[Proxy]:
    made = Proxy(postgres.port)
    yield made
    made.close()
    waiting.with_an_end(settings.AUREUS.DATABASE_TIMEOUT / 1000)


def connect(proxy: Proxy, postgres: Postgres) -> "psycopg2.extensions.connection":
    return psycopg2.connect(
        host="127.0.0.1", port=proxy.port, user="aureus", password=postgres.password, dbname="postgres"
    )


def test_a_connection_whose_other_side_fell_silent_is_noticed_and_closed(proxy, postgres):
    waiting.with_an_end(-waiting.GRACE + 0.3)
    connection = connect(proxy, postgres)
    assert proxy.half_open() == 1
    with pytest.raises(psycopg2.OperationalError, match="has not answered"):
        connection.cursor().execute("SELECT 1")
    assert connection.closed


def test_a_statement_within_the_limit_is_waited_for(proxy, postgres):
    waiting.with_an_end(5)
    connection = connect(proxy, postgres)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.3), 7")
        assert cursor.fetchone()[1] == 7
    connection.close()


class Enough(Exception):
    pass


def test_a_signal_breaks_the_wait(proxy, postgres):
    """As Celery's soft time limit does."""

    def hear(number: int, frame: object) -> None:
        raise Enough

    waiting.with_an_end(30)
    before = signal.signal(signal.SIGUSR1, hear)
    connection = connect(proxy, postgres)
    proxy.half_open()
    try:
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(Enough):
            connection.cursor().execute("SELECT 1")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert connection.closed
