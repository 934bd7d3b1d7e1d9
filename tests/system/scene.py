"""Fleets of real systemd hosts, and workers in threads: every lane is an environment of three hosts with one fault."""

from __future__ import annotations

import io
import json
import secrets
import tarfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from django.db import connections

from aureus.journal.actor import Actor
from deployments import execution, leases, lifecycle, outside, policy
from deployments.drivers import HostError
from deployments.fleet import converge
from deployments.models import Deployment, Endpoint, Environment, Host, Installation, Step
from releases import registry
from releases.models import Application, Version
from releases.store.directory import DirectoryStore
from tests.system.bed import BedHost
from tests.system.faults import Fault, Trap, TrappedHosts

ALICE = Actor("alice")
NUMBERS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0")
UNIT = """[Unit]
ConditionPathExists=/srv/app/current
StartLimitIntervalSec=0
[Service]
User=deploy
WorkingDirectory=/srv/app/current
ExecStart=/usr/bin/python3 app.py
Restart=on-failure
RestartSec=1
TimeoutStopSec=10
"""
WANTED = "[Install]\nWantedBy=multi-user.target\n"
SUDO = "deploy ALL=(root) NOPASSWD: /usr/bin/systemctl restart app.service\n"
LONG_AGO = "2026-01-01T00:00:00Z"
ENDED = ("deployed", "failed", "rolled_back")


def furnish(host: BedHost, unit: str) -> None:
    """What an administrator sets up: the unit, and the right to restart it."""
    host.put("etc/systemd/system/app.service", UNIT + unit + WANTED)
    wants = host.root / "etc/systemd/system/multi-user.target.wants/app.service"
    wants.symlink_to("/etc/systemd/system/app.service")
    host.put("etc/sudoers.d/deploy", SUDO, mode=0o440)
    host.put("srv/versions", json.dumps(NUMBERS))


def register(store: DirectoryStore) -> dict[str, Version]:
    """The versions, each with an archive that takes several pieces to send."""
    program, found = Path(__file__).with_name("app.py"), {}
    for number in NUMBERS:
        octets = io.BytesIO()
        with tarfile.open(fileobj=octets, mode="w:gz") as tar:
            for name, text in (
                ("app.json", json.dumps({"version": number}).encode()),
                ("app.py", program.read_bytes()),
                ("noise", secrets.token_bytes(400_000)),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text))
        version, _ = registry.register({"id": "shop", "name": "shop", "tasks": []}, number, actor=ALICE)
        archive = octets.getvalue()
        digest = sha256(archive).hexdigest()
        found[number] = registry.attach(
            version.pk, io.BytesIO(archive), sha256=digest, store=store, max_size=10**8, actor=ALICE
        )
    return found


class Workers:
    """What Beat and the workers do, in threads of this process."""

    def __init__(self, whole: outside.Outside, size: int = 14) -> None:
        self.outside = whole
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="worker")
        self._left = threading.Event()
        self._beat = threading.Thread(target=self._sweep, name="beat", daemon=True)

    def __enter__(self) -> Workers:
        self._beat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._beat.join(20)
        self._pool.shutdown(cancel_futures=True)

    def hint(self, deployment_id: str, lane: str) -> None:
        """A wake-up; after the end it is lost, as any may be."""
        if not self._left.is_set():
            self._pool.submit(self._work, deployment_id, lane)

    def _sweep(self) -> None:
        while not self._left.wait(0.5):
            for due in leases.sweep():
                self.hint(*due)
        connections.close_all()

    def _work(self, deployment_id: str, lane: str) -> None:
        try:
            execution.work_on(deployment_id, lane, self.outside, self.hint)
        finally:
            connections.close_all()


@dataclass
class Lane:
    """Three hosts of one environment, and the fault that befalls the second."""

    fault: Fault
    hosts: list[BedHost]
    trapped: TrappedHosts
    outside: outside.Outside
    versions: dict[str, Version]
    key: Path
    running: str = ""

    @property
    def name(self) -> str:
        """Its environment."""
        return self.fault.name.replace(" ", "-").lower()

    @property
    def sick(self) -> BedHost:
        """The host that the fault befalls."""
        return self.hosts[1]

    def declare(self, application: Application) -> None:
        """Its rows."""
        declared = {"approvals": 0, "promote_from": None, "gates": "basic", "strategy": "rolling", "bake": 0,
                    "window": 3600, "sample": 300, "healthy_within": 15 if not self.fault.borne else 60}  # fmt: skip
        env = Environment.objects.create(name=self.name, policy=policy.parse(declared).as_json())
        installation = Installation.objects.create(
            application=application,
            environment=env,
            root="/srv/app",
            unit="app.service",
            url="http://{address}:{port}",
            strategy="rolling",
        )
        for order, one in enumerate(self.hosts):
            host = Host.objects.create(
                environment=env,
                name=one.name,
                address=one.address,
                user="deploy",
                fingerprint=one.fingerprint,
                credential=f"file:{self.key}",
                order=order,
            )
            Endpoint.objects.create(installation=installation, host=host, port=8080)

    @property
    def endpoints(self) -> list[Endpoint]:
        """Its endpoints, as recorded now."""
        return list(Endpoint.objects.filter(installation__environment__name=self.name))

    def content(self, number: str) -> str:
        """The folder's name of a version."""
        return self.versions[number].content

    def lay_trap(self, verb: str) -> Trap:
        """Let the fault loose at the next such act on the sick host."""
        trap = Trap(verb, self.sick, self.fault)
        self.trapped.traps[self.sick.name] = trap
        return trap

    def deploy(self, number: str) -> Deployment:
        """Ask for a version and wait until that has ended, with the rollback that it may have begun."""
        return self.ended(lifecycle.deploy(self.versions[number].pk, self.name, actor=ALICE))

    def settled(self, number: str) -> Deployment:
        """A version that is good on every host."""
        deployment = self.deploy(number)
        assert deployment.status == "deployed", f"{number}: {deployment.reason}"
        self.good(deployment)
        return deployment

    def good(self, deployment: Deployment) -> None:
        """Its window passed."""
        Deployment.objects.filter(pk=deployment.pk).update(good_at=deployment.deployed_at)
        self.running = deployment.version.number

    def ended(self, deployment: Deployment) -> Deployment:
        """Waited for; the ten minutes that a rollback bears a host out of reach are moved, not waited."""

        def over() -> bool:
            deployment.refresh_from_db()
            attempts = [deployment, *deployment.rollbacks.all()]
            for one in attempts:
                if one.is_rollback:
                    self._lose_patience(one)
            return all(one.status in ENDED for one in attempts)

        _poll(over, f"{self.name}: {deployment.version.number} ends", lambda: deployment.reason)
        return deployment

    def _lose_patience(self, deployment: Deployment) -> None:
        theirs = Step.objects.filter(deployment=deployment, target=self.sick.name)
        theirs.filter(failures__gte=1, failing_since__isnull=False).update(failing_since=LONG_AGO)
        if self.fault.before and not self.fault.borne:
            theirs.filter(kind="verify", status="pending", attempts__gte=1).update(deadline_at=LONG_AGO)

    def converge(self) -> bool:
        """Bring what is owed or drifted where it belongs; False where nothing is."""
        begun = [c for c in converge.begin(converge.look(self.name, self.outside), actor=ALICE) if c.deployment]
        for one in begun:
            assert one.deployment is not None
            ended = self.ended(one.deployment)
            assert ended.status == "deployed", f"converge: {ended.reason}"
        return bool(begun)

    def heal(self) -> None:
        """The fault is over, and the host greets again."""
        self.fault.heal(self.sick)
        self.sick.wait_ready()

    def reaches(self, host: BedHost) -> bool:
        """Whether our driver gets an answer from it."""
        row = Host.objects.get(environment__name=self.name, name=host.name)
        try:
            return self.outside.hosts.run(outside.address_of(row), ["true"], timeout=10)[0] == 0
        except HostError:
            return False


def _poll(claim: Callable[[], object], what: str, why: Callable[[], str]) -> None:
    ends = time.monotonic() + 280
    while not claim():
        assert time.monotonic() < ends, f"waited 280 s for: {what} ({why()})"
        time.sleep(0.3)


__all__ = ["ALICE", "Lane", "Workers", "furnish", "register"]
