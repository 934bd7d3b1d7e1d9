"""A look at what hosts really run, beside what our record says of them. Nothing is changed on a host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aureus import clock
from deployments.drivers import HostAddress, HostError, Hosts, Site
from deployments.lifecycle import belongs, current_of
from deployments.models import BalancerNode, Endpoint, Installation
from deployments.outside import address_of, site_of

SIDE_BY_SIDE = 16
PATIENCE = 10.0
"""Seconds that one host may take to answer, beside connecting to it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One endpoint. `runs` is "" for nothing, None where the host was not reached: `error` then says why."""

    endpoint: Endpoint
    belongs: str
    runs: str | None
    fence: int = 0
    error: str = ""

    @property
    def astray(self) -> bool:
        """It was reached and has to be brought where it belongs."""
        here = {self.runs, self.endpoint.recorded} == {self.belongs}
        return self.runs is not None and bool(self.belongs) and (bool(self.endpoint.owed) or not here)


def look(installation: Installation, hosts: Hosts, only: str = "") -> list[Seen]:
    """Every living endpoint of an installation, or those on one host; what was seen is written down."""
    current = current_of(installation)
    where = belongs(current) if current else {}
    endpoints = _endpoints(installation, only)
    asked = [(address_of(e.host), site_of(e)) for e in endpoints]
    found = []
    for endpoint, (runs, fence, error) in zip(endpoints, _ask_all(hosts, asked), strict=True):
        if runs is not None:
            Endpoint.objects.filter(pk=endpoint.pk).update(observed=runs, observed_at=clock.now())
            endpoint.observed = runs
        found.append(Seen(endpoint, where.get(endpoint.name, ""), runs, fence, error))
    return found


def fences_of_balancers(nodes: Iterable[BalancerNode], hosts: Hosts) -> list[tuple[BalancerNode, int, str]]:
    """The highest fence that each machine of a balancer saw, or why it was not reached."""
    listed = list(nodes)
    asked = [(address_of(node.host), Site(node.root)) for node in listed]
    return [(node, fence, error) for node, (_, fence, error) in zip(listed, _ask_all(hosts, asked), strict=True)]


def _endpoints(installation: Installation, only: str) -> list[Endpoint]:
    living = installation.endpoints.filter(retired=False, host__state="active")
    chosen = living.filter(host__name=only) if only else living
    return list(chosen.select_related("host__bastion", "installation__environment", "installation__application"))


def _ask_all(hosts: Hosts, asked: Sequence[tuple[HostAddress, Site]]) -> list[tuple[str | None, int, str]]:
    def ask(one: tuple[HostAddress, Site]) -> tuple[str | None, int, str]:
        try:
            facts = hosts.facts(*one, seconds=PATIENCE)
        except HostError as error:
            return None, 0, error.sentence
        return facts.current or "", facts.fence, ""

    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="survey") as pool:
        return list(pool.map(ask, asked))
