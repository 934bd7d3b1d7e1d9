"""nginx with ngx_http_lua_module: hosts and weights in a sheet in shared memory, and no request is lost by a change."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from deployments.drivers import nginx_config
from deployments.drivers.nginx import LIVE_WITHIN, NginxNode
from deployments.drivers.nginx_config import NginxSite, Sheet
from deployments.drivers.sites import ConfigInvalid
from deployments.drivers.traffic import BalancerShell, TrafficError, carried_over, check_weights


@cache
def program() -> str:
    """The Lua that nginx runs for each request."""
    return Path(__file__).with_name("nginx_balance.lua").read_text()


class LuaNginxTraffic:
    """One installation's traffic on one nginx. Hosts and weights change without a reload, settings with one.

    The live weights are read through the listener. A POST that may have reached a host is repeated on no other one.
    """

    lossless = True
    moves = True
    sticky = True

    def __init__(self, shell: BalancerShell, site: NginxSite, *, live_within: float = LIVE_WITHIN) -> None:
        self._node = NginxNode(shell, site, live_within)
        self._shell = shell
        self._site = site
        # Named by its content: a new one never changes what a running configuration means.
        digest = hashlib.sha256(program().encode()).hexdigest()[:12]
        self._program = f"{site.folder}/balance-{digest}.lua"

    def read(self) -> dict[str, int]:
        return dict(self._node.live().weights)

    def set_weights(self, weights: Mapping[str, int], *, fence: int) -> None:
        asked = self._node.asked()
        live = self._node.sheet(asked)
        check_weights(weights, live.endpoints)
        wanted = self._sheet(live.endpoints, weights)
        self._load(wanted, fence)
        if nginx_config.running(asked) == wanted.structure and self._changed_on_disk(wanted):
            # What nginx runs already: neither a check nor a reload is needed, and neither may stop the traffic.
            self._shell.put_file(self._program, program().encode(), fence=fence)
            text = nginx_config.write_lua(self._site, wanted, self._program)
            self._shell.put_file(self._site.file, text, fence=fence)

    def in_flight(self, endpoint: str) -> int | None:
        try:
            return nginx_config.flights(self._node.asked()).get(endpoint)
        except TrafficError:
            return None

    def ensure(self, endpoints: Mapping[str, str], *, fence: int, initial: Mapping[str, int] | None = None) -> bool:
        live, written = self._node.known(), self._written()
        weights = carried_over((live or written).weights, endpoints, initial)
        wanted = self._sheet(endpoints, weights)
        text = nginx_config.write_lua(self._site, wanted, self._program)
        configured = self._shell.read_file(self._site.file) == text and live is not None and self._runs(wanted)
        if configured and live == wanted == written:
            return False
        # The configuration reads the sheet with its first request: written first, it is there.
        self._shell.put_file(self._site.sheet_file, str(wanted).encode(), fence=fence)
        if not configured:
            self._shell.put_file(self._program, program().encode(), fence=fence)
            self._node.take(text, fence)
            self._node.reload(lambda _: self._runs(wanted), fence)
        self._load(wanted, fence)
        return True

    def verify(self, weights: Mapping[str, int]) -> bool:
        """Live, and in the file that the next start reads."""
        live = self._node.live()
        return live.weights == dict(weights) and self._written() == live

    def edited(self, weights: Mapping[str, int]) -> bool:
        asked = self._node.asked()
        live = self._node.sheet(asked)
        wanted = self._sheet(live.endpoints, weights)
        if not nginx_config.running(asked) == live.structure == wanted.structure:
            return False
        sheets = (str(wanted).encode(), str(live).encode())
        return self._changed_on_disk(wanted) or self._shell.read_file(self._site.sheet_file) not in sheets

    def shortcomings(self) -> tuple[tuple[str, str], ...]:
        return self._node.shortcomings()

    def _runs(self, wanted: Sheet) -> bool:
        """Whether the running configuration has these settings."""
        return nginx_config.running(self._node.asked()) == wanted.structure

    def _changed_on_disk(self, wanted: Sheet) -> bool:
        """Whether the configuration or the program, beside the sheet, are not as we write them."""
        text = nginx_config.write_lua(self._site, wanted, self._program)
        read = self._shell.read_file
        return read(self._site.file) != text or read(self._program) != program().encode()

    def _load(self, wanted: Sheet, fence: int) -> None:
        """Write the sheet under the fence, then let nginx load what is written by then."""
        self._shell.put_file(self._site.sheet_file, str(wanted).encode(), fence=fence)
        if self._node.sheet(self._node.asked("POST")) != wanted:
            raise TrafficError("nginx loaded another sheet: somebody wrote it just now.", code="not_live", retry=True)

    def _written(self) -> Sheet:
        text = self._shell.read_file(self._site.sheet_file) or b""
        try:
            return nginx_config.read(text.decode("utf-8", "replace"))
        except ConfigInvalid:
            return Sheet("", {}, {})

    def _sheet(self, endpoints: Mapping[str, str], weights: Mapping[str, int]) -> Sheet:
        try:
            return nginx_config.sheet(self._site, endpoints, weights, program())
        except ConfigInvalid as error:
            raise TrafficError(str(error), code="bad_endpoint") from None
