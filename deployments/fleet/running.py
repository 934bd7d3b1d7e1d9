"""Which running deployments stand on a host, an installation or a balancer: what must not change under them."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q

from deployments.engine.status import Status
from deployments.models import Balancer, Deployment, Host, Installation


def on_host(host: Host) -> str:
    """The deployment that works on a host or moves traffic through it; "" where none does."""
    runs_there = Q(installation__endpoints__host=host, installation__endpoints__retired=False)
    through = Q(installation__balancer__nodes__host=host) | Q(installation__endpoints__host__bastion=host)
    return _named(_running().filter(runs_there | through))


def of_installation(installation: Installation) -> str:
    """The deployment that is under way there; "" where none is."""
    return _named(_running().filter(installation=installation))


def behind_balancer(balancer: Balancer) -> str:
    """A deployment whose traffic this balancer moves; "" where there is none."""
    return _named(_running().filter(installation__balancer=balancer))


def _running():
    return Deployment.objects.filter(status=Status.IN_PROGRESS).select_related("version__application")


def _named(found: Iterable[Deployment]) -> str:
    first = next(iter(found), None)
    return f"the deployment of {first.version} ({first.id}) is running there" if first else ""
