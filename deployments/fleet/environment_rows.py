"""A declared environment as rows: its policy, hosts and balancers. Reports each difference while it writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from deployments import policy as policies
from deployments.fleet import running
from deployments.fleet.difference import ADDED, CHANGED, RETIRED, RETURNED, Change, Changed, Difference, differing, new
from deployments.fleet.environments import DeclaredBalancer, DeclaredEnvironment, DeclaredHost, DeclaredNode
from deployments.models import Balancer, BalancerNode, Environment, Host
from deployments.policy import Policy

MOVES_A_HOST = frozenset({"address", "port", "bastion"})
"""Fields that make it another machine, or cut it off."""


def write(declared: DeclaredEnvironment, position: int, difference: Difference) -> Environment:
    """The environment as declared. The caller's transaction is rolled back where the difference has refusals."""
    before = len(difference.changes)
    row = Environment.objects.select_for_update().filter(name=declared.name).first()
    is_new = row is None
    wanted = json.loads(json.dumps(declared.policy.as_json()))
    if row is None:
        row = Environment.objects.create(name=declared.name, policy=wanted, order=position)
        difference.changes.append(Change("environment", declared.name, "", ADDED, new(wanted), _demands(declared)))
    elif changed := _policy_changes(row, wanted):
        difference.changes.append(Change("environment", declared.name, "", CHANGED, changed))
        row.policy = wanted
    hosts = _hosts(row, declared.hosts, difference)
    _balancers(row, declared.balancers, hosts, difference)
    _retire_hosts(row, declared, hosts, difference)
    if not is_new and len(difference.changes) > before:
        row.revision += 1
    row.save()
    return row


def _demands(declared: DeclaredEnvironment) -> str:
    policy = declared.policy
    said = f"approvals: {policy.approvals}, promote_from: {policy.promote_from or 'nothing'}, gates: {policy.gates}"
    return said


def _policy_changes(row: Environment, wanted: Mapping[str, Any]) -> tuple[Changed, ...]:
    """What was added to Policy since the row was written counts with its default."""
    known = json.loads(json.dumps(_stored(row).as_json()))
    return tuple(Changed(name, known[name], value) for name, value in wanted.items() if known[name] != value)


def _stored(row: Environment) -> Policy:
    return policies.stored(row.policy)


def _hosts(row: Environment, declared: Sequence[DeclaredHost], difference: Difference) -> dict[str, Host]:
    """The declared hosts by name, written; a bastion is there before its hosts are reached through it."""
    hosts = {host.name: host for host in row.hosts.select_related("bastion")}
    _order(row, declared, hosts, difference)
    found: dict[str, Host] = {}
    waiting = list(enumerate(declared))
    while waiting:
        position, one = next((p, h) for p, h in waiting if not h.bastion or h.bastion in found)
        waiting.remove((position, one))
        bastion = found[one.bastion] if one.bastion else None
        found[one.name] = _host(row, one, position, bastion, hosts.get(one.name), difference)
    return found


def _order(
    row: Environment, declared: Sequence[DeclaredHost], hosts: Mapping[str, Host], difference: Difference
) -> None:
    """Plans take hosts in this order."""
    living = {name for name, host in hosts.items() if host.state == Host.State.ACTIVE}
    wanted = [h.name for h in declared if h.name in living]
    known = [h.name for h in sorted(hosts.values(), key=lambda h: (h.order, h.name)) if h.name in wanted]
    if wanted != known:
        difference.changes.append(
            Change("environment", row.name, "", CHANGED, (Changed("order of hosts", known, wanted),))
        )


def _host(
    row: Environment, one: DeclaredHost, position: int, bastion: Host | None, known: Host | None, difference: Difference
) -> Host:
    wanted: dict[str, Any] = {
        "address": one.address,
        "port": one.port,
        "user": one.user,
        "credential": one.key,
        "zone": one.zone,
        "bastion": bastion,
    }
    # A file that says nothing of the key never takes away what a person has trusted.
    wanted |= {"fingerprint": one.fingerprint} if one.fingerprint else {}
    if known is None:
        host = Host.objects.create(environment=row, name=one.name, order=position, **wanted)
        difference.changes.append(Change("host", one.name, row.name, ADDED, new(wanted), _not_trusted(host)))
        return host
    _change_host(row, known, wanted, difference)
    known.order = position
    known.save()
    return known


def _change_host(row: Environment, known: Host, wanted: Mapping[str, Any], difference: Difference) -> None:
    returned = known.state == Host.State.RETIRED
    known.state = Host.State.ACTIVE
    trusted = known.fingerprint
    changed = differing(known, wanted)
    if not changed and not returned:
        return
    note = ""
    if trusted and known.fingerprint != trusted:
        note = f"another host key: {trusted} was trusted, from now on {known.fingerprint} is"
    change = Change("host", known.name, row.name, RETURNED if returned else CHANGED, changed, note)
    difference.changes.append(change)
    if MOVES_A_HOST & {field.name for field in changed} and (busy := running.on_host(known)):
        difference.refuse(change.title, f"cannot move to another place while {busy}")


def _not_trusted(host: Host) -> str:
    return "" if host.fingerprint else f"its key is not trusted yet: run aureus hosts trust {host.name}"


def _retire_hosts(
    row: Environment, declared: DeclaredEnvironment, hosts: Mapping[str, Host], difference: Difference
) -> None:
    for host in row.hosts.filter(state=Host.State.ACTIVE).exclude(name__in=hosts):
        change = Change("host", host.name, row.name, RETIRED, note="it stands no more in the file")
        difference.changes.append(change)
        if busy := running.on_host(host):
            difference.refuse(change.title, f"cannot be retired while {busy}")
        host.state = Host.State.RETIRED
        host.save(update_fields=["state"])


def _balancers(
    row: Environment, declared: Sequence[DeclaredBalancer], hosts: Mapping[str, Host], difference: Difference
) -> None:
    for one in declared:
        balancer, is_new = Balancer.objects.get_or_create(environment=row, name=one.name)
        if is_new:
            difference.changes.append(Change("balancer", one.name, row.name, ADDED))
        for node in one.nodes:
            _node(row, balancer, hosts[node.host], node, difference)
        _drop_nodes(row, balancer, {node.host for node in one.nodes}, difference)
    for balancer in row.balancers.exclude(name__in=[one.name for one in declared]):
        _drop_nodes(row, balancer, set(), difference)


def _node(row: Environment, balancer: Balancer, host: Host, one: DeclaredNode, difference: Difference) -> None:
    wanted = {"kind": one.kind, "root": one.root, "options": dict(one.options)}
    known = balancer.nodes.filter(host=host).first()
    name = f"{balancer.name} on {host.name}"
    if known is None:
        BalancerNode.objects.create(balancer=balancer, host=host, **wanted)
        difference.changes.append(Change("balancer", name, row.name, ADDED, new(wanted)))
    elif changed := differing(known, wanted):
        change = Change("balancer", name, row.name, CHANGED, changed)
        difference.changes.append(change)
        if busy := running.behind_balancer(balancer):
            difference.refuse(change.title, f"cannot change while {busy}")
        known.save()


def _drop_nodes(row: Environment, balancer: Balancer, kept: set[str], difference: Difference) -> None:
    for node in balancer.nodes.select_related("host").exclude(host__name__in=kept):
        note = "no weights are sent there any more"
        change = Change("balancer", f"{balancer.name} on {node.host.name}", row.name, RETIRED, note=note)
        difference.changes.append(change)
        if busy := running.behind_balancer(balancer):
            difference.refuse(change.title, f"cannot be retired while {busy}")
        node.delete()
