"""Open connections of this process: shared by its threads, closed when idle, never taken across a fork."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

import paramiko
from fabric import Connection

from deployments.drivers.errors import Unreachable
from deployments.drivers.hosts import HostAddress
from deployments.drivers.ssh.connect import open_connection
from deployments.drivers.ssh.keys import KeyResolver

CHANNELS = 8  # sshd allows 10 sessions on a connection
IDLE_SECONDS = 60.0


class _Line:
    """One host's connection, or the place for it."""

    def __init__(self) -> None:
        self.opening = threading.Lock()
        self.channels = threading.BoundedSemaphore(CHANNELS)
        self.connection: Connection | None = None
        self.users = 0
        self.idle_since = time.monotonic()

    def is_open(self) -> bool:
        return self.connection is not None and self.connection.transport.is_active()


class Pool:
    """`lease` gives a transport for one channel; `close` ends all connections."""

    def __init__(self, keys: KeyResolver, idle_seconds: float = IDLE_SECONDS) -> None:
        self._keys = keys
        self._idle_seconds = idle_seconds
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._guard = threading.Lock()
        self._lines: dict[HostAddress, _Line] = {}
        self._sweeper: threading.Thread | None = None
        self._closed = threading.Event()

    @contextlib.contextmanager
    def lease(self, host: HostAddress, seconds: float = 60) -> Iterator[paramiko.Transport]:
        """A live transport with room for one channel. Raises Unreachable when none is free within `seconds`."""
        line = self._line(host)
        try:
            if not line.channels.acquire(timeout=seconds):
                raise Unreachable(f"host {host.name} is busy with {CHANNELS} other acts of ours", code="no_session")
            try:
                yield self._connected(host, line).transport
            finally:
                line.channels.release()
        finally:
            with self._guard:
                line.users -= 1
                line.idle_since = time.monotonic()

    def drop(self, host: HostAddress) -> None:
        """Forget a connection that proved dead."""
        with self._guard:
            line = self._lines.pop(host, None)
        if line and line.connection:
            line.connection.client.close()

    def close(self) -> None:
        """End all connections, for a process that ends."""
        if os.getpid() != self._pid:
            return
        self._closed.set()
        with self._guard:
            lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            if line.connection:
                line.connection.client.close()

    def _line(self, host: HostAddress) -> _Line:
        if os.getpid() != self._pid:
            # The parent's sockets are the parent's: they are left untouched, not closed, and kept from the collector.
            self._inherited = self._lines
            self._begin()
        with self._guard:
            line = self._lines.setdefault(host, _Line())
            line.users += 1
            if self._sweeper is None:
                self._sweeper = threading.Thread(target=self._sweep, daemon=True, name="ssh-pool")
                self._sweeper.start()
            return line

    def _connected(self, host: HostAddress, line: _Line) -> Connection:
        with line.opening:
            if not line.is_open():
                if line.connection:
                    line.connection.client.close()
                    line.connection = None
                line.connection = self._open(host)
            assert line.connection is not None
            return line.connection

    def _open(self, host: HostAddress) -> Connection:
        if host.bastion is None:
            return open_connection(host, self._keys, None)
        bastion = self._line(host.bastion)
        try:
            return open_connection(host, self._keys, self._connected(host.bastion, bastion))
        finally:
            with self._guard:
                bastion.users -= 1
                bastion.idle_since = time.monotonic()

    def _sweep(self) -> None:
        while not self._closed.wait(min(5.0, self._idle_seconds)):
            before = time.monotonic() - self._idle_seconds
            with self._guard:
                carrying = {host.bastion for host in self._lines if host.bastion}
                idle = [
                    host
                    for host, line in self._lines.items()
                    if not line.users and line.idle_since < before and host not in carrying
                ]
                lines = [self._lines.pop(host) for host in idle]
                if not self._lines and not lines:
                    self._sweeper = None
                    return
            for line in lines:
                if line.connection:
                    line.connection.client.close()
