"""The second release, of which one file in a hundred has changed, to ten hosts: ours against `rsync --link-dest`.

Both copy or link what stays from the release that is there. Ours also lists the new archive once a round, proves the
base and the result file by file on the host, and copies where rsync links. The hosts are processes of this machine.
"""

from __future__ import annotations

import hashlib
import io
import shlex
import shutil
import statistics
import subprocess
import tarfile
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aureus.demo import machines
from aureus.demo.keys import write_key
from aureus.demo.machines import Machine
from benchmarks.ssh import FILES, HOSTS, ROUNDS, archive_of, options_of, site_of, timed
from deployments.delivery import Differences
from deployments.drivers import ReleaseFiles
from deployments.drivers.ssh import SSHHosts
from releases.store.directory import DirectoryStore

TARGET = 1.2
"""Wall time against rsync (design section 12)."""


def run() -> None:
    """Measure and print; without sshd and rsync there is nothing to compare with."""
    if machines.SSHD is None or shutil.which("rsync") is None:
        print("skipped: sshd and rsync are needed (openssh-server, rsync)")
        return
    folder = Path(tempfile.mkdtemp(prefix="aureus-bench-"))
    fleet: list[Machine] = []
    hosts = SSHHosts()
    try:
        key = folder / "client"
        write_key(key)
        for number in range(HOSTS):
            place = (f"127.0.2.{number + 1}", 9)
            fleet.append(machines.make(folder / f"h{number}", f"h{number}", place, key, real=True))
        _compare(fleet, folder, key, hosts)
    finally:
        hosts.close()
        for machine in fleet:
            machine.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _compare(fleet: list[Machine], folder: Path, key: Path, hosts: SSHHosts) -> None:
    store = DirectoryStore(folder / "store")
    differences = Differences(folder / "differences", store)
    versions = [_version(store, turn) for turn in range(ROUNDS + 1)]
    trees = [_tree(folder / f"tree-{turn}", store, version) for turn, version in enumerate(versions)]
    for machine in fleet:
        _ours(hosts, machine, versions[0], store, 0)
        _rsync(machine, key, trees[0], 0)
    ours, theirs, sent = [], [], 0
    for turn in range(1, ROUNDS + 1):
        theirs.append(timed(fleet, lambda m, t=turn: _rsync(m, key, trees[t], t)))  # type: ignore[misc]

        def send(machine: Machine, turn: int = turn) -> None:
            small = differences.smaller(_files(versions[turn], store), versions[turn], versions[turn - 1])
            assert small is not None
            _ours(hosts, machine, versions[turn], store, turn, small)

        ours.append(timed(fleet, send))
        small = differences.smaller(_files(versions[turn], store), versions[turn], versions[turn - 1])
        sent = small.size + len(small.base.copies) if small and small.base else 0
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    whole = versions[0].version.artifact.size
    print(f"{len(fleet)} hosts, {whole / 1e6:.1f} MB gzip, {FILES} files of which 1 % differ, {ROUNDS} rounds")
    print(f"sent to each host: {sent / 1e6:.2f} MB of {whole / 1e6:.1f} MB")
    print(f"rsync: median {statistics.median(theirs):.2f} s   ours: median {statistics.median(ours):.2f} s")
    print(f"ratio: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f} (target: {TARGET:g})")


def _version(store: DirectoryStore, turn: int) -> Any:
    """A content of the archive of that turn, as `Differences` looks at one."""
    archive = archive_of(changed=turn * FILES // 100)
    sha256 = hashlib.sha256(archive).hexdigest()
    kept = store.put(io.BytesIO(archive), sha256, 10**9)
    artifact = SimpleNamespace(sha256=sha256, size=kept.size, files=FILES, store_key=kept.key)
    return SimpleNamespace(version=SimpleNamespace(artifact=artifact), content=f"1.{turn}.0-{sha256[:12]}")


def _tree(folder: Path, store: DirectoryStore, version: Any) -> Path:
    folder.mkdir()
    with store.open(version.version.artifact.store_key) as stream, tarfile.open(fileobj=stream) as tar:
        tar.extractall(folder, filter="data")
    return folder


def _files(version: Any, store: DirectoryStore) -> ReleaseFiles:
    artifact = version.version.artifact
    return ReleaseFiles(
        version.content, lambda: store.open(artifact.store_key), artifact.sha256, artifact.size, 10**8, FILES, b"{}"
    )


def _ours(
    hosts: SSHHosts, machine: Machine, version: Any, store: DirectoryStore, turn: int, files: ReleaseFiles | None = None
) -> None:
    fence, site = turn + 1, site_of(machine)
    hosts.prepare(machine.ssh, site, files or _files(version, store), fence=fence, key=f"prepare-{turn}", deadline=300)
    before = hosts.facts(machine.ssh, site).current
    hosts.activate(
        machine.ssh, site, version.content, expected=before, fence=fence, key=f"activate-{turn}", deadline=60
    )


def _rsync(machine: Machine, key: Path, tree: Path, turn: int) -> None:
    root = machine.folder / "rsync"
    ssh = shlex.join(["ssh", "-F", "none", "-q", *options_of(machine, key)])
    to = f"{machine.ssh.user}@{machine.ssh.address}:{root}/{turn}/"
    base = [f"--link-dest={root}/{turn - 1}/"] if turn else []
    subprocess.run(["rsync", "-a", "--checksum", *base, "--mkpath", "-e", ssh, f"{tree}/", to], check=True, timeout=300)
