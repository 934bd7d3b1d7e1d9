"""Staging and production as the deployment guide names them in variables, in the form of a declaration. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployments.fleet.declaration import Declaration, DeclarationInvalid, check
from deployments.fleet.fields import Errors
from deployments.fleet.known_hosts import fingerprint

PLACE = re.compile(r"(\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]+))(:(?P<port>[0-9]{1,5}))?")
ENVIRONMENTS = (("staging", "STAGING", "STAGING_HOST"), ("production", "PRODUCTION", "PRODUCTION_HOSTS"))


@dataclass(frozen=True, slots=True)
class Options:
    """What the variables do not say. root and unit: "" stands for /srv/APPLICATION and the application's name."""

    application: str
    port: int
    root: str = ""
    unit: str = ""
    restart: str = ""
    health: str = "/health"
    metrics: str = ""
    approvals: int = 0
    gates: str = "basic"


def declaration(environ: Mapping[str, str], options: Options) -> Declaration:
    """The declaration. Raises DeclarationInvalid, naming the variable to set."""
    errors: Errors = []
    environments = [_environment(environ, *names, options, errors) for names in ENVIRONMENTS]
    if errors:
        raise DeclarationInvalid(errors)
    unit = "" if options.restart else options.unit or options.application
    place = {
        "application": options.application,
        "root": options.root or f"/srv/{options.application}",
        "unit": unit,
        "restart": options.restart,
        "port": options.port,
        "health": options.health,
        "metrics": options.metrics,
    }
    installations = [{**place, "environment": name} for name, _, _ in ENVIRONMENTS]
    return check({"environments": environments, "installations": installations})


def _environment(
    environ: Mapping[str, str], name: str, prefix: str, variable: str, options: Options, errors: Errors
) -> dict[str, Any]:
    addresses = [part.strip() for part in environ.get(variable, "").split(",") if part.strip()]
    user = environ.get(f"{prefix}_USER", "").strip()
    key = _key(environ, f"{prefix}_SSH_KEY")
    given = ((variable, bool(addresses)), (f"{prefix}_USER", bool(user)), (f"{prefix}_SSH_KEY", bool(key)))
    errors += [(name, "is not set") for name, there in given if not there]
    production = name == "production"
    return {
        "name": name,
        "approvals": options.approvals if production else 0,
        "promote_from": "staging" if production else None,
        "gates": options.gates,
        "hosts": [_host(environ, prefix, text, user, key, errors) for text in addresses],
    }


def _key(environ: Mapping[str, str], variable: str) -> str:
    """A reference to the key, never the key: it stays where the worker finds it."""
    if environ.get(f"{variable}_FILE", "").strip():
        return f"file:{environ[f'{variable}_FILE'].strip()}"
    return f"env:{variable}" if environ.get(variable, "").strip() else ""


def _host(
    environ: Mapping[str, str], prefix: str, text: str, user: str, key: str, errors: Errors
) -> dict[str, Any] | None:
    address, port = _place(text)
    shown = fingerprint(environ.get(f"{prefix}_KNOWN_HOSTS", ""), address, port)
    if not port:
        errors.append((f"{prefix}_HOST", f"{text!r} must be a host, or host:port"))
    elif not shown:
        errors.append((f"{prefix}_KNOWN_HOSTS", _how_to_get(address, port)))
    name = address if port == 22 else f"{address}-{port}"
    return {
        "name": re.sub(r"[^0-9A-Za-z._-]", "-", name).strip("-.")[:60],
        "address": address,
        "port": port,
        "user": user,
        "key": key,
        "fingerprint": shown,
    }


def _place(text: str) -> tuple[str, int]:
    """host, host:port, [::1] or [::1]:port; port 0 where it is none of these."""
    found = PLACE.fullmatch(text)
    if found is None:
        return text, 0
    port = int(found["port"] or 22)
    return found["six"] or found["host"], port if port < 65_536 else 0


def _how_to_get(address: str, port: int) -> str:
    ask = "ssh-keyscan -t ed25519 " + (address if port == 22 else f"-p {port} {address}")
    where = address if port == 22 else f"{address} port {port}"
    return (
        f"has no key of {where}, and a host whose key nobody knows is refused: run `{ask}`, compare it with "
        f"`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the machine, and put that line into the variable"
    )
