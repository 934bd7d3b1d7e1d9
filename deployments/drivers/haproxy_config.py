"""HAProxy's text: one installation's section, the commands of its runtime socket, and what it answers. Pure.

The weights stand in the section's own file, so that a start and a reload begin with them; while HAProxy runs they are
changed through the socket. The back end's name ends in a digest of its settings: a look at the running process tells
them.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from deployments.drivers import sites
from deployments.drivers.sites import FOLDER, HEALTH, LISTEN, NAME, ConfigInvalid, demand, demand_endpoints

SERVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
# HAProxy reads a command of at most tune.bufsize bytes, 16384 unless told.
LONGEST_COMMAND = 8000
# As `srv_admin_state` of HAProxy's management guide has them: maintenance and drain that somebody asked for.
MAINTENANCE, BY_HAND = 0x01, 0x01 | 0x04 | 0x08
_BY_HASH = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class HAProxySite:
    """One installation on one HAProxy (2.4 or newer): a front end, a back end and a file of its own. Times are seconds.

    `program` checks a configuration, `reload` makes HAProxy read it; both are words as a shell splits them. `sticky` is
    "" or cookie:NAME or header:NAME.
    """

    name: str
    listen: str
    folder: str
    admin_socket: str
    main_config: str = "/etc/haproxy/haproxy.cfg"
    program: str = "haproxy"
    reload: str = "sudo -n systemctl reload haproxy"
    health_path: str = "/health"
    health_every: float = 0.5
    response_timeout: float = 60
    sticky: str = ""

    def __post_init__(self) -> None:
        demand(
            ("name", self.name, NAME), ("folder", self.folder, FOLDER), ("listen address", self.listen, LISTEN),
            ("admin socket", self.admin_socket, FOLDER), ("main configuration", self.main_config, FOLDER),
            ("health path", self.health_path, HEALTH),
        )  # fmt: skip
        sites.stuck_by(self.sticky)

    @property
    def asked_at(self) -> str:
        """Where the balancer's own machine reaches the listener, as host:port."""
        return sites.asked_at(self.listen)

    @property
    def file(self) -> str:
        return f"{self.folder}/{self.name}.cfg"

    @property
    def candidate(self) -> str:
        """A file that HAProxy does not read by itself: its name does not end in .cfg."""
        return f"{self.folder}/{self.name}.candidate"

    @property
    def backend(self) -> str:
        told = f"{_settings(self, '')}\n{_checked(self)}"
        return f"{self.name}.{hashlib.sha256(told.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a running back end. `dial` is host:port; `weight` is 0 where somebody took it out by hand."""

    name: str
    dial: str
    weight: int
    admin: int

    @property
    def by_hand(self) -> bool:
        return bool(self.admin & BY_HAND)


@dataclass(frozen=True, slots=True)
class Live:
    """What the running process routes by; `leaving` are servers that were removed and may still answer requests."""

    backend: str
    servers: Mapping[str, Server]
    leaving: frozenset[str]

    @property
    def endpoints(self) -> dict[str, str]:
        return {name: server.dial for name, server in self.servers.items()}

    @property
    def weights(self) -> dict[str, int]:
        return {name: server.weight for name, server in self.servers.items()}


def write(site: HAProxySite, endpoints: Mapping[str, str], weights: Mapping[str, int]) -> bytes:
    """Write the installation's file. Raises ConfigInvalid for a name or an address that cannot be."""
    demand_endpoints(endpoints, SERVER)
    backend = site.backend
    lines = [f"# {site.name}, written by Aureus at each change of its hosts and weights.", _settings(site, backend)]
    by, cookie = sites.stuck_by(site.sticky)
    for name in sorted(endpoints) if by == "cookie" else ():
        # A cookie holds a client on its host whatever the weight; taken off, the client gets another host's.
        taken_off = rf"http-request replace-header Cookie '^(.*; *)?{cookie}={name}(; *(.*))?$' '\1\3'"
        lines.append(f"    {taken_off} if {{ req.cook({cookie}) -m str {name} }} {{ srv_weight({name}) eq 0 }}")
    for name in sorted(endpoints):
        mark = f" cookie {name}" if by == "cookie" else ""
        lines.append(f"    server {name} {endpoints[name]} weight {weights[name]} {_checked(site)}{mark}")
    return "\n".join([*lines, ""]).encode()


def _checked(site: HAProxySite) -> str:
    """How a server is watched. Written at each server, since one that is added at run time takes no defaults."""
    every = f"{round(site.health_every * 1000)}ms"
    return (
        f"check inter {every} fastinter 200ms fall 2 rise 1 observe layer4 error-limit 3 on-error fail-check"
        " pool-purge-delay 1s"
    )


def _settings(site: HAProxySite, backend: str) -> str:
    told = [
        f"defaults aureus.{site.name}",
        "    mode http",
        "    log global",
        "    option httplog",
        "    option dontlognull",
        "    timeout connect 1s",
        "    timeout client 60s",
        "    timeout http-request 30s",
        "    timeout http-keep-alive 60s",
        "    timeout queue 5s",
        f"    timeout server {round(site.response_timeout * 1000)}ms",
        "    timeout check 1s",
        "    timeout tunnel 1h",
        "",
        f"frontend {site.name} from aureus.{site.name}",
        f"    bind {site.listen}",
        "    option forwardfor",
        "    http-request set-header X-Forwarded-Proto http",
        f"    default_backend {backend}",
        "",
        f"backend {backend} from aureus.{site.name}",
        *_balance(site),
        f"    option httpchk GET {site.health_path}",
        "    http-check expect rstatus ^2",
        "    retries 3",
        "    option redispatch 1",
        "    retry-on conn-failure empty-response",
        # What was not sent may go elsewhere; what a host may have carried out is asked of no other.
        "    http-request disable-l7-retry unless METH_GET",
    ]
    return "\n".join(told)


def _balance(site: HAProxySite) -> list[str]:
    by, name = sites.stuck_by(site.sticky)
    if by == "header":
        return [f"    balance hdr({name})", "    hash-type consistent sdbm avalanche"]
    if by == "cookie":
        return ["    balance roundrobin", f"    cookie {name} insert indirect nocache httponly attr SameSite=Lax"]
    return ["    balance roundrobin"]


def read(site: HAProxySite, text: str) -> Live | None:
    """Find the installation in the answer to `show servers state`; None where it is not."""
    found: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 18 and not line.startswith("#") and _ours(site, fields[1]):
            found.setdefault(fields[1], []).append(fields)
    if not found:
        return None
    backend = site.backend if site.backend in found else min(found)
    servers = [_server(fields) for fields in found[backend]]
    gone = {one.name for one, fields in zip(servers, found[backend], strict=True) if _leaves(fields)}
    return Live(backend, {one.name: one for one in servers if one.name not in gone}, frozenset(gone))


def _ours(site: HAProxySite, backend: str) -> bool:
    name, _, digest = backend.rpartition(".")
    return name == site.name and _BY_HASH.fullmatch(digest) is not None


def _server(fields: list[str]) -> Server:
    name, address, admin, weight, fqdn, port = (fields[n] for n in (3, 4, 6, 7, 17, 18))
    host = fqdn if fqdn != "-" else f"[{address}]" if ":" in address else address
    state = int(admin)
    return Server(name, f"{host}:{port}", 0 if state & BY_HAND else int(weight), state)


def _leaves(fields: list[str]) -> bool:
    """Weight 0 and maintenance together: what `structure` leaves behind while requests are being answered."""
    return bool(int(fields[6]) & MAINTENANCE) and fields[7] == "0"


def same_dial(one: str, other: str) -> bool:
    """Whether two addresses (host:port) are one, however an IPv6 address is written."""
    return _plain(one) == _plain(other)


def _plain(dial: str) -> tuple[str, str]:
    host, _, port = dial.rpartition(":")
    try:
        return str(ip_address(host.strip("[]"))), port
    except ValueError:
        return host.lower(), port


def is_numeric(dial: str) -> bool:
    try:
        ip_address(dial.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return True


def weight_commands(live: Live, weights: Mapping[str, int]) -> list[str]:
    """What makes these the weights, those that grow first: at no instant does nobody serve."""
    told = []
    for name in sorted(weights, key=lambda name: live.weights[name] - weights[name]):
        server, at = live.servers[name], f"{live.backend}/{name}"
        if server.weight != weights[name] or server.by_hand:
            told.append(f"set server {at} weight {weights[name]}")
        if server.by_hand:
            told.append(f"set server {at} state ready")
    return told


def structure_commands(
    site: HAProxySite, live: Live, endpoints: Mapping[str, str], weights: Mapping[str, int]
) -> list[str] | None:
    """What changes the servers of the running process without a reload; None where that cannot be done."""
    if live.backend != site.backend or site.sticky.startswith("cookie:"):
        return None  # settings need a reload, and a server that is added takes no cookie
    told: list[str] = []
    for name in sorted(endpoints):
        at, dial = f"{live.backend}/{name}", endpoints[name]
        moved = name in live.leaving or (name in live.servers and not same_dial(live.servers[name].dial, dial))
        if not moved and name in live.servers:
            continue
        if not is_numeric(dial):
            return None
        host, _, port = dial.rpartition(":")
        if moved:
            told += [f"set server {at} addr {host.strip('[]')} port {port}", f"set server {at} weight {weights[name]}"]
            told += [f"set server {at} state ready"] if name in live.leaving else []
        else:
            told += [f"add server {at} {dial} weight {weights[name]} {_checked(site)}"]
            told += [f"enable server {at}", f"enable health {at}"]
    for name in sorted(set(live.servers) - set(endpoints)):
        told += [f"set server {live.backend}/{name} weight 0", f"set server {live.backend}/{name} state maint"]
    # One that still answers requests is refused to be deleted, and is tried again at the next change.
    gone = (set(live.servers) | live.leaving) - set(endpoints)
    return told + [f"del server {live.backend}/{name}" for name in sorted(gone)]


def lines(commands: Iterable[str]) -> list[str]:
    """Join commands into lines that HAProxy takes at once."""
    found: list[str] = []
    for command in commands:
        if found and len(found[-1]) + len(command) < LONGEST_COMMAND:
            found[-1] += f";{command}"
        else:
            found.append(command)
    return found


@dataclass(frozen=True, slots=True)
class Flight:
    """Requests that a server is answering or has waiting, and its connections, idle ones included."""

    requests: int
    connections: int


def flights(text: str, backend: str) -> dict[str, Flight]:
    """Read `show stat`. Raises ValueError for an answer that is none."""
    begins = text.find("# pxname,")
    if begins < 0:
        raise ValueError("no statistics")
    found = {}
    for row in csv.DictReader(text[begins + 2 :].splitlines()):
        if row["pxname"] == backend and row.get("type") == "2":
            open_ones = sum(int(row.get(field) or 0) for field in ("idle_conn_cur", "safe_conn_cur", "used_conn_cur"))
            found[row["svname"]] = Flight(int(row["scur"]) + int(row["qcur"]), max(open_ones, int(row["scur"])))
    return found


def figure(text: str, name: str) -> str:
    """One line of `show info`; "" where it is not."""
    match = re.search(rf"^{re.escape(name)}: (.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


__all__ = ["ConfigInvalid", "HAProxySite", "Live", "Server", "read", "write"]
