"""Environments of a declaration, with their policy, hosts and balancers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from deployments import policy as policies
from deployments.drivers import HostAddress, balancers
from deployments.engine import voices
from deployments.fleet.fields import NAME, PATH, Fields
from deployments.fleet.periods import freezes
from deployments.policy import Policy, PolicyError
from health import thresholds

POLICY = tuple(f.name for f in fields(Policy))
OWN = ("name", "hosts", "balancers", "freezes")
"""Fields of an environment that are no policy."""


@dataclass(frozen=True, slots=True)
class DeclaredHost:
    """A machine. `fingerprint` "" leaves what was trusted before as it is."""

    name: str
    address: str
    port: int
    user: str
    key: str
    fingerprint: str
    zone: str
    bastion: str


@dataclass(frozen=True, slots=True)
class DeclaredNode:
    """One machine of a balancer."""

    host: str
    kind: str
    root: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeclaredBalancer:
    """The machines in front of an environment's hosts."""

    name: str
    nodes: tuple[DeclaredNode, ...]


@dataclass(frozen=True, slots=True)
class DeclaredEnvironment:
    """A set of hosts with one policy."""

    name: str
    path: str
    policy: Policy
    hosts: tuple[DeclaredHost, ...]
    balancers: tuple[DeclaredBalancer, ...]
    freezes: tuple[Mapping[str, Any], ...] = ()

    @property
    def plain_hosts(self) -> tuple[str, ...]:
        """Every host that is no balancer's machine and no bastion."""
        taken = {node.host for balancer in self.balancers for node in balancer.nodes}
        taken |= {host.bastion for host in self.hosts}
        return tuple(host.name for host in self.hosts if host.name not in taken)


def read(row: Fields) -> DeclaredEnvironment:
    """One environment. What is wrong is reported on the fields."""
    name = row.text("name", pattern=NAME, like="letters, digits, dots, dashes and underscores", most=60)
    hosts = tuple(_host(each) for each in row.rows("hosts"))
    known = _unique(row, "hosts", [h.name for h in hosts])
    for position, host in enumerate(hosts):
        _bastion(row, position, host, {h.name: h for h in hosts})
    fronts = tuple(_balancer(each, known) for each in row.rows("balancers"))
    _unique(row, "balancers", [b.name for b in fronts])
    declared = {key: value for key, value in row.values.items() if key not in OWN}
    frozen = freezes(row)
    row.end(POLICY)
    return DeclaredEnvironment(name, row.path, _policy(row, declared), hosts, fronts, frozen)


def _unique(row: Fields, name: str, names: Collection[str]) -> frozenset[str]:
    seen: set[str] = set()
    for one in filter(None, names):
        if one in seen:
            row.wrong(name, f"{one} stands here twice")
        seen.add(one)
    return frozenset(seen)


def _policy(row: Fields, declared: Mapping[str, Any]) -> Policy:
    """The policy; a default one where it is wrong, so that the rest is checked all the same."""
    known = {name: value for name, value in declared.items() if name in POLICY}
    try:
        return policies.parse(plain(row, known))
    except PolicyError as error:
        for name, message in error.errors:
            row.wrong(name, message)
        return Policy()


def plain(row: Fields, declared: Mapping[str, Any]) -> dict[str, Any]:
    """A policy's values with the types it counts on; others are reported and left out, or read as their default."""
    kept: dict[str, Any] = {}
    for name, value in declared.items():
        if name == "batch" and type(value) is int:
            value = str(value)
        if message := _unfit(name, value):
            row.wrong(name, message)
            value = getattr(Policy(), name)
        kept[name] = value
    return kept


def _unfit(name: str, value: Any) -> str:
    """What is wrong with the type of a policy's value; "" for nothing that we know of."""
    if name in ("strategy", "gates", "queue", "batch", "after_max_hold", "on_failed_smoke"):
        return "" if isinstance(value, str) else "must be text"
    if name in ("weights", "pause_at"):
        whole = isinstance(value, list | tuple) and all(type(item) is int for item in value)
        return "" if whole else "must be a list of whole percentages"
    if name in policies.LISTS:
        texts = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
        return "" if texts else "must be a list of texts"
    if name in policies.ROWS:
        return "" if isinstance(value, list | tuple) else "must be a list of mappings"
    if name == "approvals":
        return voices.wrong(value)
    if name == "prometheus":
        return "" if isinstance(value, dict) else "must be a mapping of fields"
    if name == "on_inconclusive":
        texts = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
        return "" if texts else "must map causes to hold, continue or rollback"
    return "; ".join(thresholds.wrong(value)) if name == "rules" else ""


def _host(row: Fields) -> DeclaredHost:
    host = DeclaredHost(
        name=row.text("name", pattern=NAME, like="letters, digits, dots, dashes and underscores", most=60),
        address=row.text("address", most=253),
        port=row.number("port", 1, 65_535, 22),
        user=row.text("user", most=60),
        key=row.text("key"),
        fingerprint=row.text("fingerprint", "", most=60),
        zone=row.text("zone", "", most=60),
        bastion=row.text("bastion", "", most=60),
    )
    row.end()
    if all((host.name, host.address, host.user, host.key)):
        try:
            HostAddress(host.name, host.address, host.port, host.user, host.fingerprint, host.key)
        except ValueError as error:
            row.errors.append((row.path, str(error)))
    return host


def _bastion(row: Fields, position: int, host: DeclaredHost, hosts: Mapping[str, DeclaredHost]) -> None:
    if not host.bastion:
        return
    where = f"hosts[{position}].bastion"
    if host.bastion not in hosts:
        row.wrong(where, f"there is no host {host.bastion} in this environment")
        return
    seen, at = {host.name}, host.bastion
    while at and at in hosts and at not in seen:
        seen.add(at)
        at = hosts[at].bastion
    if at in seen:
        row.wrong(where, f"{host.name} would be reached through itself")


def _balancer(row: Fields, hosts: Collection[str]) -> DeclaredBalancer:
    name = row.text("name", pattern=NAME, like="letters, digits, dots, dashes and underscores", most=60)
    nodes = tuple(_node(each, hosts) for each in row.rows("nodes"))
    if row.usable and not nodes:
        row.wrong("nodes", "must name at least one machine")
    _unique(row, "nodes", [node.host for node in nodes])
    row.end()
    return DeclaredBalancer(name, nodes)


def _node(row: Fields, hosts: Collection[str]) -> DeclaredNode:
    host, kind = row.text("host"), row.one_of("kind", tuple(balancers.KINDS), "caddy")
    root = row.text("root", pattern=PATH, like="an absolute path")
    options = row.mapping("options")
    row.end()
    if host and host not in hosts:
        row.wrong("host", f"there is no host {host} in this environment")
    for name, message in balancers.wrong_options(kind, options):
        row.wrong(f"options.{name}", message)
    return DeclaredNode(host, kind, root, options)
