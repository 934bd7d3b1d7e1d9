"""What aureus_identity() says of a cluster whose data folder was copied, and to a role that is no superuser."""

from __future__ import annotations

import importlib
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aureus.embedded import kept
from aureus.embedded.postgres import FOR_TESTS, Postgres
from tests.conftest import wait_until

TABLES = """
    CREATE TABLE deployments_deployment (id int);
    CREATE TABLE deployments_identity (known text, seal text);
"""


@pytest.fixture
def server(open_folder: Path) -> Iterator[Postgres]:
    [port] = kept.free_ports(1)
    yield Postgres(open_folder / "copied", port, secrets.token_urlsafe(12), tuple(FOR_TESTS.items()))
    shutil.rmtree(open_folder / "copied")


@contextmanager
def runs(server: Postgres) -> Iterator[None]:
    server.prepare()
    process = subprocess.Popen(
        server.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **server.process
    )  # fmt: skip
    try:
        wait_until(server.is_ready, seconds=30, what="PostgreSQL answers")
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def said(server: Postgres, *before: str) -> str:
    connection = server.connect()
    try:
        with connection, connection.cursor() as cursor:
            for statement in before:
                cursor.execute(statement)
            cursor.execute("SELECT aureus_identity()")
            return str(cursor.fetchone()[0])
    finally:
        connection.close()


def test_a_restart_says_the_same_and_a_copied_folder_another(server):
    migration = importlib.import_module("deployments.migrations.0005_truth")
    with runs(server):
        first = said(server, TABLES, migration.IDENTITY, "CREATE ROLE plain")
        plain = said(server, "SET ROLE plain")
        assert plain == first.replace(first[first.index("folder ") : first.index("database ")], "")
    with runs(server):
        assert said(server) == first
    changed = int(first.partition("folder ")[2].partition(",")[0])
    wait_until(lambda: time.time() >= changed + 1, seconds=5, what="another second, as a file's change is told by it")
    subprocess.run(["cp", "-a", str(server.data), f"{server.data}.copy"], check=True)
    shutil.rmtree(server.data)
    Path(f"{server.data}.copy").rename(server.data)
    with runs(server):
        assert said(server) != first
        assert said(server, "SET ROLE plain") == plain, "who may not read the folder cannot tell"
