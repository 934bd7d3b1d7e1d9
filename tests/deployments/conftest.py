"""A fleet of fake hosts around the real verbs and rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from aureus.journal.actor import Actor
from deployments import execution, leases, lifecycle, outside, policy
from deployments.drivers.fake_hosts import FakeHosts
from deployments.drivers.fake_traffic import FakeTraffic
from deployments.models import (
    Balancer,
    BalancerNode,
    Deployment,
    Endpoint,
    Environment,
    Host,
    Installation,
    Step,
)
from health.sources.probe import HealthAnswer
from releases import registry
from releases.models import Application, Version
from releases.store import ArtifactStore
from tests.conftest import wait_until

ALICE = Actor("alice")
BOB = Actor("bob")
ROOT = "/srv/app"
SPEC = {"id": "shop", "name": "Shop", "tasks": [{"id": "ask", "tool": "http", "params": {"path": "/health"}}]}


@dataclass
class Fleet:
    """Environments, hosts and one installation, with the outside in memory."""

    hosts: FakeHosts = field(default_factory=FakeHosts)
    traffic: FakeTraffic = field(default_factory=FakeTraffic)
    sick: set[tuple[str, str]] = field(default_factory=set)
    hints: list[tuple[str, str]] = field(default_factory=list)
    root: str = ROOT
    store: ArtifactStore | None = None

    def ask(self, url: str, expected: str | None, **_: object) -> HealthAnswer:
        """A host answers with the content its slot points to, unless that content is sick there."""
        name = url.split("//")[1].split(":")[0]
        machine = self.hosts.at(name)
        slot = self.slot_of(url)
        running = machine.site(self.root).slots.get(slot)
        if running is None or machine.unreachable or self.is_stopped(name, slot):
            return HealthAnswer(False, None, "no answer", None)
        number = running.rsplit("-", 1)[0]
        if (name, number) in self.sick or ("*", number) in self.sick:
            return HealthAnswer(False, number, "it answers 503", 0.01)
        if expected and expected != running:
            return HealthAnswer(False, number, f"it runs {number}", 0.01)
        return HealthAnswer(True, number, f"it is healthy and runs {number}", 0.01)

    def slot_of(self, url: str) -> str:
        """The slot that answers there."""
        return "main"

    def is_stopped(self, name: str, slot: str) -> bool:
        """Whether the service of a slot does not run."""
        return False

    @property
    def outside(self) -> outside.Outside:
        return outside.Outside(self.hosts, lambda node, installation: self.traffic, self.store, self.ask, looks_for=0)  # type: ignore[arg-type]

    def hint(self, deployment_id: str, lane: str) -> None:
        self.hints.append((deployment_id, lane))

    def environment(self, name: str, hosts: int = 3, *, balanced: bool = False, **declared: object) -> Installation:
        """An environment with hosts and an installation of the shop."""
        rules = {"approvals": 0, "promote_from": None, "gates": "basic", "bake": 0, "window": 60, **declared}
        env = Environment.objects.create(name=name, policy=policy.parse(rules).as_json())
        application, _ = Application.objects.get_or_create(key="shop")
        balancer = None
        if balanced:
            lb = self._host(env, f"{name}-lb")
            balancer = Balancer.objects.create(environment=env, name="lb")
            BalancerNode.objects.create(balancer=balancer, host=lb, kind="caddy", root="/srv/lb")
        installation = Installation.objects.create(
            application=application,
            environment=env,
            root=self.root,
            restart="true",
            url="http://{address}:{port}",
            balancer=balancer,
            strategy=str(rules.get("strategy", "rolling")),
        )
        for number in range(1, hosts + 1):
            host = self._host(env, f"{name}-{number}", number)
            Endpoint.objects.create(installation=installation, host=host, port=8000)
        return installation

    @staticmethod
    def _host(env: Environment, name: str, order: int = 0) -> Host:
        fingerprint = "SHA256:" + "a" * 43
        return Host.objects.create(
            environment=env,
            name=name,
            address=name,
            user="deploy",
            credential="agent",
            fingerprint=fingerprint,
            order=order,
        )

    def version(self, number: str) -> Version:
        return registry.register(SPEC, number, actor=ALICE)[0]

    def run(self, *, rounds: int = 400) -> None:
        """Play sweep and workers until nothing is due within the patience of the engine."""
        for _ in range(rounds):
            woken = leases.sweep() + self.hints
            self.hints = []
            for deployment_id, lane in woken:
                execution.work_on(deployment_id, lane, self.outside, self.hint)
            if not woken and not self.hurry():
                return
        raise AssertionError("it does not come to rest")

    def play_until(self, claim: Callable[[], bool]) -> None:
        """Play until something holds, and not further."""

        def played() -> bool:
            if claim():
                return True
            woken = leases.sweep() + self.hints
            self.hints = []
            for deployment_id, lane in woken:
                execution.work_on(deployment_id, lane, self.outside, self.hint, budget=0)
            return False

        wait_until(played, seconds=30, what="it comes to that")

    @staticmethod
    def hurry() -> bool:
        """Let what waits for time be due now; whether there was anything."""
        waiting = Deployment.objects.filter(wake_at__isnull=False)
        steps = Step.objects.filter(status="pending", held=False, deployment__status="in_progress", attempts__gt=0)
        steps.update(not_before="2026-01-01T00:00:00Z")
        return bool(waiting.update(wake_at="2026-01-01T00:00:00Z", hinted_at=None))

    def deployed(self, number: str, environment: str = "staging") -> Deployment:
        """A version brought there and proven good."""
        deployment = lifecycle.deploy(self.version(number).pk, environment, actor=ALICE)
        self.run()
        Deployment.objects.filter(pk=deployment.pk).update(good_at="2026-01-01T00:00:00Z")
        deployment.refresh_from_db()
        assert deployment.status == "deployed", deployment.reason
        return deployment

    def running(self, installation: Installation) -> dict[str, str]:
        """What every host really runs, by version number."""
        found = {}
        for endpoint in installation.endpoints.select_related("host"):
            content = self.hosts.at(endpoint.host.name).site(self.root).slots.get("main")
            found[endpoint.host.name] = content.rsplit("-", 1)[0] if content else ""
        return found


@pytest.fixture
def fleet(transactional_db: None) -> Fleet:
    return Fleet()
