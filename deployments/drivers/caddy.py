"""Caddy in file form: a weight change is one small file on the balancer's host, and no request is lost by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from deployments.drivers import caddy_config
from deployments.drivers.asking import ask
from deployments.drivers.caddy_config import VERIFY_PATH, CaddySite, Live
from deployments.drivers.sites import ConfigInvalid
from deployments.drivers.traffic import BalancerShell, TrafficError, carried_over, check_weights


class CaddyTraffic:
    """One installation's traffic on one Caddy, worked on the balancer's host through its shell.

    The live weights are read through the listener itself. A POST that may have reached a host is never repeated on
    another one.
    """

    lossless = True
    moves = True
    sticky = False

    def __init__(self, shell: BalancerShell, site: CaddySite) -> None:
        self._shell = shell
        self._site = site

    def read(self) -> dict[str, int]:
        return dict(self._live().weights)

    def set_weights(self, weights: Mapping[str, int], *, fence: int) -> None:
        live = self._live()
        check_weights(weights, live.endpoints)
        self._write(live.endpoints, weights, live.structure, fence)

    def in_flight(self, endpoint: str) -> int | None:
        try:
            dial = self._live().endpoints.get(endpoint)
            pools = self._admin("GET", "/reverse_proxy/upstreams")
        except TrafficError:
            return None
        found = [row["num_requests"] for row in pools or () if row["address"] == dial]
        return sum(found) if found else None

    def ensure(self, endpoints: Mapping[str, str], *, fence: int, initial: Mapping[str, int] | None = None) -> bool:
        wanted, running = self._rendered(endpoints), self._running()
        live = self._known() if running is not None else None
        weights = carried_over(live.weights if live else {}, endpoints, initial)
        structure = caddy_config.structure_of(self._site, endpoints)
        if live and running == wanted and live.structure == structure:
            return False
        # The new configuration reads another file: written first, it is there with the first request.
        self._write(endpoints, weights, structure, fence)
        self._admin("POST", self._path(), wanted)
        return True

    def verify(self, weights: Mapping[str, int]) -> bool:
        return self._live().weights == dict(weights)

    def edited(self, weights: Mapping[str, int]) -> bool:
        """Caddy reads the weights file with each request: what was edited so that it cannot be read is `not_ours`."""
        live = self._live()
        if live.structure != caddy_config.structure_of(self._site, live.endpoints):
            return False
        texts = [caddy_config.write(self._site, live.endpoints, told, live.fence) for told in (weights, live.weights)]
        return self._shell.read_file(self._site.weights_file(live.structure)) not in texts

    def shortcomings(self) -> tuple[tuple[str, str], ...]:
        # Weights and structure need the socket and the folder alone, and those a reading proves.
        return ()

    def _write(self, endpoints: Mapping[str, str], weights: Mapping[str, int], structure: str, fence: int) -> None:
        text = caddy_config.write(self._site, endpoints, weights, fence)
        self._shell.put_file(self._site.weights_file(structure), text, fence=fence)

    def _rendered(self, endpoints: Mapping[str, str]) -> dict[str, Any]:
        try:
            return caddy_config.server(self._site, endpoints)
        except ConfigInvalid as error:
            raise TrafficError(str(error), code="bad_endpoint") from None

    def _live(self) -> Live:
        try:
            status, body = self._ask("GET", self._site.asked_at, VERIFY_PATH)
        except TrafficError as error:
            # Before the first deployment nobody listens there: that is no outage, and waiting does not help.
            if error.code == "unreachable" and self._running() is None:
                sentence = f"{self._site.name} is not set up on the balancer yet."
                raise TrafficError(sentence, code="not_ours") from None
            raise
        if status != 200:
            sentence = f"The balancer answers {status} where its weights should be: is {self._site.name} set up on it?"
            raise TrafficError(sentence, code="not_ours")
        try:
            return caddy_config.read(body.decode("utf-8", "replace"))
        except ConfigInvalid as error:
            raise TrafficError(str(error), code="not_ours") from None

    def _known(self) -> Live | None:
        """The live weights, or None where the file was taken away or spoilt: `ensure` writes it anew."""
        try:
            return self._live()
        except TrafficError as error:
            if error.code == "not_ours":
                return None
            raise

    def _path(self) -> str:
        return f"/config/apps/http/servers/{self._site.name}"

    def _running(self) -> dict[str, Any] | None:
        servers = self._admin("GET", "/config/apps/http/servers")
        if servers is None:
            sentence = "Caddy runs without apps.http.servers: start it with the first configuration of Aureus."
            raise TrafficError(sentence, code="not_ours")
        found: dict[str, Any] | None = servers.get(self._site.name)
        return found

    def _admin(self, method: str, path: str, said: Any = None) -> Any:
        octets = b"" if said is None else json.dumps(said).encode()
        status, body = self._ask(method, "localhost", path, unix=self._site.admin_socket, body=octets)
        if status != 200:
            told = body.decode("utf-8", "replace").strip()[-300:]
            raise TrafficError(f"Caddy's admin socket answered {status}: {told}", code="refused")
        return json.loads(body) if body.strip() else None

    def _ask(self, method: str, address: str, path: str, *, unix: str = "", body: bytes = b"") -> tuple[int, bytes]:
        where = "Caddy's admin socket" if unix else f"Caddy at {address}"
        return ask(self._shell, method, address, path, unix=unix, body=body, where=where)
