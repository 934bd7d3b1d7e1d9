"""One SSH host for the demo, where no sshd is installed: real SSH by asyncssh, commands by `sh -c` in a folder.

It listens on loopback only, takes one key, is no sandbox, and ends when the process that started it is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import os
import signal
from pathlib import Path
from typing import Any

import asyncssh

PIECE = 65536
_BROKEN = (BrokenPipeError, ConnectionResetError, asyncssh.Error)


class SSHHost:
    """Runs each command in a session of its own; a client that goes away takes the session's group with it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C.UTF-8",
            "USER": "deploy",
        }

    async def handle(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Carry one command of a client from its first byte to its exit status."""
        words = ["sh", "-c", process.command] if process.command else ["sh", "-s"]
        child = await asyncio.create_subprocess_exec(
            *words,
            cwd=self.home,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        feeding = asyncio.create_task(_feed(process, child.stdin))
        working = asyncio.gather(_pull(child.stdout, process.stdout), _pull(child.stderr, process.stderr), child.wait())
        leaving = asyncio.create_task(process.channel.wait_closed())
        ends: set[asyncio.Future[Any]] = {working, leaving}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            await working
        feeding.cancel()
        leaving.cancel()
        status = child.returncode or 0
        with contextlib.suppress(*_BROKEN):
            process.exit(status if status >= 0 else 128 - status)


async def _feed(process: asyncssh.SSHServerProcess[bytes], stdin: asyncio.StreamWriter) -> None:
    # asyncssh's own redirection ends the whole connection when a command closes its stdin early.
    try:
        while piece := await process.stdin.read(PIECE):
            stdin.write(piece)
            await stdin.drain()
    except _BROKEN:
        pass
    finally:
        stdin.close()
    with contextlib.suppress(*_BROKEN):
        while await process.stdin.read(PIECE):
            pass


async def _pull(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
    with contextlib.suppress(*_BROKEN):
        while piece := await source.read(PIECE):
            sink.write(piece)
            await sink.drain()
        return
    while await source.read(PIECE):  # nobody listens any more, but the command must not block on a full pipe
        pass


async def serve(home: Path, address: str, port: int, authorized_key: Path, host_key: Path) -> None:
    """Serve until the parent is gone. Prints one line with the port once it listens (port 0: any free one)."""
    parent = os.getppid()
    server = await asyncssh.listen(
        address,
        port,
        server_host_keys=[str(host_key)],
        authorized_client_keys=str(authorized_key),
        process_factory=SSHHost(home).handle,
        encoding=None,
        password_auth=False,
        kbdint_auth=False,
        agent_forwarding=False,
        x11_forwarding=False,
        keepalive_interval=15,
        line_editor=False,
    )
    print(f"listening on {address}:{server.get_port()}", flush=True)
    while os.getppid() == parent:
        await asyncio.sleep(0.5)
    server.close()


def main() -> None:
    """`python -m aureus.demo.sshhost --home DIR --port P --authorized-key FILE --host-key FILE`."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--home", type=Path, required=True, help="the folder in which commands run")
    words.add_argument("--address", default="127.0.0.1", help="an address of the loopback interface")
    words.add_argument("--port", type=int, default=0, help="0: any free port")
    words.add_argument("--authorized-key", type=Path, required=True, help="file with the public key that may enter")
    words.add_argument("--host-key", type=Path, required=True, help="file with the host's private key")
    given = words.parse_args()
    if not ipaddress.ip_address(given.address).is_loopback:
        words.error(f"--address {given.address} is not of the loopback interface")
    if not given.home.is_dir():
        words.error(f"--home {given.home} is not a folder")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(given.home.resolve(), given.address, given.port, given.authorized_key, given.host_key))


if __name__ == "__main__":
    main()
