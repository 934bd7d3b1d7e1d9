"""The demo's machines: each has an SSH server, a host key, a loopback address and a folder of its own."""

import contextlib
import json
import os
import pwd
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aureus.demo import children
from aureus.demo.keys import write_key
from aureus.fetch import FetchError, fetch
from deployments.drivers import HostAddress, HostError
from deployments.drivers.ssh import SSHHosts

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
PORTS = (15_000, 32_000)
"""Below those that Linux gives to outgoing connections (net.ipv4.ip_local_port_range begins at 32768): an app that
starts a minute after its port was chosen still finds it free."""
RESTART = """#!/bin/sh
# How this machine restarts the app: end what runs, start what was just switched to. Run in the app's root.
set -eu
pid=$(cat shared/app.pid 2>/dev/null) || pid=
runs() { [ -n "$pid" ] && grep -qF webapp.py "/proc/$pid/cmdline" 2>/dev/null; }
if runs; then
  kill "$pid"
  tries=0
  while runs && [ "$tries" -lt 240 ]; do sleep 0.05; tries=$((tries + 1)); done
  ! runs || kill -9 "$pid"
fi
{libraries}
setsid {python} "$AUREUS_RELEASE/webapp.py" "$AUREUS_RELEASE" {port} {address} </dev/null >>shared/app.log 2>&1 &
echo $! >shared/app.pid
"""


@dataclass
class Machine:
    """One machine of the scene. `ssh` is how our driver reaches it; the app listens on `app_port` of its address."""

    name: str
    folder: Path
    app_port: int
    ssh: HostAddress
    process: subprocess.Popen[bytes]

    @property
    def root(self) -> Path:
        return self.folder / "app"

    @property
    def url(self) -> str:
        return f"http://{self.ssh.address}:{self.app_port}"

    @property
    def restart(self) -> Path:
        """The script by which the installation's restart command brings the app up."""
        return self.root / "restart.sh"

    def version(self) -> str | None:
        """What the app itself says it is; None while it does not answer."""
        try:
            said = json.loads(fetch("GET", f"{self.url}/version", timeout=3, allow_private=True).body)
        except (FetchError, ValueError):
            return None
        return str(said.get("version"))

    def app_pid(self) -> int | None:
        """The app's process by its pid file, if it is the app and runs."""
        try:
            pid = int((self.root / "shared" / "app.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            return None
        return pid if str(self.root) in command and not children.is_gone(pid) else None

    def ledger(self) -> list[list[str]]:
        """What the machine did: lines of key, fence, verb, content, result, time."""
        file = self.root / ".aureus" / "ledger"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def stop(self) -> None:
        """End the app and the SSH server."""
        pid = self.app_pid()
        if pid is not None:
            children.end_pid(pid)
        children.end(self.process)


def user() -> str:
    """Whom the machines are reached as: the one who runs the demo, since nobody else is there."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "deploy"


def make(folder: Path, name: str, place: tuple[str, int], client_key: Path, *, real: bool) -> Machine:
    """Start a machine at `place`, the address and the app's port: by OpenSSH's sshd if `real`, else by the stand-in.

    Raises NotReady.
    """
    folder.mkdir(parents=True)
    fingerprint = write_key(folder / "hostkey")
    address, app_port = place
    root = folder / "app"
    (root / "shared").mkdir(parents=True)
    (root / "restart.sh").write_text(_restart(address, app_port))
    process, port = (_sshd if real else _stand_in)(folder, address, client_key)
    ssh = HostAddress(name, address, port, user(), fingerprint, f"file:{client_key}")
    return Machine(name, folder, app_port, ssh, process)


def _restart(address: str, port: int) -> str:
    """The restart script; an SSH session knows nothing of the libraries that our interpreter may need."""
    libraries = os.environ.get("LD_LIBRARY_PATH")
    words = {
        "{python}": shlex.quote(sys.executable),
        "{port}": str(port),
        "{address}": address,
        "{libraries}": f"export LD_LIBRARY_PATH={shlex.quote(libraries)}" if libraries else ":",
    }
    script = RESTART
    for word, meant in words.items():
        script = script.replace(word, meant)
    return script


def sshd_lets_us_in(folder: Path, client_key: Path) -> bool:
    """Whether the sshd of this machine can be used: installed, starts for this user, and opens a session."""
    if SSHD is None:
        return False
    try:
        trial = make(folder, "trial", ("127.0.0.1", 1), client_key, real=True)
    except (children.NotReady, OSError):
        return False
    hosts = SSHHosts()
    try:
        return hosts.run(trial.ssh, ["true"], timeout=10)[0] == 0
    except HostError:
        return False
    finally:
        hosts.close()
        trial.stop()


def free_port(addresses: Sequence[str]) -> int:
    """A port that is free on each of these addresses, and that no outgoing connection is given meanwhile."""
    while True:
        port = PORTS[0] + secrets.randbelow(PORTS[1] - PORTS[0])
        with contextlib.ExitStack() as held:
            try:
                for address in addresses:
                    held.enter_context(socket.create_server((address, port)))
            except OSError:
                continue
            return port


def _sshd(folder: Path, address: str, client_key: Path) -> tuple[subprocess.Popen[bytes], int]:
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd separates privileges
    port = free_port([address])
    lines = (
        f"ListenAddress {address}",
        f"Port {port}",
        f'HostKey "{folder / "hostkey"}"',
        f'AuthorizedKeysFile "{client_key.with_suffix(".pub")}"',
        "PidFile none",
        "UsePAM no",
        "StrictModes no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        "UseDNS no",
    )
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    log = folder / "sshd.log"
    process = children.start([str(SSHD), "-D", "-e", "-f", folder / "sshd_config"], log)
    _wait_for(process, log, "Server listening on")
    return process, port


def _stand_in(folder: Path, address: str, client_key: Path) -> tuple[subprocess.Popen[bytes], int]:
    (folder / "home").mkdir()
    words = ("--home", folder / "home", "--address", address, "--authorized-key", client_key.with_suffix(".pub"))
    log = folder / "sshd.log"
    process = children.start(children.python("aureus.demo.sshhost", *words, "--host-key", folder / "hostkey"), log)
    said = _wait_for(process, log, r"listening on [0-9.]+:(\d+)")
    return process, int(said[1])


def _wait_for(process: subprocess.Popen[bytes], log: Path, pattern: str) -> re.Match[str]:
    """The line by which a server says that it listens. Raises NotReady with its last words."""
    found: list[re.Match[str]] = []

    def said() -> bool:
        match = re.search(pattern, log.read_text(errors="replace"))
        found.extend([match] if match else [])
        return match is not None or process.poll() is not None

    children.wait_until(said, f"the SSH server of {log.parent.name}", 20)
    if not found:
        raise children.NotReady(f"the SSH server of {log.parent.name} ended: {log.read_text(errors='replace')[-300:]}")
    return found[0]
