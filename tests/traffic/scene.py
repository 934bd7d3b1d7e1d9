"""Hosts with two applications behind one real balancer, worked by a real process tree; clients never retry.

`plain` has one place on each host; `sided` has two slots on each, of which one serves.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from aureus.demo import children, declaration, load, machines, shop
from aureus.demo.machines import Machine
from deployments.drivers import balancers as driven
from deployments.drivers import caddy_config
from deployments.drivers.traffic import Traffic
from tests.conftest import wait_until
from tests.drivers import balancers
from tests.drivers.caddy_server import LocalShell, caddy, free_port
from tests.flows.rig import KEY_VARIABLE, Rig

HOSTS = ("127.0.51.1", "127.0.51.2", "127.0.51.3", "127.0.51.4")
BALANCER = "127.0.51.9"
APPLICATIONS = ("plain", "sided")
PHASES = (("plain", "rolling"), ("plain", "canary"), ("sided", "blue-green"), ("sided", "canary"))
"""What is deployed and rolled back, one after the other."""
KINDS: dict[str, tuple[str, Callable[[], AbstractContextManager[Any]]]] = {
    "haproxy": ("haproxy", balancers.haproxy),
    "caddy": ("caddy", caddy),
    "nginx": ("nginx", balancers.nginx),
    "nginx-lua": ("nginx", balancers.nginx_lua),
}
POLICY = {
    "approvals": 0, "promote_from": None, "gates": "basic", "bake": 2, "window": 2, "sample": 0.5,
    "healthy_within": 30, "drain_within": 30, "weights": [10, 50, 100], "rules": {"min_probes": 2, "min_requests": 20},
}  # fmt: skip
CLIENTS, RATE = 20, 400
"""Of each application: how many, and requests a second."""

POLL = 0.4
"""Seconds between two looks at a deployment: what is measured must not wait for the one who watches."""


class Scene:
    """Begun by `with`; one kind of balancer."""

    def __init__(self, folder: Path, kind: str, hosts: int = len(HOSTS), rate: int = RATE, **policy: object) -> None:
        self.kind, begin = KINDS[kind]
        self.hosts, self.rate = HOSTS[:hosts], rate
        self.policy = POLICY | policy
        self.folder = folder
        self.rig = Rig(folder)
        self.machines: list[Machine] = []
        self.listens = {name: f"127.0.0.1:{free_port()}" for name in APPLICATIONS}
        self.loads: dict[str, subprocess.Popen[bytes]] = {}
        self._balancer = begin()
        self._number = 0

    def __enter__(self) -> Scene:
        if os.geteuid() == 0:
            self.folder.chmod(0o711)  # PostgreSQL runs as another user, who has to pass through
        self.balancer = self._balancer.__enter__()
        try:
            self.rig.begin()
            self._begin_hosts()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for running in self.loads.values():
            children.end(running, 5)
        for _file, pid in self._apps():
            children.end_pid(pid)
        self.rig.end()
        for machine in self.machines:
            machine.stop()
        self._balancer.__exit__(None, None, None)

    def _begin_hosts(self) -> None:
        self.ports = ports = [machines.free_port(self.hosts) for _ in range(3)]
        for number, address in enumerate([*self.hosts, BALANCER], start=1):
            name = f"h{number}" if address != BALANCER else "lb"
            folder = self.folder / "hosts" / name
            place = (address, ports[0])
            self.machines.append(machines.make(folder, name, place, self.rig.key, real=self.rig.real_sshd))
            for application in APPLICATIONS:
                _write_restart(folder / application, self.machines[-1].restart, ports)
        self.rig.apply("traffic.yaml", self._declaration(ports))

    def _declaration(self, ports: list[int]) -> dict[str, Any]:
        hosts = [{**row, "key": f"env:{KEY_VARIABLE}"} for row in declaration.hosts(self.machines)]
        node = {"host": "lb", "kind": self.kind, "root": str(self.balancer.folder), "options": self._options()}
        environment = {
            "name": "traffic", **self.policy, "hosts": hosts, "balancers": [{"name": "front", "nodes": [node]}],
        }  # fmt: skip
        places: dict[str, dict[str, Any]] = {
            "plain": {"port": ports[0]},
            "sided": {"slots": {"blue": ports[1], "green": ports[2]}},
        }
        own = {"plain": "rolling", "sided": "blue-green"}
        installations = [
            {
                "application": name, "environment": "traffic", "restart": "sh restart.sh", "metrics": "/metrics",
                "root": str(self.folder / "hosts" / "{host}" / name), "strategy": own[name], "balancer": "front",
                "listen": self.listens[name], **places[name],
            }
            for name in APPLICATIONS
        ]  # fmt: skip
        return {"environments": [environment], "installations": installations}

    def _options(self) -> dict[str, str]:
        if self.kind == "caddy":
            return {"admin_socket": self.balancer.socket}
        site = self.balancer.site()
        names = ("admin_socket", "main_config", "program", "reload", "check", "reload_free")
        return {name: getattr(site, name) for name in names if getattr(site, name, "")}

    # ------------------------------------------------------------------------------ what is done

    def ship(self, application: str, strategy: str, **behaviour: object) -> str:
        """Deploy a new version and wait until it has proven good; the deployment's id."""
        asked, number = self.ask(application, strategy, **behaviour)
        self.until_good(asked, f"{application} {number} ({strategy}) is good")
        return asked

    def ship_bad(self, application: str, strategy: str) -> None:
        """Deploy a version that answers every request with an error, and wait until it was undone by itself."""
        asked, _ = self.ask(application, strategy, error_rate=1.0)

        def undone(now: dict[str, Any]) -> bool:
            rollback = now.get("rollback") or {}
            return now["status"] in ("failed", "rolled_back") and rollback.get("status") == "deployed"

        self.rig.until(asked, undone, "the bad version was undone", 180, POLL)

    def ask(self, application: str, strategy: str, **behaviour: object) -> tuple[str, str]:
        """Ask for a new version that behaves so; the deployment's id and the version's number."""
        self._number += 1
        number = f"1.{self._number}.0"
        spec = {**shop.spec(number), "id": application, "name": application}
        version = self.rig.client.register(spec, number)
        self.rig.client.attach(version["id"], shop.archive(number, **behaviour))
        body = {"versionId": version["id"], "environment": "traffic", "strategy": strategy, "deployedBy": "traffic"}
        return str(self.rig.client.post("/deployments", body)["id"]), number

    def roll_back(self, deployment: str) -> None:
        """Undo it, and wait until the rollback has ended."""
        rollback = self.rig.client.roll_back(deployment, "shown that nothing is lost by it")["id"]
        self.rig.until(rollback, lambda now: now["status"] in ("deployed", "failed"), "it is rolled back", 180, POLL)
        assert self.rig.client.deployment(rollback)["status"] == "deployed"

    def until_good(self, deployment: str, what: str) -> None:
        """Wait until it was deployed and its window has passed."""

        def window(now: dict[str, Any]) -> str:
            return str((now.get("window") or {}).get("status"))

        def ended(now: dict[str, Any]) -> bool:
            return now["status"] == "failed" or (now["status"] == "deployed" and window(now) not in ("open", "held"))

        now = self.rig.until(deployment, ended, what, 240, POLL)
        assert (now["status"], window(now)) == ("deployed", "pass"), now["reason"]

    def traffic(self, application: str) -> Traffic:
        """The balancer beside Aureus, as a person at its machine sees it."""
        name, listen = f"{application}-traffic", self.listens[application]
        options = {key: value for key, value in self._options().items() if key != "program"}
        site = driven.site(self.kind, name, listen, str(self.balancer.folder), options, "/health")
        return driven.driver(LocalShell(), site)

    def edit(self, application: str, endpoint: str, weight: int) -> None:
        """What somebody does to the weights by hand, past Aureus."""
        traffic: Any = self.traffic(application)
        if self.kind == "caddy":
            live = traffic._live()
            told = caddy_config.write(traffic._site, live.endpoints, {**live.weights, endpoint: weight}, live.fence)
            Path(traffic._site.weights_file(live.structure)).write_bytes(told)
        else:
            self.balancer.by_hand(traffic._site, traffic, endpoint, weight)

    def edit_file(self, application: str) -> None:
        """What somebody does to our file by hand, past Aureus; the balancer itself goes on as it was."""
        traffic: Any = self.traffic(application)
        site = traffic._site
        path = Path(site.weights_file(traffic._live().structure) if self.kind == "caddy" else site.file)
        path.write_bytes(path.read_bytes() + (b"\n" if self.kind == "caddy" else b"# a note of somebody's\n"))

    def versions(self, application: str = "plain") -> set[str]:
        """What the apps themselves say they are."""
        port = self.ports[APPLICATIONS.index(application)]
        found = set()
        for address in self.hosts:
            with urlopen(f"http://{address}:{port}/version", timeout=5) as answer:
                found.add(json.load(answer)["version"])
        return found

    def restart_undrained(self, application: str) -> int:
        """The control: each app is restarted under its users, never two at once; how many were."""
        apps = self._apps(application)
        for file, pid in apps:
            _restart_undrained(file, pid)
        return len(apps)

    def _apps(self, application: str = "*") -> list[tuple[Path, int]]:
        """Those that run: the file that names the process, and its number."""
        found = []
        for file in sorted(self.folder.glob(f"hosts/h*/{application}/shared/app*.pid")):
            text = file.read_text().strip()
            if text.isdigit() and str(file.parents[1]) in _command(int(text)):
                found.append((file, int(text)))
        return found

    # ------------------------------------------------------------------------------ the load

    def begin_load(self, application: str) -> None:
        """Steady keep-alive clients, half of their requests POST, none of them ever repeated."""
        words = [sys.executable, load.__file__, f"http://{self.listens[application]}/"]
        words += ["--clients", str(CLIENTS), "--rate", str(self.rate), "--posts", "0.5"]
        self.loads[application] = children.start(words, self._log(application))
        wait_until(lambda: self.figures(application).get("sent"), seconds=30, what=f"load on {application}")

    def end_load(self, application: str) -> dict[str, Any]:
        """Its last figures, after every request in flight was answered."""
        children.end(self.loads.pop(application), 40)
        return self.figures(application)

    def figures(self, application: str) -> dict[str, Any]:
        """What the load tool saw so far, at least as new as this call; its last words where it has ended."""
        asked, running = time.time(), application in self.loads
        told: dict[str, Any] = {}

        def fresh() -> bool:
            file = self._log(application)
            lines = [row for row in file.read_text().splitlines() if row.endswith("}")] if file.exists() else []
            told.update(json.loads(lines[-1]) if lines else {})
            return bool(lines) and (told["at"] >= asked or not running)

        wait_until(fresh, seconds=30, what="the load tool says how it goes")
        return told

    def _log(self, application: str) -> Path:
        return self.folder / f"load-{application}.log"


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _restart_undrained(file: Path, pid: int) -> None:
    """With SIGKILL, since the demo's app would drain itself at SIGTERM; back when it answers."""
    release, port, address = _command(pid).split("\0")[2:5]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: children.is_gone(pid), seconds=10, what="the app is gone")
    known = children.environment(AUREUS_RELEASE=release, AUREUS_SLOT=file.stem.removeprefix("app-"))
    subprocess.run(["sh", "restart.sh"], cwd=file.parents[1], env=known, timeout=30, check=True)
    wait_until(lambda: _answers(f"http://{address}:{port}/health"), seconds=30, what="the app is back")


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _write_restart(root: Path, like: Path, ports: list[int]) -> None:
    """The machine's own restart script, which starts the slot that it is told."""
    (root / "shared").mkdir(parents=True)
    script = like.read_text().replace("shared/app.pid", "shared/app-$AUREUS_SLOT.pid")
    cases = f"case $AUREUS_SLOT in blue) port={ports[1]} ;; green) port={ports[2]} ;; *) port={ports[0]} ;; esac\n"
    script = script.replace("set -eu\n", "set -eu\n" + cases).replace(
        f'"$AUREUS_RELEASE" {ports[0]} ', '"$AUREUS_RELEASE" "$port" '
    )
    (root / "restart.sh").write_text(script)
