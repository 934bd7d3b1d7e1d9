"""Runs one command on an open transport: bytes in, capped bytes out, an end to every wait."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterable
from dataclasses import dataclass

import paramiko

from deployments.drivers.errors import ActFailed, ActTimedOut, HostError, Unreachable

PIECE = 65536
WINDOW = 2**22
OUTPUT_CAP = 2**20


@dataclass(frozen=True)
class Result:
    """`status` is the exit status, -1 when a signal ended the command."""

    status: int
    out: bytes
    err: bytes


class NotBegun(Exception):
    """The transport was dead before the command was sent: trying once more on a fresh one is safe."""


def execute(transport: paramiko.Transport, command: str, pieces: Iterable[bytes], *, seconds: float) -> Result:
    """Send `pieces` to the command's stdin and collect what it says.

    The command must end by itself before `seconds` (it runs under a deadline on the host), so when the time is up
    the host is frozen and the whole connection is given up. Raises ActTimedOut, Unreachable or ActFailed.
    """
    expired = threading.Event()

    def give_up() -> None:
        expired.set()
        transport.close()

    watchdog = threading.Timer(seconds, give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        return _converse(transport, command, pieces)
    except (paramiko.SSHException, EOFError, OSError) as error:
        if expired.is_set():
            raise _late(seconds) from None
        raise Unreachable(f"the connection broke off: {error or type(error).__name__}", code="broke_off") from None
    except Unreachable:
        if expired.is_set():
            raise _late(seconds) from None
        raise
    finally:
        watchdog.cancel()


def _late(seconds: float) -> ActTimedOut:
    return ActTimedOut(f"no answer within {seconds:.0f} s; the connection was given up", code="given_up")


def _converse(transport: paramiko.Transport, command: str, pieces: Iterable[bytes]) -> Result:
    try:
        channel = transport.open_session(window_size=WINDOW, max_packet_size=PIECE, timeout=10)
    except paramiko.ChannelException as error:
        raise Unreachable(f"the host opens no further session: {error.text}", code="no_session") from None
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise NotBegun(str(error)) from None
    try:
        channel.exec_command(command)
        _send(channel, pieces)
        out, err = _drain(channel)
        status = channel.recv_exit_status()
        if status == -1 and not transport.is_active():
            raise Unreachable("the connection broke off before the command ended", code="broke_off")
        return Result(status, out, err)
    finally:
        channel.close()


def _send(channel: paramiko.Channel, pieces: Iterable[bytes]) -> None:
    iterator = iter(pieces)
    while True:
        try:
            piece = next(iterator, b"")
        except OSError as error:
            raise HostError(f"the archive cannot be read: {error.strerror}", code="no_archive", retry=True) from None
        if not piece:
            break
        try:
            channel.sendall(piece)
        except OSError:
            return  # the command ended without reading on; its status says why
    try:
        channel.shutdown_write()
    except OSError:
        return


def _drain(channel: paramiko.Channel) -> tuple[bytes, bytes]:
    out, err = bytearray(), bytearray()
    readable = select.poll()
    readable.register(channel.fileno(), select.POLLIN)
    while True:
        ended = channel.eof_received or channel.closed
        while channel.recv_ready() and len(out) <= OUTPUT_CAP:
            out += channel.recv(PIECE)
        while channel.recv_stderr_ready() and len(err) <= OUTPUT_CAP:
            err += channel.recv_stderr(PIECE)
        if len(out) > OUTPUT_CAP or len(err) > OUTPUT_CAP:
            raise ActFailed(f"the host said more than {OUTPUT_CAP} bytes: given up", code="too_much_output")
        if ended:
            return bytes(out), bytes(err)
        readable.poll(1000)
