"""What moves traffic between endpoints, and the rules that every balancer's driver keeps."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from deployments.drivers.errors import ActRefused, HostError
from deployments.drivers.hosts import HostAddress

HEAVIEST = 256
# Two readings this far apart must both be zero: a request may just have been on its way from the listener to its host.
BETWEEN_ZEROS = 0.1
SLICE_SECONDS = 15.0
POLL_SECONDS = 0.11
STRUCTURE = frozenset({"not_ours", "unreadable", "unknown_endpoint", "missing_endpoint"})
"""Codes of a balancer that does not know our endpoints, or not all of them: `ensure` puts that right."""


class TrafficError(HostError):
    """The traffic is not as asked. `retry` says whether the same request may succeed later without a person."""


class Traffic(Protocol):
    """One installation's traffic on one balancer. Weights are whole numbers from 0 (out) to 256.

    `lossless` says whether a change of weights loses no request; `moves` is False where no balancer exists; `sticky`
    says whether the driver can keep a client on its host, by cookie or header, until that host's weight is 0.
    """

    lossless: bool
    moves: bool
    sticky: bool

    def read(self) -> dict[str, int]:
        """Answer the live weight of each endpoint. Raises TrafficError."""

    def set_weights(self, weights: Mapping[str, int], *, fence: int) -> None:
        """Make these the weights, in what runs and in our files, whoever edited them; every endpoint must be named.

        Raises TrafficError before anything is sent.
        """

    def in_flight(self, endpoint: str) -> int | None:
        """Answer how many requests are being answered there; None is unknown, which is not zero."""

    def ensure(self, endpoints: Mapping[str, str], *, fence: int, initial: Mapping[str, int] | None = None) -> bool:
        """Make `endpoints` (name to host:port) the balancer's, and say whether that changed anything.

        This is the only reload. Known endpoints keep their weight, new ones begin at `initial` or at 0.
        """

    def verify(self, weights: Mapping[str, int]) -> bool:
        """Look through the running balancer whether these weights are live."""

    def edited(self, weights: Mapping[str, int]) -> bool:
        """Say whether our files on the balancer's host are not as they were written for these weights.

        Then somebody edited them, or a change broke off. Every endpoint must be named. Settings that were declared anew
        and are not live yet are no edit. Raises TrafficError.
        """

    def shortcomings(self) -> tuple[tuple[str, str], ...]:
        """What on the balancer's host would make a later change fail, and what to do about it. Changes nothing."""


class BalancerShell(Protocol):
    """The balancer's machine: files written whole under the balancer's fence, and commands as lists of words."""

    def put_file(self, path: str, content: bytes, *, fence: int) -> None: ...

    def read_file(self, path: str) -> bytes | None: ...

    def run(self, words: Sequence[str], stdin: bytes = b"", timeout: float = 30) -> tuple[int, bytes, bytes]: ...

    def run_fenced(
        self, words: Sequence[str], stdin: bytes = b"", timeout: float = 30, *, fence: int
    ) -> tuple[int, bytes, bytes]:
        """Run only if the balancer saw no higher fence, and let none be raised meanwhile."""
        ...


class HostsShell(Protocol):
    """The part of the hosts driver that a balancer's driver needs."""

    def put_file(self, host: HostAddress, path: str, content: bytes, *, root: str, fence: int) -> None: ...

    def read_file(self, host: HostAddress, path: str) -> bytes: ...

    def run(
        self, host: HostAddress, words: Sequence[str], stdin: bytes = b"", timeout: float = 30
    ) -> tuple[int, bytes, bytes]: ...


# Under the lock of the host's own acts, so that no later fence comes between the look and the command.
_FENCED = """
lock=$1/.aureus/lock fence=$1/.aureus/fence mine=$2
shift 2
true >>"$lock" || exit 125
exec 9>>"$lock"
flock -w 10 9 || { echo "another act holds $lock" >&2; exit 123; }
seen=0
[ ! -e "$fence" ] || read -r seen <"$fence"
[ "$mine" -ge "$seen" ] || { echo "$seen" >&2; exit 122; }
"$@" 9>&-
"""
_STALE, _BUSY, _NO_LOCK = 122, 123, 125


@dataclass(frozen=True)
class ShellOnHost:
    """A BalancerShell on one host of the hosts driver; `root` holds the fence of this balancer."""

    hosts: HostsShell
    host: HostAddress
    root: str

    def put_file(self, path: str, content: bytes, *, fence: int) -> None:
        self.hosts.put_file(self.host, path, content, root=self.root, fence=fence)

    def read_file(self, path: str) -> bytes | None:
        try:
            return self.hosts.read_file(self.host, path)
        except ActRefused as refusal:
            if refusal.code == "not_found":
                return None
            raise

    def run(self, words: Sequence[str], stdin: bytes = b"", timeout: float = 30) -> tuple[int, bytes, bytes]:
        return self.hosts.run(self.host, words, stdin, timeout)

    def run_fenced(
        self, words: Sequence[str], stdin: bytes = b"", timeout: float = 30, *, fence: int
    ) -> tuple[int, bytes, bytes]:
        under = ["sh", "-c", _FENCED, "fenced", self.root, str(fence), *words]
        status, out, err = self.hosts.run(self.host, under, stdin, timeout)
        told = err.decode("utf-8", "replace").strip()[-200:]
        if status == _STALE:
            sentence = f"host {self.host.name}: fence {fence} is lower than {told}, which this balancer has seen"
            raise ActRefused(sentence, code="stale_fence")
        if status in (_BUSY, _NO_LOCK):
            raise TrafficError(f"host {self.host.name}: {told}", code="busy", retry=status == _BUSY)
        return status, out, err


def check_weights(weights: Mapping[str, Any], endpoints: Collection[str]) -> None:
    """Refuse what balancers would each take differently. Raises TrafficError."""
    unknown, missing = sorted(set(weights) - set(endpoints)), sorted(set(endpoints) - set(weights))
    if unknown:
        raise TrafficError(f"The balancer does not know {', '.join(unknown)}.", code="unknown_endpoint")
    if missing:
        raise TrafficError(f"No weight is given for {', '.join(missing)}.", code="missing_endpoint")
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= HEAVIEST:
            sentence = f"The weight of {name} is {weight!r}; it must be a whole number from 0 to {HEAVIEST}."
            raise TrafficError(sentence, code="bad_weight")
    if not any(weights.values()):
        raise TrafficError("All weights are 0: the last serving host is never taken out.", code="nobody_serves")


def carried_over(
    weights: Mapping[str, int], endpoints: Collection[str], initial: Mapping[str, int] | None
) -> dict[str, int]:
    """Answer the weights after endpoints were added or removed. Raises TrafficError if nobody would serve any more."""
    if not endpoints:
        raise TrafficError("A balancer needs at least one endpoint.", code="no_endpoints")
    kept = {name: weights[name] if name in weights else (initial or {}).get(name, 0) for name in endpoints}
    if any(weights.values()) and not any(kept.values()):
        sentence = "The endpoints to be removed are all that serve: move the traffic to others first."
        raise TrafficError(sentence, code="nobody_serves")
    return kept


@dataclass(frozen=True, slots=True)
class Drain:
    """How far an endpoint is drained. Times are seconds of one clock that every worker shares."""

    ends_at: float
    zero_since: float | None = None
    drained: bool = False
    last: int | None = None

    def see(self, reading: int | None, at: float) -> Drain:
        """Answer the state after one reading; unknown is not zero, and a request seen starts the count anew."""
        if reading != 0:
            return Drain(self.ends_at, None, self.drained, reading)
        since = at if self.zero_since is None else self.zero_since
        return Drain(self.ends_at, since, self.drained or at - since >= BETWEEN_ZEROS, 0)

    def expired(self, at: float) -> bool:
        return not self.drained and at >= self.ends_at

    def as_row(self) -> dict[str, Any]:
        """For a JSON column between two slices."""
        return {"ends_at": self.ends_at, "zero_since": self.zero_since, "drained": self.drained, "last": self.last}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Drain:
        return cls(row["ends_at"], row["zero_since"], row["drained"], row["last"])


def wait_drained(
    traffic: Traffic,
    endpoint: str,
    drain: Drain,
    *,
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], object] = time.sleep,
    slice_seconds: float = SLICE_SECONDS,
) -> Drain:
    """Read until drained or until this slice is over; the answer says which. Raises TrafficError past the limit."""
    slice_ends = clock() + slice_seconds
    while True:
        drain = drain.see(traffic.in_flight(endpoint), clock())
        if drain.drained:
            return drain
        if drain.expired(clock()):
            seen = "an unknown number of" if drain.last is None else str(drain.last)
            sentence = f"{endpoint} still has {seen} requests in flight at the time limit."
            raise TrafficError(sentence, code="not_drained")
        if clock() + POLL_SECONDS > slice_ends:
            return drain
        pause(POLL_SECONDS)
