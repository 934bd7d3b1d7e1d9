"""Real HAProxy and nginx from the system's packages, each in a folder of a test, on loopback, as this user."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from deployments.drivers import nginx_config
from deployments.drivers.haproxy import HAProxyTraffic
from deployments.drivers.haproxy_config import HAProxySite
from deployments.drivers.nginx import NginxTraffic
from deployments.drivers.nginx_config import NginxSite, Sheet
from deployments.drivers.nginx_lua import LuaNginxTraffic
from tests.drivers.caddy_server import LocalShell, free_port, wait_until

HOST_FILES = Path(__file__).parents[2] / "deploy" / "host"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def require(program: str) -> str:
    """The program's path. Skip without it on a laptop, fail where the whole suite is promised."""
    found = shutil.which(program, path=PATH)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is not installed: apt-get install {program}")
        pytest.skip(f"{program} is not installed")
    return found


def answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


class Balancer:
    """One process tree in `folder`, from deploy/host's own configuration with paths of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self, *words: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """SIGTERM to the master, as systemd would; SIGKILL to master and workers at once."""
        if self.process is None:
            return
        if number == signal.SIGKILL:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        self.process.wait(40)
        self.process = None


class HAProxy(Balancer):
    """HAProxy as master and worker, as Debian's unit starts it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.program = require("haproxy")
        self.socket = str(folder / "admin.sock")
        self.main = folder / "haproxy.main"
        group = f"user {pwd.getpwuid(os.getuid()).pw_name}"
        told = (HOST_FILES / "haproxy.cfg").read_text().replace("/run/haproxy/aureus.sock", self.socket)
        told = told.replace("user root group aureus", group)
        kept = [
            line for line in told.splitlines() if line.split()[:1] not in (["user"], ["group"], ["log"], ["chroot"])
        ]
        self.main.write_text("\n".join(kept) + "\n")

    def start(self) -> None:
        self.spawn(self.program, "-W", "-f", str(self.main), "-f", str(self.folder), "-p", str(self.folder / "pid"))
        wait_until(lambda: answers(self.socket), "HAProxy's socket")

    def site(self, name: str = "shop", **changed: object) -> HAProxySite:
        told: dict[str, object] = {
            "name": name, "listen": f"127.0.0.1:{free_port()}", "folder": str(self.folder),
            "admin_socket": self.socket, "main_config": str(self.main), "program": self.program,
            "reload": f"sh -c 'kill -USR2 $(cat {self.folder}/pid)'", "health_every": 0.2,
        }  # fmt: skip
        return HAProxySite(**(told | changed))  # type: ignore[arg-type]

    def traffic(self, shell: LocalShell, site: HAProxySite) -> HAProxyTraffic:
        return HAProxyTraffic(shell, site)

    def by_hand(self, site: HAProxySite, _: HAProxyTraffic, endpoint: str, weight: int) -> None:
        """What an operator does at the socket."""
        [backend] = [line for line in self.ask("show backend").split() if line.startswith(f"{site.name}.")]
        self.ask(f"set server {backend}/{endpoint} weight {weight}")

    def ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(10)
            asking.connect(self.socket)
            asking.sendall(command.encode() + b"\n")
            said = b""
            while piece := asking.recv(65536):
                said += piece
        return said.decode()


class Nginx(Balancer):
    """nginx as master and two workers; `reload_free` as the node's option says it."""

    reload_free = ""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.program = require("nginx")
        self.main = folder / "nginx.main"
        told = (HOST_FILES / "nginx.conf").read_text().replace("include /srv/lb/", f"include {folder}/")
        told = told.replace("/run/nginx.pid", f"{folder}/pid").replace("/var/log/nginx/", f"{folder}/")
        told = told.replace("user www-data;", "user root;" if os.geteuid() == 0 else "").replace(" auto;", " 2;")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"    {kind}_temp_path {folder}/{kind};\n" for kind in kinds)
        self.main.write_text(told.replace("http {\n", "http {\n" + temporary))

    def start(self) -> None:
        (self.folder / "pid").unlink(missing_ok=True)
        self.spawn(self.program, "-c", str(self.main), "-g", "daemon off;")
        wait_until(lambda: (self.folder / "pid").exists() and (self.folder / "pid").read_text(), "nginx")

    def site(self, name: str = "shop", **changed: object) -> NginxSite:
        told: dict[str, object] = {
            "name": name, "listen": f"127.0.0.1:{free_port()}", "folder": str(self.folder),
            "reload": f"{self.program} -c {self.main} -s reload", "check": f"{self.program} -c {self.main} -t -q",
            "reload_free": self.reload_free, "health_every": 0.2,
        }  # fmt: skip
        return NginxSite(**(told | changed))  # type: ignore[arg-type]

    def traffic(self, shell: LocalShell, site: NginxSite) -> NginxTraffic | LuaNginxTraffic:
        return NginxTraffic(shell, site)

    def by_hand(self, site: NginxSite, _: object, endpoint: str, weight: int) -> None:
        """What an operator does with an editor and a reload; written for weights above 0 that become 0."""
        file = Path(site.file)
        told = nginx_config.read_file(file.read_text())
        changed = Sheet(told.structure, told.endpoints, {**told.weights, endpoint: weight})
        file.write_bytes(nginx_config.write(site, changed))
        subprocess.run(site.reload.split(), check=True)


class LuaNginx(Nginx):
    """nginx with its Lua module."""

    reload_free = "lua"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if not list(Path("/etc/nginx/modules-enabled").glob("*lua*")):
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("install libnginx-mod-http-lua")

    def traffic(self, shell: LocalShell, site: NginxSite) -> LuaNginxTraffic:
        return LuaNginxTraffic(shell, site)

    def by_hand(self, site: NginxSite, _: object, endpoint: str, weight: int) -> None:
        """What an operator does with an editor and curl."""
        file = Path(site.sheet_file)
        told = nginx_config.read(file.read_text())
        file.write_text(str(Sheet(told.structure, told.endpoints, {**told.weights, endpoint: weight})))
        words = ["curl", "-sS", "--fail", "-X", "POST", f"http://{site.asked_at}{nginx_config.VERIFY_PATH}"]
        subprocess.run(words, check=True, capture_output=True)


@contextmanager
def _running[Kind: (HAProxy, Nginx, LuaNginx)](kind: type[Kind]) -> Iterator[Kind]:
    # The path of a unix socket may have 107 bytes: a test's own folder is often deeper than that.
    with tempfile.TemporaryDirectory(prefix="lb-") as folder:
        running = kind(Path(folder))
        try:
            running.start()
            yield running
        finally:
            running.stop(signal.SIGKILL)


def haproxy() -> AbstractContextManager[HAProxy]:
    return _running(HAProxy)


def nginx() -> AbstractContextManager[Nginx]:
    return _running(Nginx)


def nginx_lua() -> AbstractContextManager[LuaNginx]:
    return _running(LuaNginx)


def ask(
    at: str, count: int, method: str = "GET", path: str = "/", body: bytes = b"sent once", **headers: str
) -> Counter[str | int]:
    """Ask host:port on one connection and count the answers by version; the balancer's own count by status."""
    seen: Counter[str | int] = Counter()
    host, _, port = at.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    for _ in range(count):
        connection.request(method, path, body=body if method == "POST" else None, headers=headers)
        answer = connection.getresponse()
        said = answer.read()
        seen[answer.headers.get("X-Demo-Version") or answer.status] += 1
        if method == "POST" and answer.status == 200:
            assert json.loads(said)["got"] == body.decode()
    connection.close()
    return seen
