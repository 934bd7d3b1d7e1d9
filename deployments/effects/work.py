"""One claimed step as its effect sees it: what to do, where, and under which fence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from aureus import clock
from deployments.drivers import HostAddress, Site
from deployments.engine.settle import Observation
from deployments.models import Deployment, Endpoint, Installation, Step, Target
from deployments.outside import Outside, address_of, site_of
from deployments.snapshot import policy_of
from health.sources.probe import HealthAnswer

ACT_SECONDS = 15.0
"""Seconds an effect may take at the most; what takes longer is started, and looked at again."""


@dataclass
class Work:
    """A step, the rows around it, and the outside."""

    step: Step
    fence: int
    outside: Outside
    lost: Callable[[], bool]

    @cached_property
    def deployment(self) -> Deployment:
        """The deployment, with what its effects read."""
        rows = Deployment.objects.select_related(
            "installation__environment", "installation__application", "installation__balancer", "version__application"
        )
        return rows.get(pk=self.step.deployment_id)

    @property
    def installation(self) -> Installation:
        """Where it happens."""
        return self.deployment.installation

    @cached_property
    def targets(self) -> dict[str, Target]:
        """Every host's part, by endpoint name."""
        rows = self.deployment.targets.select_related("endpoint__host__bastion", "endpoint__installation__environment")
        return {t.name: t for t in rows}

    @property
    def target(self) -> Target:
        """The step's own host."""
        return self.targets[self.step.target]

    @property
    def endpoint(self) -> Endpoint:
        """The step's own endpoint."""
        return self.target.endpoint

    @property
    def address(self) -> HostAddress:
        """How the step's host is reached."""
        return address_of(self.endpoint.host)

    @property
    def site(self) -> Site:
        """The application's place on the step's host."""
        return site_of(self.endpoint)

    @property
    def key(self) -> str:
        """The act's name, stable over retries: the host does it once."""
        return f"{self.step.deployment_id}:{self.step.kind}:{self.step.target or 'all'}:{self.step.pk}"

    @property
    def balanced(self) -> bool:
        """A balancer stands in front."""
        return self.installation.balancer_id is not None

    def seconds_left(self) -> float:
        """Seconds until the step's own deadline, at most what one effect may take."""
        left = (self.step.deadline_at - clock.now()).total_seconds() if self.step.deadline_at else ACT_SECONDS
        return max(1.0, min(left, ACT_SECONDS))

    def health(self, endpoint: Endpoint, content: str) -> HealthAnswer:
        """Ask an endpoint whether it is healthy with this content, now."""
        installation = endpoint.installation
        proves = installation.version_proof == "health"
        url = endpoint.base_url + installation.health_path
        return self.outside.ask(
            url, content if proves else None, field=installation.version_field if proves else "", timeout=3.0
        )

    def at(self, name: str) -> tuple[str | None, HealthAnswer | None]:
        """What one of the hosts runs, and how it is with that, seen now."""
        endpoint = self.targets[name].endpoint
        content = self.outside.hosts.facts(address_of(endpoint.host), site_of(endpoint)).current
        return content, self.health(endpoint, content) if content else None

    def look(self, *, serving: bool | None = None) -> tuple[Observation, HealthAnswer | None]:
        """What the step's host runs and how it is, seen now."""
        content, health = self.at(self.target.name)
        healthy = health.healthy if health else False
        seen = Observation(self.target.name, True, content, healthy, serving, health.why if health else "nothing runs")
        return seen, health

    @cached_property
    def policy(self):
        """The rules that hold here."""
        return policy_of(self.installation)
