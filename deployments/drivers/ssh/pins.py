"""A host is who its pinned key says. Unknown and changed keys are refused before anything is sent."""

from __future__ import annotations

import hmac

import paramiko

from deployments.drivers.errors import KeyRefused
from deployments.drivers.hosts import HostAddress


class PinnedKey(paramiko.MissingHostKeyPolicy):
    """paramiko asks this between key exchange and authentication, because the client knows no other keys."""

    def __init__(self, host: HostAddress) -> None:
        self.host = host

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Raises KeyRefused unless the key is the pinned one."""
        shown, pinned = key.fingerprint, self.host.fingerprint
        if not pinned:
            raise unpinned(self.host)
        if not hmac.compare_digest(shown, pinned):
            raise KeyRefused(
                f"host {self.host.name} shows {key.get_name()} key {shown} and {pinned} is pinned: nothing was sent. "
                f"If the host was really set up anew, check the fingerprint on it, then run: "
                f"aureus hosts trust {self.host.name}",
                code="host_key_mismatch",
            )


def unpinned(host: HostAddress) -> KeyRefused:
    """The error for a host whose key nobody has confirmed yet."""
    return KeyRefused(
        f"host {host.name} has no pinned key: check its fingerprint on the machine, "
        f"then run: aureus hosts trust {host.name}",
        code="host_key_unknown",
    )
