"""The kinds of balancer: which options a node of each takes, and the driver that they make."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployments.drivers.caddy import CaddyTraffic
from deployments.drivers.caddy_config import CaddySite
from deployments.drivers.haproxy import HAProxyTraffic
from deployments.drivers.haproxy_config import HAProxySite
from deployments.drivers.nginx import NginxTraffic
from deployments.drivers.nginx_config import NginxSite
from deployments.drivers.nginx_lua import LuaNginxTraffic
from deployments.drivers.sites import ConfigInvalid
from deployments.drivers.traffic import BalancerShell, Traffic

Site = CaddySite | HAProxySite | NginxSite


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of balancer. `commands` are those of its options that are commands."""

    site: type[CaddySite] | type[HAProxySite] | type[NginxSite]
    demanded: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        return (*self.demanded, *self.allowed, *self.commands)


KINDS: Mapping[str, Kind] = {
    "caddy": Kind(CaddySite, ("admin_socket",)),
    "haproxy": Kind(HAProxySite, ("admin_socket",), ("main_config",), ("program", "reload")),
    "nginx": Kind(NginxSite, (), ("reload_free",), ("check", "reload")),
}


def wrong_options(kind: str, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with a node's options, as (option, message)."""
    known, found = KINDS[kind], []
    for name in known.demanded:
        if not isinstance(options.get(name), str) or not options[name]:
            found.append((name, "must be given"))
    for name, value in options.items():
        if name not in known.options:
            there = ", ".join(known.options)
            found.append((name, f"there is no such option; there is: {there}"))
        elif name not in known.demanded and not isinstance(value, str):
            found.append((name, "must be text"))
        elif name in known.commands and not _is_command(value):
            found.append((name, "must be a command; look at its quotes"))
    return found


def _is_command(value: str) -> bool:
    try:
        return bool(shlex.split(value))
    except ValueError:
        return False


def site(
    kind: str, name: str, listen: str, folder: str, options: Mapping[str, str], health_path: str, sticky: str = ""
) -> Site:
    """One installation on one node. Raises ConfigInvalid for what cannot stand in the balancer's configuration.

    sticky: cookie:NAME or header:NAME, by which a client stays with its host while that has a weight.
    """
    known = KINDS.get(kind)
    if known is None:
        raise ConfigInvalid(f"There is no driver for a balancer of kind {kind!r}.")
    given: dict[str, Any] = {option: options[option] for option in known.options if option in options}
    missing = [option for option in known.demanded if option not in given]
    if missing:
        raise ConfigInvalid(f"The balancer's options lack {', '.join(missing)}.")
    if sticky and known.site is CaddySite:
        # Its cookie policy goes on sending clients to a host of weight 0 (measured; see docs/traffic.md).
        raise ConfigInvalid("Caddy cannot let a client stay with its host: take HAProxy, or nginx with Lua.")
    given |= {"sticky": sticky} if sticky else {}
    return known.site(name=name, listen=listen, folder=folder, health_path=health_path, **given)


def is_lossless(kind: str, options: Mapping[str, str]) -> bool:
    """Whether a change of weights on such a node loses no request; see docs/traffic.md for what was measured."""
    if kind == "nginx":
        return LuaNginxTraffic.lossless if options.get("reload_free") else NginxTraffic.lossless
    return {"caddy": CaddyTraffic.lossless, "haproxy": HAProxyTraffic.lossless}.get(kind, False)


def driver(shell: BalancerShell, made: Site) -> Traffic:
    """What works that site through the node's shell."""
    if isinstance(made, CaddySite):
        return CaddyTraffic(shell, made)
    if isinstance(made, HAProxySite):
        return HAProxyTraffic(shell, made)
    return LuaNginxTraffic(shell, made) if made.reload_free else NginxTraffic(shell, made)
