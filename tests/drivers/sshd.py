"""A real SSH server for one test host: own port, host key and folder. By OpenSSH's sshd, or by the demo's stand-in."""

from __future__ import annotations

import getpass
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from aureus.embedded import kept
from aureus.up.tie import tied
from deployments.drivers import HostAddress

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def write_key(path: Path) -> paramiko.PKey:
    """A new ed25519 key at `path`, its public half at `path`.pub."""
    key = ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    )
    path.chmod(0o600)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    path.with_suffix(".pub").write_bytes(public + b"\n")
    return paramiko.Ed25519Key.from_private_key_file(str(path))


@dataclass
class SSHServer:
    """A running server and what a client must know of it."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    user: str
    fingerprint: str

    def address(self, name: str = "h1", **changed: object) -> HostAddress:
        """How our driver reaches this server."""
        known: dict[str, object] = {
            "name": name,
            "address": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "fingerprint": self.fingerprint,
            "key_ref": f"file:{self.folder / 'client'}",
        }
        return HostAddress(**(known | changed))  # type: ignore[arg-type]

    def log(self) -> str:
        """What the server wrote so far."""
        return (self.folder / "server.log").read_text(errors="replace")

    def stop(self) -> None:
        """End the server; sessions of a real sshd are processes of their own and go on."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(10)


def start_sshd(folder: Path, *extra: str) -> SSHServer:
    """OpenSSH's sshd as this user; `extra` are lines that go before its configuration."""
    assert SSHD
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd without root's help has nothing to separate
    fingerprint = _keys(folder)
    for _ in range(3):
        [port] = kept.free_ports(1)
        _configure(folder, port, extra)
        server = _start(folder, [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], port, fingerprint)
        if _answers(server):
            return server
    raise AssertionError(f"sshd does not start: {server.log()}")


def start_standin(folder: Path) -> SSHServer:
    """The demo's asyncssh server."""
    fingerprint = _keys(folder)
    (folder / "home").mkdir(exist_ok=True)
    words = ["--home", folder / "home", "--authorized-key", folder / "client.pub", "--host-key", folder / "hostkey"]
    server = _start(folder, [sys.executable, "-m", "aureus.demo.sshhost", *map(str, words)], 0, fingerprint)
    end = time.monotonic() + 20
    while not (said := re.search(r"listening on 127.0.0.1:(\d+)", server.log())):
        assert time.monotonic() < end, f"the stand-in does not start: {server.log()}"
        select.select([], [], [], 0.05)
    server.port = int(said[1])
    return server


def _keys(folder: Path) -> str:
    if not (folder / "client").exists():
        write_key(folder / "client")
    return write_key(folder / "hostkey").fingerprint


def _configure(folder: Path, port: int, extra: tuple[str, ...]) -> None:
    lines = [
        *extra,
        "ListenAddress 127.0.0.1",
        f"Port {port}",
        f"HostKey {folder / 'hostkey'}",
        f"AuthorizedKeysFile {folder / 'client.pub'}",
        "PidFile none",
        "UsePAM no",
        "StrictModes no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin yes",
        "UseDNS no",
        "LogLevel VERBOSE",
    ]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")


def _start(folder: Path, words: list[str], port: int, fingerprint: str) -> SSHServer:
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=tied(signal.SIGTERM)
        )
    return SSHServer(process, folder, port, getpass.getuser(), fingerprint)


def _answers(server: SSHServer) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end and server.process.poll() is None:
        if "Server listening on" in server.log():
            return True
        select.select([], [], [], 0.05)
    return False
