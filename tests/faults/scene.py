"""What is broken: a tree with Valkey and PostgreSQL behind proxies, a second Beat and dispatcher, and SSH hosts."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aureus.demo import children
from aureus.demo.balancer import Caddy
from aureus.demo.machines import Machine
from aureus.embedded import kept
from aureus.embedded.postgres import Postgres
from deployments.drivers import balancers as driven
from tests.conftest import wait_until
from tests.drivers.caddy_server import LocalShell
from tests.faults.proxy import Proxy
from tests.flows.rig import POLICY, Fleet, Rig
from tests.test_up import children_of, descendants_of, is_gone

HERE = Path(__file__).resolve().parent
MIGRATE = 'echo "$AUREUS_CONTENT" >>"$AUREUS_ROOT/shared/migrated"'
WORKERS = ("rollback", "deploy", "transfer", "watch", "sweep")
QUICK = {**POLICY, "window": 4}


class Scene(Rig):
    """Everything that runs, by name, with what it takes to end it and to start it again."""

    def __init__(self, folder: Path, away: float) -> None:
        self.away = away
        [port, valkey_port] = kept.free_ports(2)
        self.postgres = Postgres(folder / "postgres", port, secrets.token_urlsafe(12))
        self.to_postgres, self.to_valkey = Proxy(port), Proxy(valkey_port)
        given = {
            "DATABASE_URL": f"postgresql://aureus:{self.postgres.password}@127.0.0.1:{self.to_postgres.port}/aureus",
            "JWT_SECRET": secrets.token_urlsafe(32),
            "ADMIN_PASSWORD": secrets.token_urlsafe(12),
            "STUCK_AFTER": "60s",
        }
        super().__init__(folder, valkey_port=valkey_port, broker=self.to_valkey.port, **given)
        self._postgres: subprocess.Popen[bytes] | None = None
        self.beside: dict[str, subprocess.Popen[bytes]] = {}
        # A child is tied to the thread that started it: all are started by one that lives as long as the scene.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="starter")

    def begin(self) -> None:
        self.start_postgres()
        self.postgres.create_database()
        self._starter.submit(super().begin).result()
        self.start_beside()

    def end(self) -> None:
        for process in self.beside.values():
            children.end(process, 3)
        super().end()
        self._starter.shutdown()
        self.stop_postgres(signal.SIGINT)
        self.to_postgres.close()
        self.to_valkey.close()

    def admin_password(self) -> str:
        return self.aureus.given["ADMIN_PASSWORD"]

    def database_url(self) -> str:
        return f"postgresql://aureus:{self.postgres.password}@127.0.0.1:{self.postgres.port}/aureus"

    # ----------------------------------------------------------------- servers

    def start_postgres(self) -> None:
        self.postgres.prepare()
        with (self.folder / "postgres.log").open("ab") as log:
            self._postgres = subprocess.Popen(
                self.postgres.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                **self.postgres.process,
            )  # fmt: skip
        wait_until(self.postgres.is_ready, seconds=60, what="PostgreSQL answers")

    def stop_postgres(self, how: signal.Signals) -> None:
        """SIGQUIT is PostgreSQL's immediate stop: no checkpoint, as after a crash."""
        if self._postgres is not None:
            self._postgres.send_signal(how)
            self._postgres.wait(60)

    def start_valkey(self) -> None:
        if threading.current_thread().name.startswith("starter"):
            return super().start_valkey()
        return self._starter.submit(super().start_valkey).result()

    def kill_valkey(self) -> None:
        assert self._valkey
        self._valkey.kill()
        self._valkey.wait(10)

    # ----------------------------------------------------------------- processes of Aureus

    def start_beside(self) -> None:
        """A second Beat and a second dispatcher, as a careless operator has them."""
        schedule = f"--schedule={self.folder / 'second-beat'}"
        beat = children.python("celery", "--quiet", "--app=aureus.celery", "beat", schedule, "--pidfile=")
        for name, words in (("second beat", beat), ("second dispatcher", children.python("aureus.cli", "dispatch"))):
            if name not in self.beside or self.beside[name].poll() is not None:
                self._beside(name, words)

    def start_skewed(self, seconds: float) -> subprocess.Popen[bytes]:
        """One more worker of steps, whose clock is off."""
        words = ("--quiet", "--app=aureus.celery", "worker", "--queues=deploy,rollback,sweep", "--concurrency=1")
        given = {"AUREUS_TEST_SKEW": str(seconds), "PYTHONPATH": str(HERE / "skewed")}
        return self._beside("skewed worker", children.python("celery", *words, "--hostname=skewed@%h"), **given)

    def _beside(self, name: str, words: list[str], **given: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"{name.replace(' ', '-')}.log"
        given = self.aureus.given | given
        self.beside[name] = self._starter.submit(children.start, words, log, **given).result()
        return self.beside[name]

    def process(self, name: str) -> int | None:
        """The pid of a child of `aureus up`, by the log it writes to."""
        assert self.aureus.process
        for pid in children_of(self.aureus.process.pid):
            try:
                if os.readlink(f"/proc/{pid}/fd/2").endswith(f"/{name}.log"):
                    return pid
            except OSError:
                continue
        return None

    def workers(self) -> list[int]:
        found = (self.process(f"worker-{name}") for name in WORKERS)
        return [pid for pid in found if pid is not None]

    def worker_children(self) -> list[int]:
        return [child for worker in self.workers() for child in children_of(worker)]

    def at_work(self) -> list[int]:
        """Those children of workers that hold the lease of a step just now."""
        owners = self.rows("SELECT DISTINCT lease_owner FROM deployments_step WHERE status = 'running'")
        pids = {int(owner.rpartition(":")[2]) for (owner,) in owners if owner}
        return [pid for pid in self.worker_children() if pid in pids]

    def kill_up(self) -> None:
        """The whole tree by its root, then another start."""
        assert self.aureus.process
        tree = descendants_of(self.aureus.process.pid)
        self.aureus.process.kill()
        self.aureus.process.wait(10)
        wait_until(lambda: all(is_gone(pid) for pid in tree), seconds=20, what="nothing of the tree is left")
        self._starter.submit(self.aureus.start).result()

    # ----------------------------------------------------------------- hosts

    def machines(self) -> list[Machine]:
        """Those with an application; a balancer's machine has none."""
        return [machine for fleet in self._fleets for group in fleet.machines.values() for machine in group]

    def fleets(self) -> list[Fleet]:
        return list(self._fleets)

    def sessions(self, machine: Machine) -> list[int]:
        """The SSH server with every session of it, and nothing of the app."""
        return [machine.process.pid, *children_of(machine.process.pid)]

    def new_fleet(self, name: str, hosts: int, window: float) -> Fleet:
        """Hosts that are changed one after the other, with a migration that leaves a trace each time it runs."""
        policies: dict[str, Any] = {name: {**QUICK, "window": window}}
        return self.fleet(name, {name: hosts}, {"migrate": MIGRATE}, **policies)

    def new_canary(self, name: str, hosts: int, window: float) -> Fleet:
        """Hosts behind a balancer of their own, changed by a canary."""
        caddy = Caddy(self.folder / f"caddy-{name}")
        self._starter.submit(caddy.start).result()
        policies: dict[str, Any] = {name: {**QUICK, "window": window, "weights": [50, 100], "bake": 2}}
        return self.fleet(name, {name: hosts}, {"strategy": "canary"}, caddy=caddy, **policies)

    def live_weights(self, fleet: Fleet) -> dict[str, int]:
        """What the fleet's balancer routes by, as a person at its machine sees it."""
        caddy = fleet.caddy
        assert caddy is not None
        site = driven.site(
            "caddy", f"{fleet.application}-{fleet.application}", caddy.listen, str(caddy.folder),
            {"admin_socket": caddy.admin_socket}, "/health",
        )  # fmt: skip
        return dict(driven.driver(LocalShell(), site).read())
