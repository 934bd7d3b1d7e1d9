"""One host: a disk of fixed size over the shared root file system, a leg in the network, and systemd as its PID 1."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import uuid
from contextlib import suppress
from pathlib import Path

from aureus.demo.keys import write_key
from tests.system.bed.calls import ENVIRONMENT, BedError, run, try_to
from tests.system.bed.cgroups import Cgroup
from tests.system.bed.network import Leg

DISK = "size=96m,nr_inodes=6000,mode=755"
JOIN = 'for folder in $CGROUPS; do echo $$ >"$folder/cgroup.procs" || exit 97; done; exec "$@"'
BOOT_SECONDS = 60


class BedHost:
    """`address` is where it is reached, `fingerprint` its SSH key's; `root` is its file system seen from outside."""

    def __init__(self, folder: Path, name: str, leg: Leg, lower: Path) -> None:
        self.name = name
        self.leg = leg
        self.folder = folder
        self.lower = lower
        self.disk = folder / "disk"
        self.root = folder / "root"
        self.fingerprint = ""
        self.cgroup = Cgroup(leg.name)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Its address on the bridge."""
        return self.leg.address

    def place(self, authorized: Path) -> None:
        """Disk, network and everything that only this host has; `authorized` is the public key that it lets in."""
        for folder in (self.disk, self.root):
            folder.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", DISK, "tmpfs", self.disk)
        (self.disk / "upper").mkdir()
        (self.disk / "work").mkdir()
        layers = f"lowerdir={self.lower},upperdir={self.disk / 'upper'},workdir={self.disk / 'work'}"
        run("mount", "-t", "overlay", "-o", layers, "overlay", self.root)
        self.leg.up()
        self.cgroup.up()
        self.fingerprint = write_key(self.root / "etc/ssh/ssh_host_ed25519_key")
        self.put("etc/hostname", f"{self.name}\n")
        self.put("etc/hosts", f"127.0.0.1 localhost\n{self.address} {self.name}\n")
        self.put("etc/machine-id", f"{uuid.uuid4().hex}\n")
        self.put("home/deploy/.ssh/authorized_keys", authorized.read_text(), owner=1000)
        os.chown(self.root / "home/deploy/.ssh", 1000, 1000)

    def put(self, path: str, text: str, *, owner: int = 0, mode: int = 0o644) -> None:
        """A file of the host, written from outside."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        os.chown(file, owner, owner)
        file.chmod(mode)

    def boot(self) -> None:
        """Start it; `wait_ready` says when it is up."""
        words = (
            "systemd-nspawn", "-q", "--register=no", "--keep-unit", "--boot", "-D", str(self.root), "-M", self.leg.name,
            f"--hostname={self.name}", f"--network-namespace-path={self.leg.namespace}", "--link-journal=no",
            "--resolv-conf=off", "--timezone=off", "--console=pipe", "--capability=CAP_NET_ADMIN",
        )  # fmt: skip
        with (self.folder / "console").open("ab") as console:
            self.process = subprocess.Popen(
                ["sh", "-c", JOIN, "sh", *words],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=ENVIRONMENT | {"CGROUPS": " ".join(map(str, self.cgroup.folders))},
                start_new_session=True,
            )

    @property
    def leader(self) -> int | None:
        """Its PID 1 as the machine numbers it."""
        if self.process is None or self.process.poll() is not None:
            return None
        with suppress(OSError):
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            return int(children[0]) if children else None
        return None

    def wait_ready(self) -> None:
        """Until its sshd greets. Raises BedError with the last lines of its console."""
        ends = time.monotonic() + BOOT_SECONDS
        while not (self.leader and self._greets()):
            ended = self.process is None or self.process.poll() is not None
            if ended or time.monotonic() > ends:
                last = (self.folder / "console").read_text(errors="replace")[-1500:]
                raise BedError(f"{self.name} did not come up: {last or 'its console is empty'}")
            time.sleep(0.05)

    def _greets(self) -> bool:
        with suppress(OSError), socket.create_connection((self.address, 22), timeout=2) as door:
            door.settimeout(5)
            return door.recv(4) == b"SSH-"
        return False

    def crash(self) -> None:
        """Its power is cut: the disk stays, nothing that runs is asked."""
        leader, process = self.leader, self.process
        if leader is not None:
            os.kill(leader, signal.SIGKILL)
        if process is not None:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
        self.process = None

    def run(self, *words: str, seconds: float = 30) -> str:
        """A command inside, as root, without SSH. Raises BedError."""
        leader = self.leader
        if leader is None:
            raise BedError(f"{self.name} is not running")
        return run(
            "nsenter", "-t", str(leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", *words, seconds=seconds
        )

    def down(self) -> None:
        """Take away everything of it, however far it had come."""
        for pid in self.cgroup.pids():
            with suppress(OSError):
                os.kill(pid, signal.SIGCONT)
        self.crash()
        self.leg.down()
        for mounted in (self.root, self.disk):
            if os.path.ismount(mounted):
                try_to("umount", "-l", mounted)
        self.cgroup.down()
