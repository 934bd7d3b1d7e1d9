"""The table of processes that `aureus up` runs: what each is, what it may know, and when it ends."""

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from aureus.conf import Configuration
from aureus.embedded.kept import Kept
from aureus.embedded.postgres import Postgres
from aureus.embedded.valkey import Valkey
from aureus.up import environment
from aureus.up.first import prepare_database

CODE = Path(__file__).resolve().parent.parent.parent
# Few processes, yet rollback work never waits behind other work, and a long transfer never holds up a step.
WORKERS = (
    ("rollback", ("rollback",), 2),
    ("deploy", ("deploy",), 2),
    ("transfer", ("transfer",), 1),
    # A round of looks at hosts that hang, and a slow smoke run, leave one for sampling.
    ("watch", ("watch", "smoke"), 3),
    ("sweep", ("sweep", "notify"), 1),
    # One try of a workflow's task may take ten minutes: nobody else waits behind it.
    ("workflow", ("workflow",), 2),
)


class Turn(IntEnum):
    """The order in which processes end: nobody loses what he stands on before he has ended himself."""

    WORKERS = 1
    WEB = 2
    VALKEY = 3
    POSTGRES = 4


@dataclass(frozen=True)
class Process:
    """One row: a command, or a function for those that may share the code and the environment of `aureus up`.

    `patience` is in seconds, from the ending signal to SIGKILL.
    """

    name: str
    command: tuple[str, ...] | Callable[[], int]
    environ: Mapping[str, str]
    turn: Turn
    patience: float = 10
    end: signal.Signals = signal.SIGTERM
    on_parent_death: signal.Signals = signal.SIGKILL
    prepare: Callable[[], None] = lambda: None
    how: Mapping[str, Any] = field(default_factory=lambda: {"cwd": str(CODE)})


def postgres(server: Postgres, environ: Mapping[str, str]) -> Process:
    # SIGINT is PostgreSQL's fast shutdown: it ends its sessions and leaves clean data.
    return Process(
        "postgres",
        tuple(server.command),
        environment.of_server(environ),
        Turn.POSTGRES,
        patience=30,
        end=signal.SIGINT,
        on_parent_death=signal.SIGINT,
        prepare=server.prepare,
        how=server.process,
    )


def valkey(server: Valkey, environ: Mapping[str, str]) -> Process:
    return Process(
        "valkey",
        tuple(server.command),
        environment.of_server(environ),
        Turn.VALKEY,
        on_parent_death=signal.SIGTERM,
        prepare=server.prepare,
        how={"cwd": "/"},
    )


def web(configuration: Configuration, environ: Mapping[str, str]) -> Process:
    command = python(
        "granian",
        "--interface=wsgi",
        f"--host={configuration.HOST.strip('[]')}",
        f"--port={configuration.PORT}",
        f"--workers={configuration.WEB_WORKERS}",
        f"--blocking-threads={configuration.DATABASE_POOL_SIZE}",
        "--respawn-failed-workers",
        "--workers-kill-timeout=8",
        "--log-level=warning",
        "aureus.up.application:application",
    )
    return Process("web", command, environment.of_web(environ), Turn.WEB)


def first(environ: Mapping[str, str]) -> Process:
    """Brings the database up to date, then ends. A migration may take longer than a request."""
    patient = {**environ, "DATABASE_TIMEOUT": "3600000"}
    return Process("first", prepare_database, patient, Turn.WEB)


def workers(environ: Mapping[str, str]) -> tuple[Process, ...]:
    known = environment.of_worker(environ)
    return tuple(
        Process(f"worker {name}", _worker(name, queues, children), known, Turn.WORKERS, patience=45)
        for name, queues, children in WORKERS
    )


def _worker(name: str, queues: tuple[str, ...], children: int) -> Callable[[], int]:
    words = [f"--hostname={name}@%h", f"--queues={','.join(queues)}", f"--concurrency={children}"]

    def work() -> int:
        from aureus.celery import app

        app.worker_main(["--quiet", "worker", *words, "--without-gossip", "--without-mingle"])
        return 0

    return work


def dispatch(environ: Mapping[str, str]) -> Process:
    """The second wake-up beside Beat, and the one who carries rollbacks while the broker is away."""

    def work() -> int:
        from deployments.dispatch import run

        return run()

    return Process("dispatch", work, environment.of_worker(environ), Turn.WORKERS, patience=20)


def beat(run: Path, environ: Mapping[str, str]) -> Process:
    command = celery("beat", f"--schedule={run / 'beat'}", "--pidfile=")
    return Process("beat", command, environment.of_web(environ), Turn.WEB, prepare=lambda: _forget_schedule(run))


def _forget_schedule(run: Path) -> None:
    """The schedule is static; the file of a killed Beat may be torn."""
    for file in run.glob("beat*"):
        file.unlink()


def flower(configuration: Configuration, kept: Kept, environ: Mapping[str, str]) -> Process:
    known = environment.of_web(environ) | {"FLOWER_BASIC_AUTH": f"aureus:{kept.flower_password}"}
    options = ("--address=127.0.0.1", f"--port={configuration.FLOWER_PORT}", "--read_only=True", "--max_tasks=5000")
    return Process("flower", celery("flower", *options, "--logging=warning"), known, Turn.WEB)


def python(module: str, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *words)


def celery(*words: str) -> tuple[str, ...]:
    return python("celery", "--quiet", "--app=aureus.celery", *words)
