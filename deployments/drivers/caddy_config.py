"""Caddy routed by a file that it reads on each request: the file's text and the configuration around it. Pure.

A weight change writes the file and reloads nothing. Each request draws three hex digits; the first host whose threshold
is above the draw gets it. The sign after a threshold says whether that host may be a fallback.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployments.drivers import sites
from deployments.drivers.sites import FOLDER, HEALTH, LISTEN, NAME, ConfigInvalid, demand, demand_endpoints

DRAWS = 4096
REST = "zzz"
VERIFY_PATH = "/__lb"


@dataclass(frozen=True, slots=True)
class CaddySite:
    """One installation on one Caddy: its own server, listener and weights file. Times are seconds."""

    name: str
    listen: str
    folder: str
    admin_socket: str
    health_path: str = "/health"
    health_every: float = 0.5
    response_timeout: float = 60

    def __post_init__(self) -> None:
        demand(
            ("name", self.name, NAME), ("folder", self.folder, FOLDER), ("listen address", self.listen, LISTEN),
            ("admin socket", self.admin_socket, FOLDER), ("health path", self.health_path, HEALTH),
        )  # fmt: skip

    @property
    def asked_at(self) -> str:
        """Where the balancer's own machine asks for the live weights, as host:port."""
        return sites.asked_at(self.listen)

    def weights_file(self, structure: str) -> str:
        """One file per structure: a weight can never be read by a configuration that means another host by it."""
        return f"{self.folder}/{self.name}.weights-{structure}"


@dataclass(frozen=True, slots=True)
class Live:
    """What the balancer routes by: weights, and endpoints (name to host:port) in the order of their thresholds."""

    endpoints: Mapping[str, str]
    weights: Mapping[str, int]
    structure: str
    fence: int


def structure_of(site: CaddySite, endpoints: Mapping[str, str]) -> str:
    """Name a set of endpoints under a site's settings; another name means another configuration."""
    told = [repr(site), sorted(endpoints.items())]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def thresholds(weights: Sequence[int]) -> tuple[str, ...]:
    """Share 4096 draws by weight, at least one for each weight above 0; the last such host gets the rest."""
    shares = _shares(weights)
    last = max((position for position, weight in enumerate(weights) if weight), default=len(weights))
    found, reached = [], 0
    for position, share in enumerate(shares):
        reached += share
        found.append(REST if position >= last else f"{reached:03x}")
    return tuple(found)


def _shares(weights: Sequence[int]) -> list[int]:
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    exact = [weight * DRAWS / total for weight in weights]
    shares = [max(1, int(share)) if weight else 0 for share, weight in zip(exact, weights, strict=True)]
    # What rounding left over goes to those that lost most by it; what it overdrew comes from the largest.
    order = sorted(range(len(weights)), key=lambda position: shares[position] - exact[position])
    for step in range(max(DRAWS - sum(shares), 0)):
        candidates = [position for position in order if weights[position]]
        shares[candidates[step % len(candidates)]] += 1
    while sum(shares) > DRAWS:
        shares[shares.index(max(shares))] -= 1
    return shares


def write(site: CaddySite, endpoints: Mapping[str, str], weights: Mapping[str, int], fence: int) -> bytes:
    """Write the weights file: thresholds for Caddy, then what they were made from for us."""
    names = sorted(endpoints)
    fields = thresholds([weights[name] for name in names])
    head = "".join(field + ("+" if weights[name] else "-") for field, name in zip(fields, names, strict=True))
    told = {
        "structure": structure_of(site, endpoints),
        "fence": fence,
        "weights": {name: weights[name] for name in names},
        "endpoints": {name: endpoints[name] for name in names},
    }
    return f"{head} {json.dumps(told, separators=(',', ':'))}".encode()


def read(text: str) -> Live:
    """Read a weights file back. Raises ConfigInvalid when it is none, or its two halves do not say the same."""
    head, _, tail = text.partition(" ")
    try:
        told = json.loads(tail)
        live = Live(dict(told["endpoints"]), dict(told["weights"]), str(told["structure"]), int(told["fence"]))
        fields = thresholds([live.weights[name] for name in live.endpoints])
    except (ValueError, KeyError, TypeError):
        raise ConfigInvalid(f"The balancer routes by {text[:60]!r}, which is no weights file of ours.") from None
    signs = ["+" if live.weights[name] else "-" for name in live.endpoints]
    if head != "".join(field + sign for field, sign in zip(fields, signs, strict=True)):
        raise ConfigInvalid(f"The balancer's thresholds {head!r} are not those of its weights.")
    return live


def first_config(admin_socket: str) -> dict[str, Any]:
    """What Caddy is started with, together with `--resume`: an admin socket for its own user and no server yet."""
    return {
        "admin": {"listen": f"unix/{admin_socket}|0600"},
        "apps": {"http": {"grace_period": "30s", "servers": {}}},
    }


def server(site: CaddySite, endpoints: Mapping[str, str]) -> dict[str, Any]:
    """Answer one installation's server. Raises ConfigInvalid for a name or an address that cannot be.

    A request goes to the drawn host. If that was not reached at all, or failed under a GET or HEAD, it goes to another
    one with a weight, drawn anew, then to any left, then to one of them whatever its health check last said.
    """
    demand_endpoints(endpoints)
    dials = [endpoints[name] for name in sorted(endpoints)]
    weights = "{file." + site.weights_file(structure_of(site, endpoints)) + "}"
    beyond = _level(_Proxies(site, dials, weights, False), "tried_last", (), None)
    for turn in range(min(len(dials), len(_TRIED)), 0, -1):
        beyond = _level(_Proxies(site, dials, weights, True), _TRIED[turn - 1], _TRIED[: turn - 1], beyond)
    return {
        "listen": [site.listen],
        "automatic_https": {"disable": True},
        "routes": [
            {"handle": [{"handler": "vars", "weights": weights}]},
            {"match": [_from_this_machine(site)], "handle": [_answer(200, "{http.vars.weights}")], "terminal": True},
            {"handle": [beyond]},
        ],
    }


@dataclass(frozen=True, slots=True)
class _Proxies:
    site: CaddySite
    dials: Sequence[str]
    weights: str
    checked: bool

    def to(self, position: int) -> dict[str, Any]:
        site = self.site
        proxy: dict[str, Any] = {
            "handler": "reverse_proxy",
            "upstreams": [{"dial": self.dials[position]}],
            "transport": {
                "protocol": "http",
                "dial_timeout": "1s",
                "response_header_timeout": f"{site.response_timeout}s",
                # Shorter than any server's own: a POST must not be sent on a connection that its host is closing.
                "keep_alive": {"idle_timeout": "1500ms", "max_idle_conns_per_host": 256},
            },
        }
        if self.checked:
            check = {"uri": site.health_path, "interval": f"{site.health_every}s", "timeout": "1s", "fails": 2}
            proxy["health_checks"] = {"active": check}
        return proxy


_TRIED = ("tried_1", "tried_2", "tried_3")
# Where in a version 4 UUID (8-4-4-4-12) three digits are random: each draw is independent of the others.
_DRAWS = {"tried_1": (0, 3), "tried_2": (9, 12), "tried_3": (24, 27), "tried_last": (27, 30)}
_MAY_REPEAT = (
    '{http.request.method} in ["GET", "HEAD"]'
    ' || {http.error.message}.startsWith("dial ")'
    ' || {http.error.message}.startsWith("no upstreams available")'
    ' || {http.error.message}.startsWith("nobody")'
)


def _level(proxies: _Proxies, name: str, tried: Sequence[str], beyond: dict[str, Any] | None) -> dict[str, Any]:
    """One attempt at a drawn host that was not tried yet; what goes wrong there is for the level beyond."""
    positions = range(len(proxies.dials))
    # A draw may fall on a host that was tried: then the first that is left. Routes of one group exclude each other.
    picks = [_pick(name, p, _drawn(name, p), tried) for p in positions]
    picks += [_pick(name, p, "", tried) for p in positions] if tried else []
    goes = [
        {"match": [{"expression": f'{{http.vars.{name}}} == "{p}"'}], "handle": [proxies.to(p)], "terminal": True}
        for p in positions
    ]
    nobody = {"handler": "error", "error": "nobody with a weight is left", "status_code": 503}
    failed: list[dict[str, Any]] = []
    if beyond is not None:
        # A long request may have outlived its weights: a host taken out meanwhile is no fallback.
        again = {"handler": "vars", "weights": proxies.weights}
        failed.append({"match": [{"expression": _MAY_REPEAT}], "handle": [again, beyond], "terminal": True})
    failed.append({"handle": [_answer("{http.error.status_code}", "The balancer got no answer.\n")]})
    return {"handler": "subroute", "routes": [*picks, *goes, {"handle": [nobody]}], "errors": {"routes": failed}}


def _pick(name: str, position: int, drawn: str, tried: Sequence[str]) -> dict[str, Any]:
    sign = 4 * position + 3
    terms = [f'{{http.vars.weights}}.substring({sign},{sign + 1}) == "+"', *([drawn] if drawn else [])]
    terms += [f'{{http.vars.{earlier}}} != "{position}"' for earlier in tried]
    return {
        "group": name,
        "match": [{"expression": " && ".join(terms)}],
        "handle": [{"handler": "vars", name: str(position)}],
    }


def _drawn(name: str, position: int) -> str:
    begin, end = _DRAWS[name]
    start = 4 * position
    return f"{{http.request.uuid}}.substring({begin},{end}) < {{http.vars.weights}}.substring({start},{start + 3})"


def _from_this_machine(site: CaddySite) -> dict[str, Any]:
    own = site.asked_at.rpartition(":")[0].strip("[]")
    return {"path": [VERIFY_PATH], "remote_ip": {"ranges": sorted({"127.0.0.0/8", "::1/128", own})}}


def _answer(status: int | str, body: str) -> dict[str, Any]:
    headers = {"Content-Type": ["text/plain; charset=utf-8"], "Cache-Control": ["no-store"]}
    return {"handler": "static_response", "status_code": status, "headers": headers, "body": body}
