"""The faults, and how each is let loose in the middle of one act on one host."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, BinaryIO

from django.db import connections

from aureus.journal.actor import Actor
from deployments import lifecycle
from deployments.drivers import Answer, HostAddress, ReleaseFiles, Site
from deployments.drivers.ssh import SSHHosts
from deployments.models import Deployment, Host
from tests.system.bed import BedHost, chaos

Act = Callable[[BedHost], None]
PREPARE, ACTIVATE, ROLLBACK = "prepare", "activate", "rollback"
EVERY_ACT = (PREPARE, ACTIVATE, ROLLBACK)
RESTARTS = (ACTIVATE, ROLLBACK)
BOB = Actor("bob")


@dataclass(frozen=True)
class Fault:
    """What befalls a host in these acts, and how it ends. before: at the act's begin, not in the middle of it.

    stills: the application on it does not answer while it lasts. borne: the deployment goes on in spite of it.
    """

    name: str
    befall: Act
    heal: Act
    acts: tuple[str, ...] = EVERY_ACT
    before: bool = False
    stills: bool = False
    borne: bool = False
    unit: str = ""


def _app(**fault: object) -> Act:
    """What the app does from its next start on, whatever its version."""

    def befall(host: BedHost) -> None:
        versions = json.loads((host.root / "srv/versions").read_text())
        host.put("srv/app/shared/faults.json", json.dumps(dict.fromkeys(versions, fault)), owner=1000)

    return befall


def _well(host: BedHost) -> None:
    """What a person does on the host: take the cause away, and restart what runs with it."""
    faults = host.root / "srv/app/shared/faults.json"
    if faults.exists():
        faults.unlink()
        host.run("systemctl", "restart", "app.service")


def _nothing(host: BedHost) -> None:
    """It is over by itself."""


def _person(say: Callable[[Deployment, str], object]) -> Act:
    """What a person says of the deployment that is under way where the host is."""

    def speak(host: BedHost) -> None:
        try:
            environment = Host.objects.get(name=host.name).environment
            say(Deployment.objects.get(installation__environment=environment, status="in_progress"), host.name)
        finally:
            connections.close_all()

    return speak


def _abort(deployment: Deployment, _: str) -> None:
    lifecycle.abort(deployment.pk, actor=BOB, reason="the wrong version")


def _exclude(deployment: Deployment, host: str) -> None:
    lifecycle.exclude(deployment.pk, actor=BOB, host=host, reason="its power supply is being changed")


def _cut_and_excluded(host: BedHost) -> None:
    chaos.cut(host)
    _person(_exclude)(host)


FAULTS = (
    Fault("cut off", chaos.cut, chaos.heal),
    Fault("black hole", chaos.black_hole, chaos.heal),
    Fault("sshd refuses", chaos.reject, chaos.heal),
    Fault("frozen", chaos.freeze, chaos.thaw, stills=True),
    Fault("disk full", chaos.fill_disk, chaos.free_disk),
    Fault("inodes full", chaos.fill_inodes, chaos.free_disk),
    Fault("rebooted", chaos.reboot, BedHost.wait_ready, stills=True),
    Fault("SSH dropped", chaos.drop_ssh, _nothing, borne=True),
    Fault("a person aborts", _person(_abort), _nothing, (ACTIVATE,)),
    Fault("cut off and excluded", _cut_and_excluded, chaos.heal, (ACTIVATE,), borne=True),
    Fault("crashes on start", _app(crash=True), _well, RESTARTS, before=True, stills=True),
    Fault("never ready", _app(never=True), _well, RESTARTS, before=True, stills=True),
    Fault("starts slowly", _app(slow=13), _well, RESTARTS, before=True, borne=True, unit="Type=notify\n"),
)


class Trap:
    """Springs once, in the middle of an act on its host."""

    def __init__(self, verb: str, host: BedHost, fault: Fault) -> None:
        self.verb = verb
        self.host = host
        self.fault = fault
        self.taken = False
        self.sprung = threading.Event()

    def spring(self) -> None:
        """Let the fault loose."""
        if not self.sprung.is_set():
            self.fault.befall(self.host)
            self.sprung.set()

    def spring_in_restart(self, key: str) -> None:
        """As soon as the host has begun the restart of this act."""
        output = self.host.root / "srv/app/.aureus/acts" / key / "output"
        ends = time.monotonic() + 60
        while not output.exists() and time.monotonic() < ends:
            time.sleep(0.01)
        if output.exists():
            self.spring()


class TrappedHosts:
    """The real hosts driver, with traps laid before it."""

    def __init__(self, hosts: SSHHosts) -> None:
        self._hosts = hosts
        self.traps: dict[str, Trap] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hosts, name)

    def _trap(self, verb: str, host: HostAddress) -> Trap | None:
        trap = self.traps.get(host.name)
        if trap is None or trap.verb != verb or trap.taken:
            return None
        trap.taken = True
        return trap

    def prepare(self, host: HostAddress, site: Site, release: ReleaseFiles, **rest: Any) -> Answer:
        trap, archive = self._trap("prepare", host), release.archive
        if trap is not None and archive is not None:
            release = replace(release, archive=lambda: _Tripping(archive(), trap))  # type: ignore[arg-type, return-value]
        return self._hosts.prepare(host, site, release, **rest)

    def activate(self, host: HostAddress, site: Site, content: str, *, key: str, **rest: Any) -> Answer:
        trap = self._trap("activate", host)
        if trap is not None and trap.fault.before:
            trap.spring()
        elif trap is not None:
            threading.Thread(target=trap.spring_in_restart, args=(key,), daemon=True).start()
        return self._hosts.activate(host, site, content, key=key, **rest)


class _Tripping:
    """An archive that springs a trap when its first piece has been sent."""

    def __init__(self, stream: BinaryIO, trap: Trap) -> None:
        self.stream = stream
        self.trap = trap
        self.pieces = 0

    def __enter__(self) -> _Tripping:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stream.close()

    def read(self, size: int) -> bytes:
        self.pieces += 1
        if self.pieces == 2:
            self.trap.spring()
        return self.stream.read(size)
