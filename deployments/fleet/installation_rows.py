"""Declared installations as rows, with their endpoints. Reports each difference while it writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from deployments import policy as policies
from deployments.fleet import running
from deployments.fleet.difference import ADDED, CHANGED, RETIRED, RETURNED, Change, Changed, Difference, differing, new
from deployments.fleet.installations import DeclaredInstallation
from deployments.models import Endpoint, Environment, Host, Installation
from releases.models import Application

UNDER_A_DEPLOYMENT = frozenset({"root", "url", "balancer", "listen"})
"""Fields that a running deployment stands on."""


def write(environment: Environment, declared: Sequence[DeclaredInstallation], difference: Difference) -> None:
    """The installations of one environment as declared; those that are not in the file keep no endpoint."""
    # Nothing starts here until this is written: a start locks its installation too.
    known = {i.application.key: i for i in _of(environment).select_for_update(of=("self",))}
    for one in declared:
        _write(environment, one, known.get(one.application), difference)
    for key in sorted(set(known) - {one.application for one in declared}):
        _retire(known[key], environment, difference)


def _of(environment: Environment):
    return environment.installations.select_related("application", "balancer")


def _write(
    environment: Environment, one: DeclaredInstallation, known: Installation | None, difference: Difference
) -> None:
    wanted = _wanted(environment, one)
    if known is None:
        application, is_new = Application.objects.get_or_create(key=one.application)
        if is_new:
            difference.changes.append(Change("application", one.application, "", ADDED))
        row = Installation.objects.create(application=application, environment=environment, **wanted)
        difference.changes.append(Change("installation", one.application, environment.name, ADDED, new(wanted)))
        _endpoints(row, one, difference)
        return
    changed = differing(known, wanted)
    if changed:
        change = Change("installation", one.application, environment.name, CHANGED, changed)
        difference.changes.append(change)
        moved = UNDER_A_DEPLOYMENT & {field.name for field in changed}
        if moved and (busy := running.of_installation(known)):
            difference.refuse(change.title, f"{', '.join(sorted(moved))} cannot change while {busy}")
    if _endpoints(known, one, difference) or changed:
        known.revision += 1
        known.save()


def _wanted(environment: Environment, one: DeclaredInstallation) -> dict[str, Any]:
    balancer = environment.balancers.get(name=one.balancer) if one.balancer else None
    return {
        "root": one.root,
        "unit": one.unit,
        "restart": one.restart,
        "url": one.url,
        "health_path": one.health,
        "metrics_path": one.metrics,
        "version_field": one.version_field,
        "version_proof": one.version_proof,
        "balancer": balancer,
        "listen": one.listen,
        "public_url": one.public_url,
        "strategy": one.strategy,
        "smoke": json.loads(json.dumps(one.smoke)),
        "policy_overrides": json.loads(json.dumps(dict(one.policy))),
        "options": json.loads(json.dumps(one.options)),
        "backup_command": one.backup,
        "migrate_command": one.migrate,
    }


def _endpoints(row: Installation, one: DeclaredInstallation, difference: Difference) -> bool:
    """Whether any endpoint changed."""
    before = len(difference.changes)
    hosts = {h.name: h for h in row.environment.hosts.filter(name__in=one.hosts, state=Host.State.ACTIVE)}
    known = {(e.host.name, e.slot): e for e in row.endpoints.select_related("host")}
    wanted = {(host, slot): port for host, slot, port in one.places()}
    _demand_room(row, known, wanted, difference)
    for (name, slot), port in wanted.items():
        if (name, slot) not in known:
            endpoint = Endpoint.objects.create(installation=row, host=hosts[name], slot=slot, port=port)
            _tell(row, endpoint.name, ADDED, (Changed("port", None, port),), difference)
        else:
            _endpoint(row, known[name, slot], port, difference)
    for place, endpoint in known.items():
        if place not in wanted and not endpoint.retired:
            _retire_endpoint(row, endpoint, difference)
    return len(difference.changes) > before


Place = tuple[str, str]


def _demand_room(
    row: Installation, known: Mapping[Place, Endpoint], wanted: Mapping[Place, int], difference: Difference
) -> None:
    """Refuse to turn what serves in one place into two sides, or back: nobody would serve until the next deployment."""
    serving = [place for place, endpoint in known.items() if endpoint.serving and not endpoint.retired]
    if serving and not any(place in wanted for place in serving) and {p[1] for p in serving} != {p[1] for p in wanted}:
        why = (
            "cannot turn to other sides while it serves: declare them as another application, and retire this one later"
        )
        difference.refuse(f"installation {row.application} of {row.environment}", why)


def _endpoint(row: Installation, endpoint: Endpoint, port: int, difference: Difference) -> None:
    returned, endpoint.retired = endpoint.retired, False
    changed = differing(endpoint, {"port": port})
    if not changed and not returned:
        return
    change = _tell(row, endpoint.name, RETURNED if returned else CHANGED, changed, difference)
    if changed and not returned and (busy := running.of_installation(row)):
        difference.refuse(change.title, f"port cannot change while {busy}")
    endpoint.save(update_fields=["port", "retired"])


def _retire_endpoint(row: Installation, endpoint: Endpoint, difference: Difference) -> None:
    note = "it gets no more versions; a balancer sends it requests until the next deployment"
    change = _tell(row, endpoint.name, RETIRED, (), difference, note if row.balancer else "")
    if busy := running.of_installation(row):
        difference.refuse(change.title, f"cannot be retired while {busy}")
    endpoint.retired = True
    endpoint.save(update_fields=["retired"])


def _tell(
    row: Installation, host: str, action: str, fields: tuple[Changed, ...], difference: Difference, note: str = ""
) -> Change:
    change = Change("endpoint", f"{row.application.key} on {host}", row.environment.name, action, fields, note)
    difference.changes.append(change)
    return change


def _retire(row: Installation, environment: Environment, difference: Difference) -> None:
    """An installation that the file does not name: its rows stay, and nothing is brought there any more."""
    try:
        policies.tightened(policies.stored(environment.policy), row.policy_overrides)
    except policies.PolicyError as error:
        title = f"installation {row.application} of {environment.name}"
        difference.refuse(title, f"stands no more in the file, and its own policy does not fit the new one: {error}")
    living = list(row.endpoints.select_related("host").filter(retired=False))
    for endpoint in living:
        _retire_endpoint(row, endpoint, difference)
    if living:
        row.revision += 1
        row.save(update_fields=["revision"])
