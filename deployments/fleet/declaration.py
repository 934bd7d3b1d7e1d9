"""The declaration of a fleet: environments, hosts, balancers and installations, read and checked as a whole. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deployments.fleet import environments, installations, yaml_text
from deployments.fleet.environments import DeclaredEnvironment
from deployments.fleet.fields import Errors, Fields
from deployments.fleet.installations import DeclaredInstallation
from deployments.fleet.periods import freezes
from deployments.fleet.places import shared_places
from deployments.policy import Policy
from releases import gates


class DeclarationInvalid(ValueError):
    """The declaration cannot be applied; `errors` names each path and what is wrong there."""

    def __init__(self, errors: Errors) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(f"{path}: {message}" for path, message in errors))


@dataclass(frozen=True, slots=True)
class Declaration:
    """What should be. An environment named here is described whole: what is missing in it is retired.

    freezes: those of every environment; None where the file does not speak of them, and leaves them as they are.
    """

    environments: tuple[DeclaredEnvironment, ...]
    installations: tuple[DeclaredInstallation, ...]
    by_name: Mapping[str, DeclaredEnvironment] = field(default_factory=dict)
    freezes: tuple[Mapping[str, Any], ...] | None = None


def read(content: bytes) -> Declaration:
    """A declaration from a file's bytes. Raises DeclarationInvalid with everything that is wrong."""
    try:
        return check(yaml_text.read(content))
    except yaml_text.Unreadable as error:
        raise DeclarationInvalid([("the file", str(error))]) from None


def check(values: Any) -> Declaration:
    """A declaration from plain values. Raises DeclarationInvalid with everything that is wrong."""
    errors: Errors = []
    top = Fields(values, "", errors)
    found = [environments.read(row) for row in top.rows("environments")]
    if top.usable and not found:
        top.wrong("environments", "must name at least one environment")
    by_name = {e.name: e for e in found if e.name}
    if len(by_name) < len([e for e in found if e.name]):
        top.wrong("environments", "two of them have the same name")
    places = [installations.read(row, by_name) for row in top.rows("installations")]
    frozen = freezes(top) if top.given("freezes") else None
    top.end()
    errors += _circles(by_name)
    errors += _deaf(by_name)
    errors += shared_places(by_name, places)
    if errors:
        raise DeclarationInvalid(errors)
    return Declaration(tuple(found), tuple(places), by_name, frozen)


def _deaf(by_name: Mapping[str, DeclaredEnvironment]) -> Errors:
    """A soak, or a gate of quiet journals, that could never end: where a version comes from nobody listens so long."""
    errors: Errors = []
    for environment in by_name.values():
        source = by_name.get(environment.policy.promote_from or "")
        field, seconds = _quiet_for(environment.policy)
        if not seconds or source is None:
            continue
        if "journal" not in source.policy.sources:
            errors.append((f"{environment.path}.{field}", f"needs journal among the sources of {source.name}"))
        elif source.policy.window < seconds:
            short = f"the window of {source.name} is {source.policy.window:g} s: make it at least {seconds:g}"
            errors.append((f"{environment.path}.{field}", short))
    return errors


def _quiet_for(policy: Policy) -> tuple[str, float]:
    """The field that demands quiet journals, and for how many seconds."""
    if "logs_quiet" not in gates.PRESETS[policy.gates]:
        return "soak", policy.soak
    return "soak" if policy.soak else "gates", policy.gate_numbers().quiet


def _circles(by_name: Mapping[str, DeclaredEnvironment]) -> Errors:
    """Environments that would wait for each other's versions for ever."""
    errors: Errors = []
    for environment in by_name.values():
        seen: list[str] = []
        name: str | None = environment.name
        while name is not None and name not in seen:
            seen.append(name)
            name = by_name[name].policy.promote_from if name in by_name else None
        if name == environment.name:
            way = " from ".join([*seen, name])
            errors.append((f"{environment.path}.promote_from", f"versions would go in a circle: {way}"))
    return errors
