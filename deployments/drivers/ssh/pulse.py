"""Notices a host that accepts our packets and answers nothing: frozen, or behind a hole that swallows packets."""

from __future__ import annotations

import threading

import paramiko

EVERY = 10.0
"""Seconds between two questions on an open connection."""
WITHIN = 20.0
"""Seconds in which sshd answers; without an answer the connection is given up, and so is what runs on it."""


def watch(transport: paramiko.Transport, *, every: float = EVERY, within: float = WITHIN) -> None:
    """Ask for a sign of life again and again from a thread of its own, until the connection is closed."""
    threading.Thread(target=_ask, args=(transport, every, within), daemon=True, name="ssh-pulse").start()


def _ask(transport: paramiko.Transport, every: float, within: float) -> None:
    pause = threading.Event()
    while not pause.wait(every) and transport.is_active():
        late = threading.Timer(within, transport.close)
        late.daemon = True
        late.start()
        try:
            # Every server answers a request that it does not know: that it fails is the sign of life.
            transport.global_request("keepalive@openssh.com", wait=True)
        except (paramiko.SSHException, EOFError, OSError):
            transport.close()
        finally:
            late.cancel()
