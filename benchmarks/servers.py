"""Real servers for a benchmark: PostgreSQL, Valkey and one Celery worker, ended with the block that asked for them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from aureus.embedded import kept
from aureus.embedded.postgres import Postgres
from aureus.embedded.valkey import Valkey
from aureus.up.tie import tied

CODE = Path(__file__).parents[1]


def wait_until(claim: Callable[[], object], *, seconds: float, what: str) -> None:
    """Poll until `claim` holds. Raises TimeoutError with `what`."""
    end = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.02)


@contextlib.contextmanager
def started(words: list[str], end: signal.Signals, log: Path, **how: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the time of the block, and never longer than this one lives."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=tied(signal.SIGKILL),
            **how,  # type: ignore[call-overload]
        )
    try:
        yield process
    finally:
        process.send_signal(end)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def stack() -> Iterator[dict[str, str]]:
    """PostgreSQL (durable, as in production) and Valkey; the environment that points Aureus at them."""
    folder = Path(tempfile.mkdtemp(prefix="aureus-bench-"))
    folder.chmod(0o711)
    pg_port, valkey_port = kept.free_ports(2)
    postgres = Postgres(folder / "postgres", pg_port, secrets.token_urlsafe(12))
    valkey = Valkey(folder / "valkey", valkey_port, secrets.token_urlsafe(12))
    postgres.prepare()
    valkey.prepare()
    plain = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
    try:
        with (
            started(postgres.command, signal.SIGINT, folder / "postgres.log", env=plain, **postgres.process),
            started(valkey.command, signal.SIGTERM, folder / "valkey.log", env=plain),
        ):
            wait_until(postgres.is_ready, seconds=30, what="PostgreSQL")
            wait_until(valkey.is_ready, seconds=30, what="Valkey")
            postgres.create_database()
            yield {
                **os.environ,
                "AUREUS_HOME": str(folder / "home"),
                "DATABASE_URL": f"postgresql://aureus:{postgres.password}@127.0.0.1:{pg_port}/aureus",
                "REDIS_URL": f"redis://:{valkey.password}@127.0.0.1:{valkey_port}/0",
                "JWT_SECRET": secrets.token_urlsafe(40),
                "DJANGO_SETTINGS_MODULE": "aureus.settings",
                "LOG_LEVEL": "error",
            }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def worker(environ: dict[str, str], app: str) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """One worker process with one child on all queues that the benchmark uses."""
    words = [sys.executable, "-m", "celery", "--quiet", f"--app={app}", "worker", "--concurrency=1"]
    words += ["--queues=deploy,rollback,transfer,watch", "--without-gossip", "--without-mingle"]
    log = Path(environ["AUREUS_HOME"]).parent / "worker.log"
    return started(words, signal.SIGQUIT, log, env=environ, cwd=str(CODE))
