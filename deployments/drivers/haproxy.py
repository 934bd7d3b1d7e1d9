"""HAProxy worked through its runtime socket: no weight change is a reload, and no request is lost by one."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence

from deployments.drivers import haproxy_config, privileges
from deployments.drivers.connections import established
from deployments.drivers.haproxy_config import HAProxySite, Live
from deployments.drivers.sites import ConfigInvalid
from deployments.drivers.traffic import BalancerShell, TrafficError, carried_over, check_weights

TIMEOUT = 10
RELOAD_WITHIN = 20.0
"""Seconds until a reload must have become live."""
OLD_WORKERS_FOR = 3600
"""Seconds after a reload in which a worker from before it may still be answering long requests."""
_STATISTICS = "show stat -1 4 -1"
# The same as socat below, for a machine that has none.
_PYTHON = """
import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])
s.sendall(sys.stdin.buffer.read()); s.shutdown(socket.SHUT_WR)
while piece := s.recv(65536):
    sys.stdout.buffer.write(piece)
"""
_NOT_INCLUDED = "HAProxy does not read our folder"
# Other workers of this worker's master, or its like where HAProxy runs without one.
_SIBLINGS = """
master=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$1/status") && [ -n "$master" ] || exit 1
set -- "/proc/$1/status" $(grep -lsx "PPid:[[:space:]]*$master" /proc/[0-9]*/status)
me=$1
shift
for status; do [ "$status" = "$me" ] || grep -sx "Name:[[:space:]]*haproxy" "$status"; done
exit 0
"""
# The candidate together with all that HAProxy reads beside it: names and addresses must fit.
_CHECK = """
PATH=$PATH:/usr/sbin:/sbin
folder=$1 own=$2 candidate=$3 main=$4
shift 4
set -- "$@" -c -q -f "$main"
for file in "$folder"/*.cfg; do
  [ ! -e "$file" ] || [ "$file" = "$own" ] || set -- "$@" -f "$file"
done
exec "$@" -f "$candidate"
"""


class HAProxyTraffic:
    """One installation's traffic on one HAProxy, worked on the balancer's host through its shell.

    Weights are read from the running process. A POST that may have reached a host is never repeated on another one.
    """

    lossless = True
    moves = True
    sticky = True

    def __init__(self, shell: BalancerShell, site: HAProxySite, *, reload_within: float = RELOAD_WITHIN) -> None:
        self._shell = shell
        self._site = site
        self._reload_within = reload_within

    def read(self) -> dict[str, int]:
        return self._live().weights

    def set_weights(self, weights: Mapping[str, int], *, fence: int) -> None:
        live = self._live()
        check_weights(weights, live.endpoints)
        self._put(self._site.file, self._text(live.endpoints, weights), fence)
        self._tell(haproxy_config.weight_commands(live, weights), fence)

    def in_flight(self, endpoint: str) -> int | None:
        try:
            return self._flight(endpoint)
        except (TrafficError, ValueError, KeyError):
            return None

    def ensure(self, endpoints: Mapping[str, str], *, fence: int, initial: Mapping[str, int] | None = None) -> bool:
        live = self._known()
        weights = carried_over(live.weights if live else {}, endpoints, initial)
        text = self._text(endpoints, weights)
        fits = live is not None and self._fits(live, endpoints, weights)
        if fits and self._shell.read_file(self._site.file) == text:
            return False
        if not fits:
            self._prove(text, fence)
        self._put(self._site.file, text, fence)
        if not fits and not (live and self._changed_running(live, endpoints, weights, fence)):
            self._reload(endpoints, weights, fence)
        return True

    def verify(self, weights: Mapping[str, int]) -> bool:
        """Live, and in the file that the next start reads."""
        live = self._live()
        if live.weights != dict(weights) or any(server.by_hand for server in live.servers.values()):
            return False
        return self._shell.read_file(self._site.file) == self._text(live.endpoints, weights)

    def edited(self, weights: Mapping[str, int]) -> bool:
        live = self._live()
        if live.backend != self._site.backend:
            return False
        # Weights that somebody else set at the socket stand in no file, those of an edit that was reloaded do.
        written = [self._text(live.endpoints, told) for told in (weights, live.weights)]
        return self._shell.read_file(self._site.file) not in written

    def shortcomings(self) -> tuple[tuple[str, str], ...]:
        site = self._site
        found: list[tuple[str, str]] = []
        told = self._ask(["show info", "show cli level"])
        if "admin" not in told.splitlines():
            found.append((f"{site.admin_socket} takes no changes", "write `level admin` at its `stats socket` line"))
        pid = haproxy_config.figure(told, "Pid")
        status, words, _ = self._shell.run(["cat", f"/proc/{pid}/cmdline"], b"", TIMEOUT)
        read = [word.rstrip("/") for word in words.decode("utf-8", "replace").split("\0")]
        if status == 0 and not {site.folder, site.file} & set(read):
            found.append((_NOT_INCLUDED, self._include()))
        found += privileges.missing(self._shell, site.reload, site.folder)
        return tuple(found)

    # What the running process is and does.

    def _live(self) -> Live:
        live = self._known()
        if live is None:
            raise TrafficError(f"{self._site.name} is not set up on the balancer yet.", code="not_ours")
        return live

    def _known(self) -> Live | None:
        return haproxy_config.read(self._site, self._ask(["show servers state"]))

    def _fits(self, live: Live, endpoints: Mapping[str, str], weights: Mapping[str, int]) -> bool:
        same = live.backend == self._site.backend and set(live.endpoints) == set(endpoints)
        dials = live.endpoints
        return same and live.weights == dict(weights) and all(
            haproxy_config.same_dial(dials[name], dial) for name, dial in endpoints.items()
        )  # fmt: skip

    def _flight(self, endpoint: str) -> int | None:
        """What this worker has in flight, and what one from before a reload still has."""
        told = self._ask(["show info", "show servers state", _STATISTICS])
        live = haproxy_config.read(self._site, told)
        if live is None or endpoint not in live.servers:
            return None
        dial, elsewhere = live.servers[endpoint].dial, 0
        if self._leaving_workers(told):
            # Counted first: a connection that ends in between is then counted too often, never too seldom.
            everybody = established(self._shell, dial)
            told = self._ask([_STATISTICS])
            if everybody is None:
                return None
            elsewhere = everybody - haproxy_config.flights(told, live.backend)[endpoint].connections
        return haproxy_config.flights(told, live.backend)[endpoint].requests + max(0, elsewhere)

    def _leaving_workers(self, told: str) -> bool:
        """Whether workers from before a reload are still there."""
        if int(haproxy_config.figure(told, "Uptime_sec") or 0) > OLD_WORKERS_FOR:
            return False
        words = ["sh", "-c", _SIBLINGS, "siblings", haproxy_config.figure(told, "Pid")]
        status, out, _ = self._shell.run(words, b"", TIMEOUT)
        return status != 0 or out.strip() != b""

    # Changes.

    def _text(self, endpoints: Mapping[str, str], weights: Mapping[str, int]) -> bytes:
        try:
            return haproxy_config.write(self._site, endpoints, weights)
        except ConfigInvalid as error:
            raise TrafficError(str(error), code="bad_endpoint") from None

    def _put(self, path: str, text: bytes, fence: int) -> None:
        self._shell.put_file(path, text, fence=fence)

    def _tell(self, commands: Sequence[str], fence: int) -> None:
        """Send changes under the fence. HAProxy answers nothing to what it has done."""
        for line in haproxy_config.lines(commands):
            if said := self._ask([line], fence=fence).strip():
                raise TrafficError(f"HAProxy refused: {said.splitlines()[0][:200]}", code="refused")

    def _changed_running(
        self, live: Live, endpoints: Mapping[str, str], weights: Mapping[str, int], fence: int
    ) -> bool:
        """Change the servers of the running process; False where only a reload can, or an old HAProxy cannot."""
        commands = haproxy_config.structure_commands(self._site, live, endpoints, weights)
        if commands is None:
            return False
        for line in haproxy_config.lines(commands):
            self._ask([line], fence=fence)
        now = self._known()
        if now is not None and set(now.servers) == set(endpoints):
            self._tell(haproxy_config.weight_commands(now, weights), fence)
            now = self._known()
        return now is not None and self._fits(now, endpoints, weights)

    def _prove(self, text: bytes, fence: int) -> None:
        """Let HAProxy itself read the file, with all others, before it takes effect."""
        site = self._site
        self._put(site.candidate, text, fence)
        words = ["sh", "-c", _CHECK, "check", site.folder, site.file, site.candidate, site.main_config]
        status, out, err = self._shell.run([*words, *shlex.split(site.program)], b"", 30)
        if status == 127:
            raise TrafficError(f"The balancer's host has no {site.program}: install it.", code="missing_tool")
        if status != 0:
            told = (out + err).decode("utf-8", "replace").strip()[-600:]
            raise TrafficError(f"HAProxy does not accept the configuration: {told}", code="refused")

    def _reload(self, endpoints: Mapping[str, str], weights: Mapping[str, int], fence: int) -> None:
        privileges.run_declared(self._shell, self._site.reload, fence)
        ends = time.monotonic() + self._reload_within
        while True:
            live = self._settling()
            if live is not None and self._fits(live, endpoints, weights):
                return
            if time.monotonic() > ends:
                raise TrafficError(f"{_NOT_INCLUDED}: {self._include()}", code="not_live", retry=True)
            time.sleep(0.05)

    def _settling(self) -> Live | None:
        """What the process after the reload says; None as long as it does not."""
        try:
            return self._known()
        except TrafficError as error:
            if error.retry:
                return None
            raise

    def _include(self) -> str:
        read = f"-f {self._site.folder}"
        return f'start it with `{read}` (EXTRAOPTS="-S /run/haproxy-master.sock {read}" in /etc/default/haproxy)'

    def _ask(self, commands: Sequence[str], *, fence: int | None = None) -> str:
        """Send one line to the socket, with socat or else python3."""
        socket, line = self._site.admin_socket, ";".join(commands).encode() + b"\n"
        for words in (["socat", "-t10", "-", f"UNIX-CONNECT:{socket}"], ["python3", "-c", _PYTHON, socket]):
            if fence is None:
                status, out, err = self._shell.run(words, line, TIMEOUT + 5)
            else:
                status, out, err = self._shell.run_fenced(words, line, TIMEOUT + 5, fence=fence)
            if status != 127:
                break
        else:
            raise TrafficError("The balancer's host has neither socat nor python3: install socat.", code="missing_tool")
        if status != 0:
            raise self._unreachable(err.decode("utf-8", "replace"))
        said = out.decode("utf-8", "replace")
        if "Permission denied" in said:
            sentence = f"HAProxy's socket {socket} takes no changes: write `level admin` at its `stats socket` line."
            raise TrafficError(sentence, code="forbidden")
        return said

    def _unreachable(self, told: str) -> TrafficError:
        socket, last = self._site.admin_socket, (told.strip().splitlines() or ["no answer"])[-1][:200]
        if "Permission denied" in told:
            sentence = f"HAProxy's socket {socket} is closed to our user: add it to the group at `stats socket`."
            return TrafficError(sentence, code="forbidden")
        return TrafficError(f"HAProxy's socket {socket} does not answer: {last}", code="unreachable", retry=True)
