"""What may befall a host, done from outside of it; each has its way back."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.system.bed.host import BedHost


def cut(host: BedHost) -> None:
    """Pull its cable out: packets vanish, and so does the carrier."""
    host.leg.plug("down")


def heal(host: BedHost) -> None:
    """Cable in, no rule left in its way."""
    host.leg.unfilter()
    host.leg.plug("up")


def black_hole(host: BedHost) -> None:
    """Drop every packet to and from it without a word."""
    host.leg.filter("INPUT", "-i", "eth0", "-j", "DROP")
    host.leg.filter("OUTPUT", "-o", "eth0", "-j", "DROP")


def reject(host: BedHost) -> None:
    """Refuse its SSH port with a reset, also to connections that are open; the application stays in reach."""
    host.leg.filter("INPUT", "-i", "eth0", "-p", "tcp", "--dport", "22", "-j", "REJECT", "--reject-with", "tcp-reset")


def lossy(host: BedHost, share: float = 0.2) -> None:
    """Lose this share of the packets that come in."""
    rule = ("-m", "statistic", "--mode", "random", "--probability", f"{share:g}", "-j", "DROP")
    host.leg.filter("INPUT", "-i", "eth0", *rule)


def drop_ssh(host: BedHost) -> None:
    """End the SSH sessions that are open; the next one is welcome."""
    for pid in host.cgroup.pids():
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sshd: deploy"):
                os.kill(pid, signal.SIGKILL)


def freeze(host: BedHost) -> None:
    """Stop every process of it: the kernel still accepts connections, nobody answers."""
    stopped: set[int] = set()
    while left := set(host.cgroup.pids()) - stopped:
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGSTOP)
        stopped |= left


def thaw(host: BedHost) -> None:
    """Let it go on."""
    for pid in host.cgroup.pids():
        with suppress(OSError):
            os.kill(pid, signal.SIGCONT)


def fill_disk(host: BedHost) -> None:
    """Leave no byte free on its disk."""
    with (host.disk / "ballast").open("ab", buffering=0) as file, suppress(OSError):
        for size in (1 << 20, 4096):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)


def fill_inodes(host: BedHost) -> None:
    """Leave no inode free on its disk."""
    folder = host.disk / "inodes"
    folder.mkdir()
    with suppress(OSError):
        for number in range(100_000):
            (folder / str(number)).touch()


def free_disk(host: BedHost) -> None:
    """Give back what was filled."""
    (host.disk / "ballast").unlink(missing_ok=True)
    folder = host.disk / "inodes"
    if folder.is_dir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def reboot(host: BedHost) -> None:
    """Power off and on; the disk stays."""
    host.crash()
    host.boot()
