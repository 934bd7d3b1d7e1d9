"""The rig of the flow tests: a real `aureus up`, a Valkey of its own, and as many SSH hosts as a test asks for."""

import itertools
import json
import os
import secrets
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import yaml

from aureus.demo import children, declaration, machines
from aureus.demo.balancer import Caddy
from aureus.demo.client import Client
from aureus.demo.instance import Instance
from aureus.demo.keys import write_key
from aureus.demo.machines import Machine
from aureus.embedded import kept
from aureus.embedded.valkey import Valkey
from tests.conftest import wait_until

KEY_VARIABLE = "FLOW_SSH_KEY"
POLICY = {
    "approvals": 0,
    "promote_from": None,
    "gates": "basic",
    "bake": 0,
    "window": 2,
    "sample": 0.5,
    "healthy_within": 6,
    "drain_within": 20,
    # Nobody but the probes asks these apps anything, and a window is short.
    "rules": {"min_probes": 2, "min_requests": 20},
}
OWN_APP = """
number=${AUREUS_CONTENT%-*}
healthy=true
[ "$(cat shared/sick 2>/dev/null)" != "$number" ] || healthy=false
sleep "$(cat shared/slow 2>/dev/null || echo 0)"
mkdir -p shared/own
cp WEBAPP shared/own/webapp.py
printf '{"version": "%s", "healthy": %s}' "$number" "$healthy" >shared/own/app.json
setsid """


@dataclass
class Fleet:
    """What one test works on: environments with their machines, and perhaps a balancer."""

    application: str
    machines: dict[str, list[Machine]] = field(default_factory=dict)
    caddy: Caddy | None = None
    front: Machine | None = None
    """The machine of its balancer."""

    def versions(self, environment: str) -> list[str | None]:
        """What each app of an environment says it is."""
        return [machine.version() for machine in self.machines[environment]]

    def stop(self) -> None:
        if self.caddy is not None:
            self.caddy.stop()
        for machine in itertools.chain(*self.machines.values(), [self.front] if self.front else []):
            machine.stop()


class Rig:
    """One for the whole run. Each test declares a fleet of its own, so that they may come in any order."""

    def __init__(self, folder: Path, *, valkey_port: int = 0, broker: int = 0, **given: str) -> None:
        """broker: the port that Aureus is told, where something stands between it and Valkey."""
        self.folder = folder
        port = valkey_port or kept.free_ports(1)[0]
        self.valkey = Valkey(folder / "valkey", port, secrets.token_urlsafe(12))
        self._valkey: subprocess.Popen[bytes] | None = None
        self.key = folder / "key"
        write_key(self.key)
        url = f"redis://:{self.valkey.password}@127.0.0.1:{broker or port}/0"
        self.aureus = Instance(folder / "aureus", REDIS_URL=url, **{KEY_VARIABLE: self.key.read_text()}, **given)
        self.client = Client(self.aureus.url)
        self._numbers = itertools.count(1)
        self.real_sshd = False
        self._fleets: list[Fleet] = []

    def begin(self) -> None:
        self.start_valkey()
        self.aureus.start()
        self.real_sshd = machines.sshd_lets_us_in(self.folder / "trial", self.key)
        self.aureus.wait()
        self.client.login("admin", self.admin_password())

    def admin_password(self) -> str:
        return self.aureus.password

    def end(self) -> None:
        self.aureus.stop(hurry=True)
        self.stop_valkey()
        for fleet in self._fleets:
            fleet.stop()

    def start_valkey(self) -> None:
        """Until it answers; its data is what it was."""
        self.valkey.prepare()
        self._valkey = children.start(self.valkey.command, self.folder / "valkey.log")
        wait_until(self.valkey.is_ready, seconds=20, what="Valkey answers")

    def stop_valkey(self) -> None:
        children.end(self._valkey)

    def machine(self, name: str, port: int, address: str) -> Machine:
        """A machine whose app needs no artifact: it is its own, and says what the act told it."""
        folder = self.folder / "hosts" / name
        made = machines.make(folder, name, (address, port), self.key, real=self.real_sshd)
        script = made.restart.read_text().replace('"$AUREUS_RELEASE', '"$AUREUS_ROOT/shared/own')
        own = OWN_APP.replace("WEBAPP", str(children.CODE / "aureus" / "demo" / "webapp.py")).lstrip("\n")
        made.restart.write_text(script.replace("setsid ", own))
        return made

    def fleet(
        self,
        application: str,
        environments: dict[str, int],
        installation: dict[str, Any] | None = None,
        *,
        caddy: Caddy | None = None,
        **policies: dict[str, Any],
    ) -> Fleet:
        """Start machines and declare them: so many per environment; a policy by the environment's name.

        installation: what else is declared of how the application lives there. caddy: a balancer that runs already.
        """
        made = Fleet(application, caddy=caddy)
        self._fleets.append(made)
        said: dict[str, list[Any]] = {"environments": [], "installations": []}
        for environment, count in environments.items():
            places = [f"127.0.{next(self._numbers)}.1" for _ in range(count)]
            port = machines.free_port(places)
            group = made.machines.setdefault(environment, [])
            for number, place in enumerate(places, start=1):
                group.append(self.machine(f"{environment}-{number}", port, place))
            hosts = [
                {**row, "key": f"env:{KEY_VARIABLE}"} for row in declaration.hosts(group)
            ]  # fmt: skip
            said["environments"].append(
                {"name": environment, "hosts": hosts, **POLICY, **policies.get(environment.replace("-", "_"), {})}
            )
            said["installations"].append(self._installation(application, environment, port) | (installation or {}))
            if caddy is not None:
                self._balanced(made, caddy, environment, said)
        self.apply(f"{application}.yaml", said)
        return made

    def _balanced(self, fleet: Fleet, caddy: Caddy, environment: str, said: dict[str, list[Any]]) -> None:
        """Put a running Caddy in front of the environment declared last."""
        fleet.front = self.machine(f"{environment}-lb", 1, f"127.0.{next(self._numbers)}.1")
        lb = [{**row, "key": f"env:{KEY_VARIABLE}"} for row in declaration.hosts([fleet.front])]
        hosts = said["environments"][-1]["hosts"]
        said["installations"][-1] |= {
            "hosts": [row["name"] for row in hosts], "balancer": "front", "listen": caddy.listen,
        }  # fmt: skip
        options = {"admin_socket": caddy.admin_socket}
        node = {"host": fleet.front.name, "kind": "caddy", "root": str(caddy.folder), "options": options}
        said["environments"][-1] |= {"hosts": [*hosts, *lb], "balancers": [{"name": "front", "nodes": [node]}]}

    def _installation(self, application: str, environment: str, port: int) -> dict[str, Any]:
        return {
            "application": application,
            "environment": environment,
            "root": str(self.folder / "hosts" / "{host}" / "app"),
            "restart": "sh restart.sh",
            "port": port,
            "strategy": "rolling",
        }

    def apply(self, name: str, said: dict[str, Any]) -> None:
        file = self.folder / name
        # Through JSON, since what stands twice in memory would become an alias.
        file.write_text(yaml.safe_dump(json.loads(json.dumps(said)), sort_keys=False))
        declaration.apply(file, self.aureus.given)

    def version(self, application: str, number: str) -> str:
        """Register a version without artifact; its id."""
        tasks = [{"id": "health", "tool": "http", "params": {"path": "/health"}}]
        return str(self.client.register({"id": application, "name": application, "tasks": tasks}, number)["id"])

    def deploy(self, application: str, number: str, environment: str) -> dict[str, Any]:
        return self.client.deploy(self.version(application, number), environment)

    def until(
        self,
        deployment_id: str,
        claim: Callable[[dict[str, Any]], object],
        what: str,
        seconds: float = 60,
        each: float = 0.05,
    ) -> dict[str, Any]:
        """Poll a deployment until something holds; what the API says then."""
        last: dict[str, Any] = {}

        def holds() -> object:
            last.update(self.client.deployment(deployment_id))
            return claim(last)

        try:
            wait_until(holds, seconds=seconds, what=what, each=each)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {last['status']}: {last['reason']}") from None
        return last

    def deployed(self, application: str, number: str, environment: str) -> dict[str, Any]:
        """Bring a version there and wait until it has proven good."""
        asked = self.deploy(application, number, environment)
        self.until(asked["id"], lambda now: now["status"] == "deployed", f"{number} is deployed")
        good = "a closed window"
        return self.until(asked["id"], lambda now: now["window"]["status"] == "pass", good)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Look into the database beside the API."""
        connection = psycopg2.connect(self.database_url())
        try:
            with connection.cursor() as cursor:
                cursor.execute(query, values or None)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def database_url(self) -> str:
        found = kept.read(self.aureus.home)
        assert found
        return found.database_url


def environ_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")


def owner_pid(owner: str) -> int:
    """The process in a lease's owner, `host:pid`, of this machine."""
    host, _, pid = owner.rpartition(":")
    assert host == os.uname().nodename
    return int(pid)
