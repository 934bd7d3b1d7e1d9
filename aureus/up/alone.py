"""The embedded PostgreSQL for one command, while nothing else of Aureus runs."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from signal import SIGINT

from aureus.conf import Configuration
from aureus.embedded import kept as keeping
from aureus.embedded.postgres import Postgres, PostgresError
from aureus.up import home as homes
from aureus.up.tie import tied

PATIENCE = 60.0


@contextmanager
def postgres(configuration: Configuration, say: Callable[[str, str], None]) -> Iterator[None]:
    """While inside, the database of this configuration runs, if it is ours to start.

    A server that answers is used as it is, and so is any that DATABASE_URL names. Raises HomeError while an
    `aureus up` of this folder lives (it starts its PostgreSQL itself), and PostgresError.
    """
    kept = keeping.read(configuration.home) if configuration.embedded_postgres else None
    if kept is None or _server(configuration, kept).is_ready():
        yield
        return
    home = homes.enter(configuration.home, say)
    try:
        server = _server(configuration, keeping.with_free_ports(configuration.home, kept))
        server.prepare()
        with (home.logs / "postgres.log").open("ab") as log:
            process = subprocess.Popen(
                server.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=tied(SIGINT), **server.process,
            )  # fmt: skip
        try:
            _wait(process, server, str(home.logs / "postgres.log"))
            say("postgres", "started for this command")
            yield
        finally:
            process.send_signal(SIGINT)
            process.wait(PATIENCE)
    finally:
        home.leave()


def _server(configuration: Configuration, kept: keeping.Kept) -> Postgres:
    return Postgres(configuration.home / "postgres", kept.postgres_port, kept.postgres_password)


def _wait(process: subprocess.Popen[bytes], server: Postgres, log: str) -> None:
    end = time.monotonic() + PATIENCE
    while not server.is_ready():
        if process.poll() is not None or time.monotonic() > end:
            raise PostgresError(f"PostgreSQL did not start; its words are in {log}")
        time.sleep(0.1)
