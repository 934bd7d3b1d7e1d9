"""The demo's scene: machines, a balancer, and one `aureus up`, all on this machine and in one folder."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aureus.demo import children, load, machines
from aureus.demo.balancer import Caddy
from aureus.demo.instance import Instance
from aureus.demo.keys import write_key
from aureus.demo.machines import Machine

STAGING = {"staging-1": "127.0.0.11"}
PRODUCTION = {"production-1": "127.0.0.21", "production-2": "127.0.0.22", "production-3": "127.0.0.23"}
BALANCER = {"balancer-1": "127.0.0.31"}


@dataclass
class Scene:
    """Begun by `begin`, ended by `end`, whatever became of it in between."""

    folder: Path
    staging: list[Machine] = field(default_factory=list)
    production: list[Machine] = field(default_factory=list)
    balancers: list[Machine] = field(default_factory=list)
    caddy: Caddy | None = None
    aureus: Instance | None = None
    load: subprocess.Popen[bytes] | None = None
    real_sshd: bool = False

    @property
    def key(self) -> Path:
        """The private key by which Aureus reaches the machines."""
        return self.folder / "keys" / "deploy"

    @property
    def machines(self) -> list[Machine]:
        return [*self.staging, *self.production, *self.balancers]

    def begin(self, **given: str) -> None:
        """Start everything; `aureus up` may still be busy starting. `given` is more environment for it."""
        if os.geteuid() == 0:
            self.folder.chmod(0o711)  # PostgreSQL runs as another user, who has to pass through
        self.aureus = Instance(self.folder / "aureus", **given)
        self.aureus.start()
        self.key.parent.mkdir(mode=0o700)
        write_key(self.key)
        self.real_sshd = machines.sshd_lets_us_in(self.folder / "hosts" / "trial", self.key)
        for group, places in ((self.staging, STAGING), (self.production, PRODUCTION), (self.balancers, BALANCER)):
            self._add(group, places)
        self.caddy = Caddy(self.folder / "caddy")
        self.caddy.start()

    def _add(self, group: list[Machine], places: dict[str, str]) -> None:
        """Machines that differ by their address alone, as they would elsewhere: the app's port is one for all."""
        port = machines.free_port(list(places.values()))
        for name, address in places.items():
            folder = self.folder / "hosts" / name
            group.append(machines.make(folder, name, (address, port), self.key, real=self.real_sshd))

    @property
    def load_log(self) -> Path:
        return self.folder / "load.log"

    def begin_load(self, *, clients: int = 12, rate: float = 100) -> None:
        """Put steady traffic on the balancer: keep-alive clients, every fifth request a POST."""
        assert self.caddy is not None
        words = [sys.executable, load.__file__, f"{self.caddy.url}/", "--clients", str(clients), "--rate", str(rate)]
        self.load = children.start(words, self.load_log)

    def figures(self) -> dict[str, Any]:
        """What the load tool saw so far; {} before its first line."""
        if not self.load_log.exists():
            return {}
        lines = [line for line in self.load_log.read_text().splitlines() if line.endswith("}")]
        return dict(json.loads(lines[-1])) if lines else {}

    def end_load(self) -> dict[str, Any]:
        """Its last figures, after every request in flight was answered."""
        children.end(self.load, 40)
        return self.figures()

    def end(self, *, hurry: bool = False) -> None:
        """End every process, who depends on others first. `hurry`: nobody waits for what is still being deployed."""
        children.end(self.load, 5)
        if self.aureus is not None:
            self.aureus.stop(hurry=hurry)
        if self.caddy is not None:
            self.caddy.stop()
        for machine in self.machines:
            machine.stop()
