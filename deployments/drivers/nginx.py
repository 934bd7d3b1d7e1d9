"""nginx, one file per installation: a change of weights is a reload, and reloads lose keep-alive clients' requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from deployments.drivers import nginx_config, privileges
from deployments.drivers.asking import ask
from deployments.drivers.connections import established
from deployments.drivers.nginx_config import VERIFY_PATH, NginxSite, Sheet
from deployments.drivers.sites import ConfigInvalid
from deployments.drivers.traffic import BalancerShell, TrafficError, carried_over, check_weights

LIVE_WITHIN = 20.0
"""Seconds until a reload must have become live."""
IN_A_ROW = 5
"""Answers with the new sheet, one after another: a worker from before the reload may still take a connection."""


class NginxNode:
    """One nginx as our user works it: its answer to us, and its configuration taken over or put back."""

    def __init__(self, shell: BalancerShell, site: NginxSite, live_within: float) -> None:
        self.shell = shell
        self.site = site
        self._live_within = live_within

    def live(self) -> Sheet:
        """What nginx routes by. Raises TrafficError: not_ours, or unreachable."""
        return self.sheet(self.asked())

    def sheet(self, text: str) -> Sheet:
        try:
            return nginx_config.read(text)
        except ConfigInvalid as error:
            raise TrafficError(str(error), code="not_ours") from None

    def asked(self, method: str = "GET") -> str:
        where = f"nginx at {self.site.asked_at}"
        try:
            status, body = ask(self.shell, method, self.site.asked_at, VERIFY_PATH, where=where)
        except TrafficError as error:
            # Before the first deployment nobody listens there: that is no outage, and waiting does not help.
            if error.code == "unreachable" and self.shell.read_file(self.site.file) is None:
                sentence = f"{self.site.name} is not set up on the balancer yet."
                raise TrafficError(sentence, code="not_ours") from None
            raise
        told = body.decode("utf-8", "replace")
        if status == 500:
            raise TrafficError(f"nginx's workers cannot read the weights: {told.strip()[:200]}", code="unreadable")
        if status != 200:
            sentence = f"nginx answers {status} where its weights should be: is {self.site.name} set up on it?"
            raise TrafficError(sentence, code="not_ours")
        return told

    def known(self) -> Sheet | None:
        """What it routes by; None where it does not know us, or does not answer."""
        try:
            return self.live()
        except TrafficError as error:
            if error.code in ("not_ours", "unreachable", "unreadable"):
                return None
            raise

    def take(self, text: bytes, fence: int) -> bool:
        """Put the configuration in its place and say if it is new. One that nginx does not accept is taken back."""
        before = self.shell.read_file(self.site.file)
        self.shell.put_file(self.site.file, text, fence=fence)
        if self.site.check and before != text:
            try:
                privileges.run_declared(self.shell, self.site.check, fence)
            except TrafficError as error:
                self.shell.put_file(self.site.file, before or b"# not in use\n", fence=fence)
                if error.code == "declared_failed":
                    raise TrafficError(f"nginx does not accept it: {error.sentence}", code="refused") from None
                raise
        return before != text

    def reload(self, claim: Callable[[Sheet], bool], fence: int) -> None:
        """Reload, and wait until nginx answers as claimed, several times in a row."""
        privileges.run_declared(self.shell, self.site.reload, fence)
        ends, row = time.monotonic() + self._live_within, 0
        while row < IN_A_ROW:
            live = self.known()
            row = row + 1 if live is not None and claim(live) else 0
            if not row and time.monotonic() > ends:
                raise TrafficError(self.not_included(), code="not_live", retry=True)
            if not row:
                time.sleep(0.05)

    def not_included(self) -> str:
        folder = self.site.folder
        return (
            f"nginx was reloaded and does not route by our file: write `include {folder}/*.conf;` into its http block"
        )

    def shortcomings(self) -> tuple[tuple[str, str], ...]:
        found = privileges.missing(self.shell, self.site.reload, self.site.folder)
        if self.site.check:
            found += privileges.missing(self.shell, self.site.check)
        return tuple(found)


class NginxTraffic:
    """One installation's traffic on one nginx, with the weights in its configuration.

    The live weights are read through the listener. A POST that may have reached a host is repeated on no other one.
    """

    lossless = False
    moves = True
    sticky = False

    def __init__(self, shell: BalancerShell, site: NginxSite, *, live_within: float = LIVE_WITHIN) -> None:
        self._node = NginxNode(shell, site, live_within)
        self._site = site

    def read(self) -> dict[str, int]:
        return dict(self._node.live().weights)

    def set_weights(self, weights: Mapping[str, int], *, fence: int) -> None:
        live = self._node.live()
        check_weights(weights, live.endpoints)
        self._route(self._sheet(live.endpoints, weights), live, fence)

    def in_flight(self, endpoint: str) -> int | None:
        """Connections, idle ones included: those end within 1.5 s of a host's being taken out."""
        try:
            dial = self._node.live().endpoints.get(endpoint)
            return established(self._node.shell, dial) if dial else None
        except TrafficError:
            return None

    def ensure(self, endpoints: Mapping[str, str], *, fence: int, initial: Mapping[str, int] | None = None) -> bool:
        live = self._node.known()
        weights = carried_over((live or self._written()).weights, endpoints, initial)
        wanted = self._sheet(endpoints, weights)
        text = nginx_config.write(self._site, wanted)
        if live == wanted and self._node.shell.read_file(self._site.file) == text:
            return False
        self._route(wanted, live, fence)
        return True

    def verify(self, weights: Mapping[str, int]) -> bool:
        """Live, and in the file that the next start reads."""
        live = self._node.live()
        text = nginx_config.write(self._site, self._sheet(live.endpoints, weights))
        return live.weights == dict(weights) and self._node.shell.read_file(self._site.file) == text

    def edited(self, weights: Mapping[str, int]) -> bool:
        live = self._node.live()
        wanted = self._sheet(live.endpoints, weights)
        written = [nginx_config.write(self._site, told) for told in (wanted, live)]
        return live.structure == wanted.structure and self._node.shell.read_file(self._site.file) not in written

    def shortcomings(self) -> tuple[tuple[str, str], ...]:
        return self._node.shortcomings()

    def _route(self, wanted: Sheet, live: Sheet | None, fence: int) -> None:
        edited = self._node.take(nginx_config.write(self._site, wanted), fence)
        # What was edited may have been reloaded just now, and one answer more have come from a worker from before.
        if edited or live != wanted:
            self._node.reload(lambda now: now == wanted, fence)

    def _written(self) -> Sheet:
        """What its file says, for an nginx that does not answer."""
        text = self._node.shell.read_file(self._site.file) or b""
        try:
            return nginx_config.read_file(text.decode("utf-8", "replace"))
        except ConfigInvalid:
            return Sheet("", {}, {})

    def _sheet(self, endpoints: Mapping[str, str], weights: Mapping[str, int]) -> Sheet:
        try:
            return nginx_config.sheet(self._site, endpoints, weights, "")
        except ConfigInvalid as error:
            raise TrafficError(str(error), code="bad_endpoint") from None
