"""Installations of a declaration: how one application lives in one environment. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Any
from urllib.parse import urlsplit

from deployments import policy as policies
from deployments.drivers import Site, balancers
from deployments.drivers.sites import ConfigInvalid
from deployments.engine.stages import HOOKS
from deployments.engine.strategies import MAIN, SIDES, STRATEGIES, Fleet, Unfit, parts_of
from deployments.fleet.environments import POLICY, DeclaredEnvironment, plain
from deployments.fleet.fields import PATH, Fields
from deployments.policy import Policy, PolicyError
from health.smoke_tests import SmokeTestsInvalid, read_tests
from health.sources import declared

APPLICATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
FIELD = re.compile(r"(\.?[A-Za-z0-9_-]+|\[[0-9]+\])+")
COMMAND = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
PROOFS = ("health", "link+start")
OURS = frozenset({"balancer", "all"})
"""Words that stand for something else where hosts of an installation are named."""


@dataclass(frozen=True, slots=True)
class DeclaredInstallation:
    """One application in one environment."""

    application: str
    environment: str
    path: str
    hosts: tuple[str, ...]
    root: str
    unit: str
    restart: str
    halt: str
    port: int
    url: str
    health: str
    metrics: str
    version_field: str
    version_proof: str
    balancer: str
    listen: str
    public_url: str
    strategy: str
    smoke: tuple[Mapping[str, Any], ...] = ()
    policy: Mapping[str, Any] = field(default_factory=dict)
    backup: str = ""
    migrate: str = ""
    slots: Mapping[str, int] = field(default_factory=dict)
    pools: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    access_log: Mapping[str, Any] = field(default_factory=dict)
    sticky: str = ""
    journal: bool = False
    queries: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)
    hooks: Mapping[str, str] = field(default_factory=dict)

    @property
    def sources(self) -> dict[str, Any]:
        """How its sources are read, as it is kept; what is not declared does not stand there."""
        found = {"access_log": dict(self.access_log), "journal": self.journal, "queries": dict(self.queries)}
        return {name: value for name, value in found.items() if value}

    @property
    def options(self) -> dict[str, Any]:
        """What is kept together, since few installations have it."""
        few = {
            "sticky": self.sticky,
            "halt": self.halt,
            "commands": dict(self.commands),
            "hooks": dict(self.hooks),
        }
        return self.sources | {name: value for name, value in few.items() if value}

    def places(self) -> Iterator[tuple[str, str, int]]:
        """Host, slot and port of every endpoint."""
        for host in self.hosts:
            if self.slots:
                yield from ((host, slot, port) for slot, port in self.slots.items())
            else:
                slot = next((pool for pool, hosts in self.pools.items() if host in hosts), MAIN)
                yield host, slot, self.port


def read(row: Fields, environments: Mapping[str, DeclaredEnvironment]) -> DeclaredInstallation:
    """One installation. What is wrong is reported on the fields."""
    name = row.text("environment", most=60)
    environment = environments.get(name)
    if name and environment is None:
        row.wrong("environment", f"there is no environment {name} in this file")
    overrides = _overrides(row, environment)
    policy = environment.policy if environment else Policy()
    found = DeclaredInstallation(
        application=row.text("application", pattern=APPLICATION, like="the id of a workflow", most=128),
        environment=name,
        path=row.path,
        hosts=_hosts(row, environment),
        root=row.text("root", pattern=PATH, like="an absolute path"),
        unit=row.text("unit", "", most=200),
        restart=row.text("restart", "", most=500),
        halt=row.text("halt", "", most=500),
        port=row.number("port", 1, 65_535, 0 if row.given("slots") else None),
        url=_url(row),
        health=row.text("health", "/health", pattern=PATH, like="a path such as /health", most=200),
        metrics=row.text("metrics", "", pattern=PATH, like="a path such as /metrics", most=200),
        version_field=row.text("version_field", ".version", pattern=FIELD, like="a path such as .version", most=100),
        version_proof=row.one_of("version_proof", PROOFS, PROOFS[0]),
        balancer=row.text("balancer", "", most=60),
        listen=row.text("listen", "", most=100),
        public_url=_public_url(row),
        strategy=row.one_of("strategy", tuple(STRATEGIES), str(overrides.get("strategy", policy.strategy))),
        smoke=_smoke(row),
        policy=overrides,
        backup=row.text("backup", "", most=500),
        migrate=row.text("migrate", "", most=500),
        slots=_slots(row),
        pools=_pools(row),
        access_log=row.mapping("access_log"),
        sticky=row.text("sticky", "", most=100),
        journal=row.truth("journal"),
        queries=row.mapping("queries"),
        commands=_commands(row),
        hooks=_hooks(row),
    )
    row.end()
    if row.usable:
        _together(row, found, environment)
    return found


def _hosts(row: Fields, environment: DeclaredEnvironment | None) -> tuple[str, ...]:
    named = row.texts("hosts")
    if environment is None:
        return tuple(named or ())
    if named is None:
        if not environment.plain_hosts:
            row.wrong("hosts", f"{environment.name} has no host that is neither a balancer's machine nor a bastion")
        return environment.plain_hosts
    known = {host.name for host in environment.hosts}
    for one in sorted(set(named) - known):
        row.wrong("hosts", f"there is no host {one} in {environment.name}")
    if not named or len(set(named)) < len(named):
        row.wrong("hosts", "must name at least one host, and each of them once")
    # The order of the plan is the order of the environment's hosts.
    return tuple(host.name for host in environment.hosts if host.name in named)


def _commands(row: Fields) -> dict[str, str]:
    """What tasks of workflows may run on its hosts, by name."""
    given = row.mapping("commands")
    lines = Fields(given, row.at("commands"), row.errors)
    for name in [name for name in given if not isinstance(name, str) or not COMMAND.fullmatch(name)]:
        row.wrong("commands", f"{name!r} must be a name of up to 60 letters, digits, dots, dashes, underscores")
    return {name: lines.text(name, most=500) for name in given if isinstance(name, str) and COMMAND.fullmatch(name)}


def _slots(row: Fields) -> dict[str, int]:
    """The port of each slot; two of them, or none."""
    given = row.mapping("slots")
    ports = Fields(given, row.at("slots"), row.errors)
    found = {name: ports.number(name, 1, 65_535) for name in given if name in SIDES}
    ports.end(SIDES)
    if given and (set(given) != set(SIDES) or len(set(found.values())) < len(SIDES)):
        row.wrong("slots", "must give blue and green a port each, such as {blue: 8081, green: 8082}")
    if given and row.given("port"):
        row.wrong("port", "each slot has its own: leave this one out")
    return found


def _pools(row: Fields) -> dict[str, tuple[str, ...]]:
    """The hosts of each side; two of them, or none."""
    given = row.mapping("pools")
    hosts = Fields(given, row.at("pools"), row.errors)
    found = {name: tuple(hosts.texts(name) or ()) for name in given if name in SIDES}
    hosts.end(SIDES)
    if given and (set(given) != set(SIDES) or not all(found.values())):
        row.wrong("pools", "must name the hosts of blue and of green, such as {blue: [web-1], green: [web-2]}")
    return found


def _hooks(row: Fields) -> dict[str, str]:
    """The command of each hook."""
    given = row.mapping("hooks")
    commands = Fields(given, row.at("hooks"), row.errors)
    found = {name: commands.text(name, most=500) for name in HOOKS if name in given}
    commands.end(HOOKS)
    return {name: command for name, command in found.items() if command}


def _overrides(row: Fields, environment: DeclaredEnvironment | None) -> dict[str, Any]:
    given = row.mapping("policy")
    inner = Fields(given, row.at("policy"), row.errors)
    inner.end(POLICY)
    overrides = plain(inner, {name: value for name, value in given.items() if name in POLICY})
    before = len(row.errors)
    try:
        if environment is not None:
            policies.tightened(environment.policy, overrides)
    except PolicyError as error:
        for name, message in error.errors:
            inner.wrong(name, message)
    return overrides if len(row.errors) == before else {}


def _url(row: Fields) -> str:
    url = row.text("url", "http://{address}:{port}")
    try:
        plain_fields = all(
            name in (None, "address", "port") and not spec and conversion is None
            for _, name, spec, conversion in Formatter().parse(url)
        )
        shown = urlsplit(url.format(address="192.0.2.1", port=8080) if plain_fields else "")
        fine = shown.scheme in ("http", "https") and shown.hostname is not None and (shown.port or 1) > 0
    except ValueError:
        fine = False
    if not fine:
        row.wrong("url", "must be an address such as http://{address}:{port}; it knows {address} and {port}")
    return url


def _public_url(row: Fields) -> str:
    url = row.text("public_url", "")
    try:
        shown = urlsplit(url)
        fine = not url or (shown.scheme in ("http", "https") and shown.hostname and (shown.port or 1) > 0)
    except ValueError:
        fine = False
    if not fine:
        row.wrong("public_url", "must be an address such as http://lb.example.com:8080")
    return url.rstrip("/")


def _smoke(row: Fields) -> tuple[Mapping[str, Any], ...]:
    if not row.given("smoke") or row.values["smoke"] == []:
        return ()
    try:
        read_tests(row.values["smoke"])
    except SmokeTestsInvalid as error:
        for path, message in error.errors:
            row.wrong(f"smoke{path.removeprefix('tests')}", message)
        return ()
    return tuple(row.values["smoke"])


def _together(row: Fields, found: DeclaredInstallation, environment: DeclaredEnvironment | None) -> None:
    """What is wrong between fields that are each right."""
    if bool(found.unit) == bool(found.restart):
        row.wrong("unit", "give either a systemd unit or a restart command, and not both")
    for one in sorted(OURS & set(found.hosts)):
        row.wrong("hosts", f"{one} cannot be the name of a host that runs an application")
    _sided(row, found, policies.tightened(environment.policy, found.policy).warm if environment else None)
    if found.listen and not found.balancer:
        row.wrong("listen", "is the address on which a balancer answers: name the balancer")
    if found.sticky and not found.balancer:
        row.wrong("sticky", "is how a balancer knows a client: name the balancer")
    if {"{", "}"} & set(found.root.replace("{host}", "")):
        row.wrong("root", "knows {host} for the host's name, and no other word in braces")
    _located(row, found)
    _sources(row, found, environment)
    if environment is None:
        return
    if found.balancer:
        _balanced(row, found, environment)
    try:
        sides = {f"{host} {slot}": slot for host, slot, _ in found.places() if slot != MAIN}
        fleet = Fleet(tuple(sides) or found.hosts or ("any",), balanced=bool(found.balancer), sides=sides)
        parts_of(found.strategy, fleet, policies.tightened(environment.policy, found.policy).options())
    except Unfit as error:
        row.wrong("strategy", str(error))


def _sided(row: Fields, found: DeclaredInstallation, warm: float | None) -> None:
    """Two sides: on each host in two slots, or on hosts of their own."""
    if warm is not None and (found.slots or found.pools) and not (found.unit or found.halt):
        row.wrong("halt", f"must be the command that stops a side, since policy stops one that rested for {warm:g} s")
    if found.slots and found.pools:
        row.wrong("pools", "are for sides on hosts of their own, slots for both on each host: give one of them")
    named = [host for hosts in found.pools.values() for host in hosts]
    if found.pools and sorted(named) != sorted(found.hosts):
        row.wrong("pools", "must name each host of the installation once")
    if found.slots and found.unit and "{slot}" not in found.unit:
        row.wrong("unit", "must name the slot, such as app@{slot}: each slot is a service of its own")


def _located(row: Fields, found: DeclaredInstallation) -> None:
    try:
        if found.root:
            Site(found.root, unit=found.unit.replace("{slot}", SIDES[0]), restart=found.restart, halt=found.halt)
    except ValueError as error:
        row.errors.append((row.path, str(error)))


def _sources(row: Fields, found: DeclaredInstallation, environment: DeclaredEnvironment | None) -> None:
    """How its sources are read, and whether the policy asks for them at all."""
    if found.access_log:
        for path, message in declared.wrong_access_log(found.access_log, balanced=bool(found.balancer)):
            row.wrong(f"access_log.{path}", message)
    for name, message in declared.check_queries(found.queries):
        row.wrong(f"queries.{name}", message)
    if found.journal and not found.unit:
        row.wrong("journal", "is that of a systemd unit: an installation with a command of its own has none")
    policy = environment.policy if environment else Policy()
    asked = found.policy.get("sources", policy.sources)
    for name, source in (("access_log", "access_log"), ("journal", "journal"), ("queries", "prometheus")):
        if environment and found.sources.get(name) and source not in asked and not row.is_wrong(name):
            row.wrong(name, f"measures nothing: the sources of {found.environment} do not name {source}")


def _balanced(row: Fields, found: DeclaredInstallation, environment: DeclaredEnvironment) -> None:
    balancer = next((b for b in environment.balancers if b.name == found.balancer), None)
    if balancer is None:
        row.wrong("balancer", f"there is no balancer {found.balancer} in {environment.name}")
        return
    if not found.listen:
        row.wrong("listen", "must be given with a balancer, such as :8080")
        return
    for node in balancer.nodes:
        if not node.root or balancers.wrong_options(node.kind, node.options):
            continue  # reported where the node stands
        name = f"{found.application}-{found.environment}"
        try:
            balancers.site(node.kind, name, found.listen, node.root, node.options, found.health, found.sticky)
        except ConfigInvalid as error:
            row.errors.append((row.path, str(error)))
