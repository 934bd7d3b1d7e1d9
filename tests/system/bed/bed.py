"""A number of hosts side by side, booted in parallel, and taken down whatever happened."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from aureus.demo.keys import write_key
from tests.system.bed.calls import PATHS, BedError, run, try_to
from tests.system.bed.host import BedHost
from tests.system.bed.network import Network
from tests.system.bed.rootfs import rootfs

INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
WATCHERS = 1_024
"""Each systemd holds about four instances of inotify, and all hosts count as one user. Debian's 128 are 32 hosts."""
TOOLS = ("systemd-nspawn", "ip", "iptables", "nsenter", "mount")
MAKERS = ("mmdebstrap", "debootstrap")


def why_not() -> str:
    """Why no host can be made on this machine, with what to do; "" where it can."""
    if os.geteuid() != 0:
        return "hosts with a systemd of their own need root: run make system as root"
    missing = [tool for tool in TOOLS if not _is_there(tool)]
    missing += [] if any(map(_is_there, MAKERS)) else [MAKERS[0]]
    if missing:
        return f"missing {', '.join(missing)}: install systemd-container, mmdebstrap, iproute2 and iptables"
    trial = Path(tempfile.mkdtemp(prefix="aureus-bed-"))
    try:
        run("mount", "-t", "tmpfs", "tmpfs", trial)
        run("ip", "netns", "add", trial.name)
        run("ip", "netns", "exec", trial.name, "iptables", "-w", "10", "-S")
    except BedError as error:
        return f"this machine does not let us make hosts: {error}"
    finally:
        try_to("ip", "netns", "delete", trial.name)
        try_to("umount", "-l", trial)
        trial.rmdir()
    return ""


class Bed:
    """Hosts h1, h2, … for the time of a `with` block. `key` is the SSH key that user `deploy` is reached with."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.folder = Path(tempfile.mkdtemp(prefix="aureus-bed-"))
        self.network = Network(f"ab{os.getpid() % 100_000:x}")
        self.key = self.folder / "key"
        self.hosts: list[BedHost] = []

    def __enter__(self) -> Bed:
        # A run that is told to end (a time limit sends SIGTERM) takes its hosts down as after Ctrl-C.
        self._before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        self._instances = INSTANCES.read_text()
        try:
            INSTANCES.write_text(str(max(WATCHERS, int(self._instances))))
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _make(self) -> None:
        lower = rootfs()
        write_key(self.key)
        self.network.up()
        for number in range(1, self.count + 1):
            name = f"h{number}"
            self.hosts.append(BedHost(self.folder / name, name, self.network.leg(number), lower))
        _side_by_side(lambda host: host.place(self.key.with_suffix(".pub")), self.hosts)

    def boot(self) -> None:
        """All of them; returns when each greets. What a host needs on its first boot is put there before."""
        _side_by_side(BedHost.boot, self.hosts)
        _side_by_side(BedHost.wait_ready, self.hosts)

    def close(self) -> None:
        """Take everything down."""
        _side_by_side(BedHost.down, self.hosts)
        self.network.down()
        INSTANCES.write_text(self._instances)
        signal.signal(signal.SIGTERM, self._before)
        if not any(os.path.ismount(folder) for host in self.hosts for folder in (host.root, host.disk)):
            shutil.rmtree(self.folder, ignore_errors=True)


def _is_there(tool: str) -> bool:
    return shutil.which(tool, path=PATHS) is not None


def _side_by_side(do: Callable[[BedHost], object], hosts: list[BedHost]) -> None:
    """Let it be done for all of them, even where it fails for one; then raises what failed first."""
    if not hosts:
        return
    with ThreadPoolExecutor(8, thread_name_prefix="bed") as pool:
        done = [pool.submit(do, host) for host in hosts]
    for one in done:
        one.result()
