"""nginx's text, in two forms: weights in the configuration (a change is a reload), or in a sheet that Lua reads. Pure.

Both answer their own machine at VERIFY_PATH with the sheet that they route by: a line with the settings' digest, then
one line `name weight host:port` for each endpoint.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from deployments.drivers import sites
from deployments.drivers.sites import FOLDER, HEALTH, LISTEN, NAME, ConfigInvalid, demand, demand_endpoints

VERIFY_PATH = "/__lb"
_LINE = re.compile(r"(?P<name>\S+) (?P<weight>[0-9]{1,3}) (?P<dial>\S+)")
_HEAD = re.compile(r"aureus (?P<structure>[0-9a-f]{12})")
_FLIGHT = re.compile(r"in_flight (?P<name>\S+) (?P<count>-?[0-9]+)")


@dataclass(frozen=True, slots=True)
class NginxSite:
    """One installation on one nginx: an upstream, a server and a file of its own. Times are seconds.

    `reload_free` is "lua" where ngx_http_lua_module is installed, else "". `check` tests and `reload` makes nginx read
    its configuration. `sticky` is "" or, with lua alone, cookie:NAME or header:NAME.
    """

    name: str
    listen: str
    folder: str
    reload: str = "sudo -n systemctl reload nginx"
    check: str = "sudo -n nginx -t -q"
    reload_free: str = ""
    health_path: str = "/health"
    health_every: float = 0.5
    response_timeout: float = 60
    sticky: str = ""

    def __post_init__(self) -> None:
        demand(
            ("name", self.name, NAME), ("folder", self.folder, FOLDER), ("listen address", self.listen, LISTEN),
            ("health path", self.health_path, HEALTH),
        )  # fmt: skip
        sites.stuck_by(self.sticky)
        if self.reload_free not in ("", "lua"):
            raise ConfigInvalid(f"nginx has no reload-free form {self.reload_free!r}: leave it out, or write lua.")
        if self.sticky and not self.reload_free:
            raise ConfigInvalid("nginx keeps clients on their host with `reload_free: lua` alone.")

    @property
    def asked_at(self) -> str:
        """Where the balancer's own machine reaches the listener, as host:port."""
        return sites.asked_at(self.listen)

    @property
    def file(self) -> str:
        return f"{self.folder}/{self.name}.conf"

    @property
    def sheet_file(self) -> str:
        return f"{self.folder}/{self.name}.sheet"

    @property
    def own(self) -> str:
        """A word for what nginx must not know twice."""
        return f"aureus_{re.sub('[^A-Za-z0-9]', '_', self.name)}_{hashlib.sha256(self.name.encode()).hexdigest()[:6]}"


@dataclass(frozen=True, slots=True)
class Sheet:
    """What nginx routes by. `structure` names the settings, and in the form without Lua the endpoints too."""

    structure: str
    endpoints: Mapping[str, str]
    weights: Mapping[str, int]

    def __str__(self) -> str:
        rows = [f"{name} {self.weights[name]} {self.endpoints[name]}" for name in sorted(self.endpoints)]
        return "\n".join([f"aureus {self.structure}", *rows, ""])


def sheet(site: NginxSite, endpoints: Mapping[str, str], weights: Mapping[str, int], program: str) -> Sheet:
    """Make the sheet for these weights; `program` is the Lua file's text, if any. Raises ConfigInvalid."""
    demand_endpoints(endpoints)
    for name, dial in endpoints.items() if site.reload_free else ():
        try:
            ip_address(dial.rpartition(":")[0].strip("[]"))
        except ValueError:
            raise ConfigInvalid(
                f"The endpoint {name} at {dial} needs a numeric address: nginx's Lua does not look names up."
            ) from None
    blank = Sheet("", {}, {})
    told = write_lua(site, blank, "") + program.encode() if site.reload_free else write(site, blank)
    return Sheet(hashlib.sha256(told).hexdigest()[:12], dict(endpoints), dict(weights))


def read(text: str) -> Sheet:
    """Read a sheet back, with or without what Lua counts in flight. Raises ConfigInvalid when it is none."""
    head, *rest = text.splitlines() or [""]
    match = _HEAD.fullmatch(head)
    rows = [_LINE.fullmatch(line) for line in rest if line and not line.startswith(("in_flight ", "running "))]
    if match is None or None in rows:
        raise ConfigInvalid(f"nginx routes by {text[:60]!r}, which is no sheet of ours.")
    found = [row for row in rows if row]
    return Sheet(
        match["structure"],
        {row["name"]: row["dial"] for row in found},
        {row["name"]: int(row["weight"]) for row in found},
    )


def read_file(text: str) -> Sheet:
    """Read the sheet that stands in the comment lines of a configuration file. Raises ConfigInvalid."""
    kept = [line[3:] for line in text.splitlines() if line.startswith("#= ")]
    return read("\n".join(kept))


def running(text: str) -> str:
    """The digest of the settings that the running configuration has; "" where it does not say."""
    match = re.search(r"^running (\S+)$", text, re.MULTILINE)
    return match[1] if match else ""


def flights(text: str) -> dict[str, int]:
    """Requests in flight by endpoint, as Lua counts them."""
    found = [match for line in text.splitlines() if (match := _FLIGHT.fullmatch(line))]
    return {match["name"]: int(match["count"]) for match in found}


def write(site: NginxSite, told: Sheet) -> bytes:
    """The configuration with weights in it."""
    servers = [
        f"    server {dial} {f'weight={told.weights[name]} max_fails=0' if told.weights[name] else 'down'};"
        for name, dial in sorted(told.endpoints.items())
    ]
    lines = [
        f"# {site.name}, written by Aureus at each change of its hosts and weights.",
        *(f"#= {line}" for line in str(told).splitlines()),
        f"upstream {site.own} {{",
        f"    zone {site.own} 512k;",
        *servers,
        *_KEPT,
        "}",
        _server(site, _answered(site, told)),
    ]
    return "\n".join(lines).encode()


# Shorter than any server's own: a POST must not be sent on a connection that its host is closing.
_KEPT = ["    keepalive 256;", "    keepalive_timeout 1500ms;"]


def write_lua(site: NginxSite, told: Sheet, program: str) -> bytes:
    """The configuration that routes by the sheet, whatever that says; `program` is the Lua file's path."""
    lines = [
        f"# {site.name}, written by Aureus when its settings change. Hosts and weights stand in {site.sheet_file}.",
        f"#= aureus {told.structure}",
        f"lua_shared_dict {site.own} 1m;",
        f"upstream {site.own} {{",
        "    server 0.0.0.1;",
        f"    balancer_by_lua_block {{ {_lua(program)}.balance(ngx.ctx.routed) }}",
        *_KEPT,
        "}",
        _server(
            site,
            f'        content_by_lua_block {{ {_lua(program)}.answer({_named(site)}, "{told.structure}") }}',
            _hooks(site, program),
        ),
    ]
    return "\n".join(lines).encode()


def _lua(program: str) -> str:
    return f'(package.loaded["{program}"] or dofile("{program}"))'


def _named(site: NginxSite) -> str:
    by, name = sites.stuck_by(site.sticky)
    said = {
        "dict": site.own, "file": site.sheet_file, "health": site.health_path,
        "sticky_by": by, "sticky_name": name,
    }  # fmt: skip
    fields = [f'{key} = "{value}"' for key, value in said.items()]
    return "{" + ", ".join([*fields, f"every = {site.health_every:g}"]) + "}"


def _server(site: NginxSite, answer: str, hooks: Sequence[str] = ()) -> str:
    host = site.asked_at.rpartition(":")[0].strip("[]")
    near = sorted({"127.0.0.0/8", "::1/128", host} - {"127.0.0.1", "::1"})
    lines = [
        f"map $http_upgrade ${site.own}_connection {{ default upgrade; '' ''; }}",
        f"geo ${site.own}_near {{ default 0; {' '.join(f'{one} 1;' for one in near)} }}",
        "server {",
        f"    listen {site.listen.removeprefix(':')};",
        f"    location = {VERIFY_PATH} {{",
        f"        if (${site.own}_near = 0) {{ return 404; }}",
        "        default_type text/plain;",
        "        access_log off;",
        answer,
        "    }",
        "    location / {",
        *hooks,
        _proxied(site),
        "    }",
        "}",
        "",
    ]
    return "\n".join(lines)


def _answered(site: NginxSite, told: Sheet) -> str:
    return f'        return 200 "{"\\n".join(str(told).splitlines())}\\n";'


def _hooks(site: NginxSite, program: str) -> list[str]:
    lua = _lua(program)
    found = [
        f"        access_by_lua_block {{ {lua}.route({_named(site)}) }}",
        f"        log_by_lua_block {{ {lua}.ended(ngx.ctx.routed) }}",
    ]
    if site.sticky.startswith("cookie:"):
        found.append(f"        header_filter_by_lua_block {{ {lua}.mark(ngx.ctx.routed) }}")
    return found


def _proxied(site: NginxSite) -> str:
    lines = [
        f"proxy_pass http://{site.own};",
        "proxy_http_version 1.1;",
        "proxy_set_header Host $http_host;",
        "proxy_set_header Upgrade $http_upgrade;",
        f"proxy_set_header Connection ${site.own}_connection;",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "client_max_body_size 0;",
        "proxy_connect_timeout 1s;",
        f"proxy_read_timeout {round(site.response_timeout * 1000)}ms;",
        # Without `non_idempotent` a POST that was sent is asked of no other host.
        "proxy_next_upstream error timeout;",
        "proxy_next_upstream_tries 4;",
    ]
    return "\n".join(f"        {line}" for line in lines)
