"""Opens one connection: own socket, pinned key, strong algorithms, a timeout on everything. Fabric ends here."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import threading
import time
from collections.abc import Iterator

import paramiko
from fabric import Config, Connection
from paramiko.ssh_exception import IncompatiblePeer

from deployments.drivers.errors import AuthRefused, HostError, KeyRefused, Unreachable
from deployments.drivers.hosts import HostAddress
from deployments.drivers.ssh import pulse
from deployments.drivers.ssh.keys import KeyResolver
from deployments.drivers.ssh.pins import PinnedKey, unpinned

SECONDS_TO_CONNECT = 10
ATTEMPTS = 3
SECONDS_OF_A_CROWD = 3.0
"""A full sshd hangs up at once; one that takes longer to say nothing is frozen, and not asked again."""
WEAK = {
    "ciphers": ["aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc"],
    "macs": ["hmac-sha1", "hmac-md5", "hmac-sha1-96", "hmac-md5-96"],
    "kex": ["diffie-hellman-group1-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1"],
    "keys": ["ssh-dss", "ssh-rsa"],
}

# paramiko writes a traceback for each connection that fails; what failed is raised to us and said once.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

# sshd drops connection starts beyond MaxStartups (10 by default), soonest on a bastion.
_starts = threading.BoundedSemaphore(20)
_bastion_starts = threading.BoundedSemaphore(8)


def open_connection(host: HostAddress, keys: KeyResolver, bastion: Connection | None) -> Connection:
    """An authenticated connection; the caller closes it. Raises KeyRefused, AuthRefused or Unreachable."""
    if not host.fingerprint:
        raise unpinned(host)
    key = keys(host.key_ref)
    for attempt in range(ATTEMPTS):
        began = time.monotonic()
        try:
            with _bastion_starts if bastion else _starts:
                return _open_once(host, key, bastion)
        except Unreachable as error:
            crowded = error.code == "no_banner" and time.monotonic() - began < SECONDS_OF_A_CROWD
            if not crowded or attempt + 1 == ATTEMPTS:
                raise
            time.sleep(random.uniform(0.2, 0.8) * (attempt + 1))  # noqa: S311 - spreads, keeps no secret
    raise AssertionError("unreachable")


def fingerprint_of(address: str, port: int = 22, *, seconds: float = SECONDS_TO_CONNECT) -> str:
    """The SHA256 fingerprint of the key that the server shows, fetched without authenticating."""
    host = HostAddress("unknown", address, port, "nobody", "", "agent")
    with _speaking_of(host):
        transport = paramiko.Transport(_socket(host, seconds), disabled_algorithms=WEAK)
        try:
            transport.banner_timeout = seconds
            transport.start_client(timeout=seconds)
            return transport.get_remote_server_key().fingerprint
        finally:
            transport.close()


def _open_once(host: HostAddress, key: paramiko.PKey | None, bastion: Connection | None) -> Connection:
    connection = Connection(
        host.address,
        user=host.user,
        port=host.port,
        # Nothing of the machine's own SSH or Fabric configuration decides where we go.
        config=Config(lazy=True, ssh_config=paramiko.SSHConfig()),
        forward_agent=False,
        connect_timeout=SECONDS_TO_CONNECT,
        connect_kwargs={
            "pkey": key,
            "allow_agent": key is None,
            "look_for_keys": False,
            "banner_timeout": SECONDS_TO_CONNECT,
            "auth_timeout": SECONDS_TO_CONNECT,
            "channel_timeout": SECONDS_TO_CONNECT,
            "disabled_algorithms": WEAK,
        },
    )
    connection.client.set_missing_host_key_policy(PinnedKey(host))
    try:
        with _speaking_of(host):
            sock = _channel(host, bastion) if bastion else _socket(host, SECONDS_TO_CONNECT)
            connection.connect_kwargs["sock"] = sock
            connection.open()
            pulse.watch(connection.transport)
    except HostError:
        connection.client.close()
        raise
    return connection


def _socket(host: HostAddress, seconds: float) -> socket.socket:
    raw = socket.create_connection((host.address, host.port), timeout=seconds)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A host that vanished must not hold a thread until TCP gives up after a quarter of an hour.
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)
    return raw


def _channel(host: HostAddress, bastion: Connection) -> paramiko.Channel:
    return bastion.transport.open_channel(
        "direct-tcpip", dest_addr=(host.address, host.port), src_addr=("", 0), timeout=SECONDS_TO_CONNECT
    )


@contextlib.contextmanager
def _speaking_of(host: HostAddress) -> Iterator[None]:
    """Turns what sockets and paramiko raise into our errors."""
    place = f"host {host.name} ({host.address}:{host.port})"
    try:
        yield
    except KeyRefused:
        raise
    except paramiko.AuthenticationException:
        raise AuthRefused(f"{place} does not accept our key for {host.user}", code="auth_refused") from None
    except IncompatiblePeer as error:
        raise AuthRefused(f"{place} offers no acceptable algorithm: {error}", code="weak_algorithms") from None
    except paramiko.ChannelException as error:
        raise Unreachable(f"{place} is not reached from its bastion: {error.text}", code="no_route") from None
    except (paramiko.SSHException, EOFError) as error:
        code = "no_banner" if "banner" in str(error).lower() or isinstance(error, EOFError) else "ssh_failed"
        if "no acceptable" in str(error).lower():
            raise AuthRefused(f"{place} offers no acceptable algorithm: {error}", code="weak_algorithms") from None
        raise Unreachable(f"{place} does not speak SSH with us: {error or 'it hung up'}", code=code) from None
    except TimeoutError:
        raise Unreachable(f"{place} does not answer within {SECONDS_TO_CONNECT} s", code="no_answer") from None
    except OSError as error:
        raise Unreachable(f"{place} cannot be reached: {error.strerror or error}", code="no_route") from None
