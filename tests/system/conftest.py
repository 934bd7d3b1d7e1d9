"""Three machines behind OpenSSH's sshd, each with its own key, port, root and a real small web app."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aureus.demo import machines, shop
from aureus.demo.keys import write_key
from aureus.demo.machines import Machine
from aureus.journal.actor import Actor
from deployments import execution, leases, lifecycle, outside, policy, watching
from deployments.drivers.ssh import SSHHosts
from deployments.models import Deployment, Endpoint, Environment, Host, Installation
from releases import registry
from releases.models import Application, Version
from releases.store.directory import DirectoryStore
from tests.conftest import wait_until
from tests.system import cases

ALICE = Actor("alice")


@dataclass
class Fleet:
    """The machines, the rows that declare them, and a worker in this process."""

    folder: Path
    machines: list[Machine]
    outside: outside.Outside
    store: DirectoryStore
    hints: list[tuple[str, str]] = field(default_factory=list)

    @property
    def installation(self) -> Installation:
        return Installation.objects.get()

    def declare(self, **declared: object) -> Installation:
        """One environment with every machine."""
        rules = {"approvals": 0, "promote_from": None, "gates": "basic", "strategy": "rolling", "bake": 0, "window": 60}
        declared = {"healthy_within": 12.0, **rules, **declared}
        env = Environment.objects.create(name="production", policy=policy.parse(declared).as_json())
        installation = Installation.objects.create(
            application=Application.objects.create(key=shop.APPLICATION),
            environment=env,
            root=f"{self.folder}/{{host}}/app",
            restart="sh ./restart.sh",
            url="http://{address}:{port}",
            strategy="rolling",
        )
        for order, machine in enumerate(self.machines):
            ssh = machine.ssh
            host = Host.objects.create(
                environment=env,
                name=machine.name,
                address=ssh.address,
                port=ssh.port,
                user=ssh.user,
                fingerprint=ssh.fingerprint,
                credential=ssh.key_ref,
                order=order,
            )
            Endpoint.objects.create(installation=installation, host=host, port=machine.app_port)
        return installation

    def version(self, number: str, **behaviour: object) -> Version:
        """A version with its archive in the store."""
        version, _ = registry.register(shop.spec(number), number, actor=ALICE)
        self.attach(version, shop.archive(number, **behaviour))
        return version

    def attach(self, version: Version, archive: bytes) -> Version:
        import hashlib
        import io

        digest = hashlib.sha256(archive).hexdigest()
        limit = 10**8
        return registry.attach(
            version.pk, io.BytesIO(archive), sha256=digest, store=self.store, max_size=limit, actor=ALICE
        )

    def ask(self, version: Version) -> Deployment:
        return lifecycle.deploy(version.pk, "production", actor=ALICE)

    def hint(self, deployment_id: str, lane: str) -> None:
        self.hints.append((deployment_id, lane))

    def tick(self) -> None:
        """One second of Beat and the workers."""
        due, self.hints = leases.sweep() + self.hints, []
        for deployment_id, lane in dict.fromkeys(due):
            execution.work_on(deployment_id, lane, self.outside, self.hint)
        watching.sample_due(self.hint)

    def play_until(self, claim: Callable[[], object], *, seconds: float = 90, what: str = "it ends") -> None:
        def played() -> object:
            self.tick()
            return claim()

        wait_until(played, seconds=seconds, what=what)

    def ended(self, deployment: Deployment) -> Deployment:
        """Played to its end, the rollback it may have begun included."""

        def over() -> bool:
            deployment.refresh_from_db()
            attempts = [deployment, *deployment.rollbacks.all()]
            return all(one.status in ("deployed", "failed", "rolled_back") for one in attempts)

        self.play_until(over)
        return deployment

    def deployed(self, number: str, **behaviour: object) -> Deployment:
        """A good version on every machine."""
        deployment = self.ended(self.ask(self.version(number, **behaviour)))
        assert deployment.status == "deployed", deployment.reason
        Deployment.objects.filter(pk=deployment.pk).update(good_at=deployment.deployed_at)
        return deployment

    def versions(self) -> dict[str, str | None]:
        """What every app itself says it is."""
        return {m.name: m.version() for m in self.machines}


@pytest.fixture
def fleet(transactional_db: None, tmp_path: Path) -> Iterator[Fleet]:
    if machines.SSHD is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("sshd is not installed: openssh-server")
    key = tmp_path / "client"
    write_key(key)
    port = machines.free_port(["127.0.0.11", "127.0.0.12", "127.0.0.13"])
    made: list[Machine] = []
    hosts = SSHHosts()
    try:
        for number in (1, 2, 3):
            made.append(
                machines.make(tmp_path / f"h{number}", f"h{number}", (f"127.0.0.1{number}", port), key, real=True)
            )
        store = DirectoryStore(tmp_path / "artifacts")
        whole = outside.Outside(hosts, lambda node, at: outside.traffic_on(hosts, node, at), store)
        yield Fleet(tmp_path, made, whole, store)
    finally:
        hosts.close()
        for machine in made:
            machine.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What the faults on systemd hosts came to, and what balancers lost."""
    if outcomes := config.stash.get(cases.TABLE, None):
        terminalreporter.section("faults on systemd hosts")
        terminalreporter.write("\n".join(cases.table(outcomes)) + "\n")
    from tests.system.test_traffic_drivers import TABLE

    if lines := config.stash.get(TABLE, None):
        terminalreporter.section("balancers under load")
        terminalreporter.write("\n".join(sorted(lines)) + "\n")
