"""Hosts over SSH: pinned keys, one pool of connections per process, acts by deployments/host/act.sh."""

from deployments.drivers.ssh.connect import fingerprint_of
from deployments.drivers.ssh.driver import SSHHosts
from deployments.drivers.ssh.keys import local_keys, no_keys

__all__ = ["SSHHosts", "fingerprint_of", "local_keys", "no_keys"]
