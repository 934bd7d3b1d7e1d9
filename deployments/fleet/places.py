"""What must not meet: two names of one machine, two installations in one folder, two listeners on one port. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from deployments.fleet.environments import DeclaredEnvironment
from deployments.fleet.fields import Errors
from deployments.fleet.installations import DeclaredInstallation

Machine = tuple[str, int]


def shared_places(
    environments: Mapping[str, DeclaredEnvironment], installations: Sequence[DeclaredInstallation]
) -> Errors:
    """Each place that more than one thing wants."""
    return [
        *_same_machine(environments),
        *_same_installation(installations),
        *_same_folder(environments, installations),
        *_same_listener(environments, installations),
    ]


def _machine(environment: DeclaredEnvironment, name: str) -> Machine:
    return next(((h.address, h.port) for h in environment.hosts if h.name == name), ("", 0))


def _same_machine(environments: Mapping[str, DeclaredEnvironment]) -> Errors:
    errors: Errors = []
    for environment in environments.values():
        seen: dict[tuple[Machine, str], str] = {}
        for host in environment.hosts:
            place = ((host.address, host.port), host.bastion)
            if host.address and host.name and seen.setdefault(place, host.name) != host.name:
                message = f"{seen[place]} and {host.name} are the same machine, {host.address}:{host.port}"
                errors.append((f"{environment.path}.hosts", message))
    return errors


def _same_installation(installations: Sequence[DeclaredInstallation]) -> Errors:
    errors: Errors = []
    seen: set[tuple[str, str]] = set()
    for one in installations:
        key = (one.application, one.environment)
        if all(key) and key in seen:
            errors.append((one.path, f"{one.application} stands in {one.environment} twice"))
        seen.add(key)
    return errors


def _same_folder(
    environments: Mapping[str, DeclaredEnvironment], installations: Sequence[DeclaredInstallation]
) -> Errors:
    """Two owners of one folder would undo each other's work; so would a balancer's files among an application's."""
    owners: dict[tuple[Machine, str], set[str]] = defaultdict(set)
    paths: dict[tuple[Machine, str], str] = {}
    for environment in environments.values():
        for balancer in environment.balancers:
            for node in balancer.nodes:
                place = (_machine(environment, node.host), node.root.rstrip("/"))
                owners[place].add(f"balancer {balancer.name} of {environment.name}")
                paths[place] = f"{environment.path}.balancers"
    for one in installations:
        if one.environment not in environments:
            continue
        for host in one.hosts:
            place = (_machine(environments[one.environment], host), one.root.replace("{host}", host).rstrip("/"))
            owners[place].add(f"{one.application} in {one.environment}")
            paths[place] = one.path
    return [
        (paths[place], f"{' and '.join(sorted(who))} share {place[1]} on {place[0][0]}:{place[0][1]}")
        for place, who in owners.items()
        if len(who) > 1 and all(place[0]) and place[1]
    ]


def _same_listener(
    environments: Mapping[str, DeclaredEnvironment], installations: Sequence[DeclaredInstallation]
) -> Errors:
    errors: Errors = []
    seen: dict[tuple[Machine, str], str] = {}
    for one in installations:
        environment = environments.get(one.environment)
        balancers = environment.balancers if environment else ()
        for node in (n for b in balancers if b.name == one.balancer for n in b.nodes):
            place, who = (_machine(environments[one.environment], node.host), one.listen), str(one.path)
            if one.listen and seen.setdefault(place, who) != who:
                message = f"{seen[place]} would listen on {one.listen} of {node.host} as well"
                errors.append((f"{one.path}.listen", message))
    return errors
