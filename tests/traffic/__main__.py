"""`make traffic REQUESTS=100000 BALANCERS="haproxy caddy"`: the table on standard output, 1 if a lossless one lost."""

import argparse
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.traffic.run import HEAD, Run, play, restored
from tests.traffic.scene import KINDS, Scene

TARGET = 10.0
"""Seconds from the fault to restored traffic, at the median, with three hosts and a sample a second (design, 12)."""
LOSSLESS = frozenset({"haproxy", "caddy", "nginx-lua"})


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.traffic", description=__doc__)
    parser.add_argument(
        "--requests", type=int, default=100_000, help="to an application while it changes, per balancer"
    )
    parser.add_argument("--faults", type=int, default=0, help="instead: ship so many bad versions, and time their end")
    parser.add_argument("balancers", nargs="*", default=list(KINDS), help=f"some of {', '.join(KINDS)} (all)")
    given = parser.parse_args()
    # So that an ended run ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if given.faults:
        return _restored(given.balancers[0], given.faults)
    runs = [_one(kind, given.requests) for kind in given.balancers]
    print("\n".join([*HEAD, *(line for run in runs for line in run.lines())]))
    for run in runs:
        beside = sum(row.beside for row in run.rows.values())
        print(f"{run.kind}: {run.lost} lost or failed of {run.requests:,} to what changed and {beside:,} beside it.")
    return 1 if any((run.kind in LOSSLESS and run.lost) or not run.control for run in runs) else 0


def _one(kind: str, requests: int) -> Run:
    with _scene(kind) as (scene, say):
        return play(scene, kind, requests, say)


def _restored(kind: str, times: int) -> int:
    with _scene(kind, hosts=3, sample=1.0) as (scene, say):
        seconds = sorted(restored(scene, times, say))
    told = ", ".join(f"{one:.1f}" for one in seconds)
    print(f"{kind}: fault to traffic restored in {statistics.median(seconds):.1f} s (median of {told})")
    return 0 if statistics.median(seconds) <= TARGET else 1


@contextmanager
def _scene(kind: str, **options: Any) -> Iterator[tuple[Scene, Callable[[str], None]]]:
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="aureus-traffic-"))

    def say(what: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} s  {kind}: {what}", file=sys.stderr, flush=True)

    try:
        with Scene(folder, kind, **options) as scene:
            yield scene, say
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
