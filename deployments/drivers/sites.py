"""What may stand in a balancer's configuration, whichever balancer it is. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FOLDER = re.compile(r"(/[A-Za-z0-9._-]+)+")
LISTEN = re.compile(r"(?P<host>[0-9.]*|\[[0-9a-f:]+\]):(?P<port>[0-9]{1,5})")
DIAL = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-f:]+\]):[0-9]{1,5}")
ENDPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
HEALTH = re.compile(r"/[A-Za-z0-9._~/?=&%-]*")
STICKY = re.compile(r"|(?P<by>cookie|header):(?P<name>[A-Za-z][A-Za-z0-9_-]{0,63})")


class ConfigInvalid(ValueError):
    """A name, path or address cannot stand in the balancer's configuration; the message says which and why."""


def demand(*checks: tuple[str, str, re.Pattern[str]]) -> None:
    """Check (what, value, pattern) each. Raises ConfigInvalid."""
    for what, value, pattern in checks:
        if not pattern.fullmatch(value) or ".." in value:
            raise ConfigInvalid(f"The balancer's {what} cannot be {value!r}.")


def demand_endpoints(endpoints: Mapping[str, str], name: re.Pattern[str] = ENDPOINT) -> None:
    """Check names and addresses (host:port). Raises ConfigInvalid."""
    for endpoint, dial in endpoints.items():
        if not name.fullmatch(endpoint) or not DIAL.fullmatch(dial):
            raise ConfigInvalid(f"The endpoint {endpoint!r} at {dial!r} cannot stand in a balancer's configuration.")


def asked_at(listen: str) -> str:
    """Where the balancer's own machine reaches a listener, as host:port."""
    match = LISTEN.fullmatch(listen)
    host = match["host"] if match else ""
    loopback = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104
    return f"{loopback.get(host, host)}:{listen.rpartition(':')[2]}"


def stuck_by(sticky: str) -> tuple[str, str]:
    """Split `cookie:NAME` or `header:NAME`; ("", "") for none. Raises ConfigInvalid."""
    match = STICKY.fullmatch(sticky)
    if match is None:
        raise ConfigInvalid(f"Sticky by {sticky!r} is not known: cookie:NAME or header:NAME.")
    return match["by"] or "", match["name"] or ""
