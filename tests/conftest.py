"""Real servers for the test run: one PostgreSQL, one Valkey, started by the first test that asks for them."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections
from django.test import TransactionTestCase

from aureus.embedded import kept
from aureus.embedded.postgres import FOR_TESTS, Postgres
from aureus.embedded.valkey import Valkey
from aureus.up.tie import tied


def wait_until(claim: Callable[[], object], *, seconds: float, what: str, each: float = 0.05) -> None:
    """Poll until `claim` holds, with so many seconds between; fail with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, f"waited {seconds:g} s for: {what}"
        time.sleep(each)


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that another user may enter (pytest's own may not be), gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="aureus-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(open_folder: Path) -> Iterator[Postgres]:
    """A running PostgreSQL cluster that forgets on power loss; `port` and `password` say how to reach it."""
    [port] = kept.free_ports(1)
    server = Postgres(open_folder / "postgres", port, secrets.token_urlsafe(12), tuple(FOR_TESTS.items()))
    server.prepare()
    with _running(server.command, signal.SIGINT, open_folder / "postgres.log", **server.process) as process:
        wait_until(lambda: process.poll() is not None or server.is_ready(), seconds=30, what="PostgreSQL answers")
        assert process.poll() is None, (open_folder / "postgres.log").read_text()
        yield server


@pytest.fixture(scope="session")
def valkey(open_folder: Path) -> Iterator[str]:
    """The address of a running Valkey."""
    [port] = kept.free_ports(1)
    server = Valkey(open_folder / "valkey", port, secrets.token_urlsafe(12))
    server.prepare()
    with _running(server.command, signal.SIGTERM, open_folder / "valkey.log") as process:
        wait_until(lambda: process.poll() is not None or server.is_ready(), seconds=30, what="Valkey answers")
        assert process.poll() is None, (open_folder / "valkey.log").read_text()
        yield f"redis://:{server.password}@127.0.0.1:{port}/0"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres: Postgres) -> None:
    """Point Django at the cluster of this run before pytest-django makes its test database there."""
    address = {"HOST": "127.0.0.1", "PORT": str(postgres.port), "USER": "aureus", "PASSWORD": postgres.password}
    settings.DATABASES["default"].update(address, NAME="aureus")
    connections["default"].settings_dict.update(address, NAME="aureus")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Delete at a test's end what it has committed: the flush of Django takes 0.3 s for as much."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TransactionTestCase, "_fixture_teardown", lambda _: _delete_rows())
        yield
    with django_db_blocker.unblock():
        _end_other_sessions()


def _end_other_sessions() -> None:
    """A live server keeps its connections, and a database that somebody uses cannot be dropped."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    connection.close()


def _delete_rows() -> None:
    """Empty every table but those that migrations fill, past every trigger."""
    made = {"django_content_type", "django_migrations", "auth_permission", "deployments_identity"}
    tables = set(connection.introspection.table_names()) - made
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for name in tables))
        if filled := [name for (name,) in cursor]:
            cursor.execute("SET session_replication_role = replica")
            cursor.execute("; ".join(f"DELETE FROM {name}" for name in filled))
            cursor.execute("SET session_replication_role = DEFAULT")


class _running:
    """A server for the time of a `with` block, ended by `end`, and by the kernel should this process die."""

    def __init__(self, command: list[str], end: signal.Signals, log: Path, **how: object) -> None:
        self.end = end
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
                preexec_fn=tied(signal.SIGKILL if end == signal.SIGTERM else signal.SIGQUIT),
                **how,  # type: ignore[call-overload]
            )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(self.end)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
