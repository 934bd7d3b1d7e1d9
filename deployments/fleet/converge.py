"""The verb that brings owed and drifted hosts where the record says they belong, by the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aureus import lease
from aureus.journal.actor import Actor
from aureus.journal.refusals import NotFound, Refused
from deployments import lifecycle
from deployments.fleet import survey
from deployments.fleet.survey import Seen
from deployments.fleet_holds import hold_for_future_fence
from deployments.models import Deployment, Endpoint, Installation
from deployments.outside import Outside


@dataclass(frozen=True, slots=True)
class Convergence:
    """One installation: what was seen, and the deployment that was begun, or why none was."""

    installation: Installation
    seen: tuple[Seen, ...]
    deployment: Deployment | None = None
    why: str = ""

    @property
    def astray(self) -> list[Seen]:
        """What has to be brought where it belongs."""
        return [one for one in self.seen if one.astray]


def find(environment: str, host: str = "") -> list[Installation]:
    """The installations of an environment, or those on one of its hosts. Raises NotFound."""
    here = Installation.objects.filter(environment__name=environment).select_related("environment", "application")
    if not here.exists():
        raise NotFound(f"there is no installation in an environment {environment}")
    chosen = here.filter(endpoints__host__name=host, endpoints__retired=False).distinct() if host else here
    found = list(chosen)
    if not found:
        raise NotFound(f"no application lives on a host {host} of {environment}")
    return found


def look(environment: str, outside: Outside, *, host: str = "") -> list[Convergence]:
    """What would be converged; nothing is begun."""
    return [_look(one, outside, host) for one in find(environment, host)]


def begin(found: Sequence[Convergence], *, actor: Actor, accept_schema_change: bool = False) -> list[Convergence]:
    """Begin one deployment for each installation that has hosts astray. Workers carry them on."""
    return [_begin(one, actor, accept_schema_change) if one.astray and not one.why else one for one in found]


def _look(installation: Installation, outside: Outside, host: str) -> Convergence:
    seen = survey.look(installation, outside.hosts, host)
    known = lease.highest_fence()
    for one in seen:
        if one.fence > known:
            hold_for_future_fence(installation, one.endpoint.name, one.fence)
            why = f"{one.endpoint.name} saw fence {one.fence}, above every one we gave: run aureus recover"
            return Convergence(installation, tuple(seen), None, why)
    return Convergence(installation, tuple(seen), None, _why_none(seen))


def _why_none(seen: Sequence[Seen]) -> str:
    if not any(one.belongs for one in seen):
        return "nothing is deployed there: deploy a version"
    return "" if any(one.astray for one in seen) else "every host that was reached is where it belongs"


def _begin(found: Convergence, actor: Actor, accepted: bool) -> Convergence:
    names = [one.endpoint.name for one in found.astray]
    reason = "; ".join(_why(one) for one in found.astray)
    try:
        deployment = lifecycle.converge(
            found.installation, names, actor=actor, reason=reason, accept_schema_change=accepted
        )
    except Refused as error:
        return Convergence(found.installation, found.seen, None, error.sentence)
    return Convergence(found.installation, found.seen, deployment)


def _why(one: Seen) -> str:
    endpoint: Endpoint = one.endpoint
    if endpoint.owed:
        return f"{endpoint.name} is owed: {endpoint.owed}"
    return f"{endpoint.name} runs {one.runs or 'nothing'} and belongs on {one.belongs}"
