"""What an artifact of almost 2 GB costs in memory: sent to a real `aureus up`, prepared on a real SSH host.

`python -m benchmarks.large_artifact` (`MEGABYTES=200` for a try, `STORE=s3` for a bucket of a server beside it). Needs
three times as much disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from releases.store.s3 import Bucket, S3Store
from tests.flows.rig import Rig

MEGABYTES = int(os.environ.get("MEGABYTES", "2040"))
FILES = 4
MOST = 100
"""MB by which no process may grow (issue 5)."""


class Zeros:
    """A file of zeros that takes no room."""

    def read(self, size: int = -1) -> bytes:
        return bytes(size)


class Watched:
    """The largest resident memory of its own (RssAnon) of each process below one, in kB, sampled ten times a second."""

    def __init__(self, root: int) -> None:
        self.root, self.most, self.first = root, dict[int, int](), dict[int, int]()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """From here on growth is counted."""
        self.first = _resident(self.root)
        self.most = dict(self.first)

    def end(self) -> None:
        self._left.set()
        self._thread.join()

    def growth(self) -> float:
        """Of the process that grew most, in MB."""
        # A process that began meanwhile counts from its first sample.
        grown = [most - self.first[pid] for pid, most in self.most.items()]
        return max(grown, default=0) / 1024

    def _watch(self) -> None:
        while not self._left.wait(0.1):
            for pid, size in _resident(self.root).items():
                self.first.setdefault(pid, size)
                self.most[pid] = max(self.most.get(pid, 0), size)


def _resident(root: int) -> dict[int, int]:
    parents, sizes = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            pid = int(folder.name)
            parents[pid] = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            found = [line for line in folder.joinpath("status").read_text().splitlines() if line.startswith("RssAnon")]
            sizes[pid] = int(found[0].split()[1]) if found else 0
        except (OSError, ValueError, IndexError):
            continue
    below, grew = {root}, True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in below} - below
        below, grew = below | more, bool(more)
    return {pid: sizes[pid] for pid in below if pid in sizes}


def run() -> None:
    """Measure, print, and end with 1 if a process grew too much."""
    folder = Path(tempfile.mkdtemp(prefix="aureus-large-"))
    folder.chmod(0o711)
    server, store = _bucket() if os.environ.get("STORE") == "s3" else (None, {})
    rig = Rig(folder, **store)
    try:
        rig.begin()
        rig.fleet("large", {"staging": 1}, None, staging={"healthy_within": 600})
        file = _archive(folder)
        _measure(rig, file)
    finally:
        rig.end()
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _bucket() -> tuple[Any, dict[str, str]]:
    """A server that speaks S3, in this process, which is not measured; and how Aureus reaches its bucket."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    S3Store(Bucket("large", "", url, None, "key", "secret"))._client.create_bucket(Bucket="large")
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    return server, {"ARTIFACT_STORE": "s3://large", "S3_ENDPOINT_URL": url, **keys}


def _archive(folder: Path) -> Path:
    file = folder / "large.tar"
    with tarfile.open(file, "w") as made:
        for number in range(FILES):
            member = tarfile.TarInfo(f"part-{number}")
            member.size = MEGABYTES * 2**20 // FILES
            made.addfile(member, Zeros())
    return file


def _measure(rig: Rig, file: Path) -> None:
    process = rig.aureus.process
    assert process is not None
    spec = rig.folder / "spec.json"
    spec.write_text(
        '{"id": "large", "name": "Large", "tasks": [{"id": "a", "tool": "http", "params": {"path": "/health"}}]}'
    )
    watched = Watched(process.pid)
    environ = {**os.environ, "AUREUS_URL": rig.aureus.url, "AUREUS_TOKEN": rig.client.token}
    register = ["version", "register", str(spec), "--version", "1.0.0", "--artifact", str(file)]
    watched.begin()
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "aureus.cli", *register], env=environ, check=True)
    sent = time.monotonic() - begun
    received = watched.growth()
    print(f"sent in {sent:.0f} s; no process grew by more than {received:.0f} MB", flush=True)
    watched.begin()
    begun = time.monotonic()
    version = rig.client.get("/deployments/versions?workflowId=large")[0]["id"]
    asked = rig.client.deploy(version, "staging")

    def prepared() -> bool:
        steps = rig.client.get(f"/deployments/{asked['id']}/steps")
        return any(step["kind"] == "prepare" and step["status"] in ("passed", "failed") for step in steps)

    rig.until(asked["id"], lambda now: prepared() or now["status"] == "failed", "it is prepared", 1500, 1.0)
    told = [s for s in rig.client.get(f"/deployments/{asked['id']}/steps") if s["kind"] == "prepare"]
    grown = watched.growth()
    watched.end()
    print(f"prepared in {time.monotonic() - begun:.0f} s ({told[0]['status']}: {told[0]['reason']}); "
          f"no process grew by more than {grown:.0f} MB")  # fmt: skip
    if max(received, grown) >= MOST or told[0]["status"] != "passed":
        sys.exit(1)


if __name__ == "__main__":
    run()
