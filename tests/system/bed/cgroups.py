"""One cgroup for each host in every hierarchy, below our own: what runs in it is the host's."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

WANTED = frozenset({"name=systemd", "memory", "pids", ""})


class Cgroup:
    """The cgroups of one host. Without some of its own, all hosts' systemd would share one tree."""

    def __init__(self, name: str) -> None:
        self.folders = [place / name for place in _places()]

    def up(self) -> None:
        """Make them."""
        for folder in self.folders:
            folder.mkdir(exist_ok=True)

    def down(self) -> None:
        """Take them away, deepest first; a process that is just ending may hold one for a moment."""
        ends = time.monotonic() + 5
        while any(f.exists() for f in self.folders) and time.monotonic() < ends:
            for folder in self.folders:
                for path, _, _ in os.walk(folder, topdown=False):
                    with suppress(OSError):
                        os.rmdir(path)
            time.sleep(0.02)

    def pids(self) -> list[int]:
        """Every process of the host, as the machine numbers them."""
        found: set[int] = set()
        for folder in self.folders:
            for path, _, _ in os.walk(folder):
                with suppress(OSError):
                    found.update(int(pid) for pid in (Path(path) / "cgroup.procs").read_text().split())
        return sorted(found)


def _places() -> list[Path]:
    """Our own cgroup in each hierarchy that a systemd inside looks at."""
    own: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    places = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, kind, options, *_ = line.split()
        names = {""} if kind == "cgroup2" else set(options.split(",")) if kind == "cgroup" else set()
        if hit := names & WANTED & set(own):
            below = Path(mounted) / own[hit.pop()].lstrip("/")
            places.append(below if below.is_dir() else Path(mounted))
    return places
