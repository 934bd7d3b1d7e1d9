"""Sending a release to ten hosts by SSH: ours against plain `ssh` + `tar`, turn by turn in one run.

Ours does more on the way: space and inodes, sha256 on the host, a manifest of every file, a switch by compare and
swap, a ledger. The hosts are processes of this machine, so both sides share its processors.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import shlex
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aureus.demo import machines
from aureus.demo.keys import write_key
from aureus.demo.machines import Machine
from deployments.drivers import ReleaseFiles, Site
from deployments.drivers.ssh import SSHHosts

HOSTS, FILES, MEGABYTES, ROUNDS = 10, 2_000, 20, 3
TARGET = 1.2
"""Wall time against the physical limit (design section 12)."""


def run() -> None:
    """Measure and print; without sshd and ssh there is nothing to compare with."""
    if machines.SSHD is None or shutil.which("ssh") is None:
        print("skipped: sshd and ssh are needed (openssh-server, openssh-client)")
        return
    folder = Path(tempfile.mkdtemp(prefix="aureus-bench-"))
    fleet: list[Machine] = []
    try:
        key = folder / "client"
        write_key(key)
        for number in range(HOSTS):
            place = (f"127.0.1.{number + 1}", 9)
            fleet.append(machines.make(folder / f"h{number}", f"h{number}", place, key, real=True))
        _compare(fleet, folder, key, archive_of())
    finally:
        for machine in fleet:
            machine.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _compare(fleet: list[Machine], folder: Path, key: Path, archive: bytes) -> None:
    ours: list[float] = []
    plain: list[float] = []
    hosts = SSHHosts()
    try:
        hosts_ready = [hosts.facts(m.ssh, site_of(m)) for m in fleet]
        for turn in range(ROUNDS):
            plain.append(timed(fleet, lambda m, turn=turn: _plain(m, key, archive, turn)))  # type: ignore[misc]
            ours.append(timed(fleet, lambda m, turn=turn: _ours(hosts, m, archive, turn)))  # type: ignore[misc]
    finally:
        hosts.close()
    ratios = [a / b for a, b in zip(ours, plain, strict=True)]
    print(f"{len(hosts_ready)} hosts, {len(archive) / 1e6:.1f} MB gzip, {FILES} files, {ROUNDS} rounds")
    print(f"plain ssh + tar: median {statistics.median(plain):.2f} s   ours: median {statistics.median(ours):.2f} s")
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"ratio: median {statistics.median(ratios):.2f}, {spread} (target: at most {TARGET:g})")


def timed(fleet: list[Machine], work: Callable[[Machine], object]) -> float:
    began = time.monotonic()
    with ThreadPoolExecutor(len(fleet)) as pool:
        list(pool.map(work, fleet))
    return time.monotonic() - began


def site_of(machine: Machine) -> Site:
    return Site(str(machine.root), restart="true")


def _ours(hosts: SSHHosts, machine: Machine, archive: bytes, turn: int) -> None:
    digest = hashlib.sha256(archive).hexdigest()
    content = f"1.{turn}.0-{digest[:12]}"
    files = ReleaseFiles(
        content, lambda: io.BytesIO(archive), digest, len(archive), MEGABYTES * 3_000_000, FILES, b"{}"
    )
    fence = turn + 1
    hosts.prepare(machine.ssh, site_of(machine), files, fence=fence, key=f"prepare-{turn}", deadline=300)
    before = hosts.facts(machine.ssh, site_of(machine)).current
    hosts.activate(
        machine.ssh, site_of(machine), content, expected=before, fence=fence, key=f"activate-{turn}", deadline=60
    )


def _plain(machine: Machine, key: Path, archive: bytes, turn: int) -> None:
    root = machine.folder / "plain"
    to, link = root / f"releases/{turn}", root / "current"
    command = f"mkdir -p {to} && tar -C {to} -xzf - && ln -s {to} {link}.new && mv -T {link}.new {link}"
    words = [
        "ssh",
        "-F",
        "none",
        "-q",
        *options_of(machine, key),
        f"{machine.ssh.user}@{machine.ssh.address}",
        shlex.join(["sh", "-c", command]),
    ]
    subprocess.run(words, input=archive, check=True, timeout=300)


def options_of(machine: Machine, key: Path) -> list[str]:
    """How ssh reaches a machine of this benchmark."""
    known = ["-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"]
    return ["-i", str(key), "-p", str(machine.ssh.port), *known]


def archive_of(changed: int = 0) -> bytes:
    """About 20 MB of gzip in 2,000 files; half of each file is noise, half is text. changed: so many files differ."""
    chance = random.Random(7)
    size = MEGABYTES * 1_000_000 // FILES
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for number in range(FILES):
            member = tarfile.TarInfo(f"app/{number % 40}/{number}.dat")
            content = (
                chance.randbytes(size)
                + b"changed " * (number < changed)
                + b"the same words again and again " * (size // 16)
            )
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), 6, mtime=0)
