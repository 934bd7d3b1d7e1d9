"""`make traffic REQUESTS=100000 BALANCERS="haproxy caddy"`: the table on standard output, 1 if a lossless one lost."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.traffic.run import HEAD, Run, play
from tests.traffic.scene import KINDS, Scene

LOSSLESS = frozenset({"haproxy", "caddy", "nginx-lua"})


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.traffic", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="sent while changes happen, per balancer")
    parser.add_argument("balancers", nargs="*", default=list(KINDS), help=f"some of {', '.join(KINDS)} (all)")
    given = parser.parse_args()
    # So that an ended run ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    runs = [_one(kind, given.requests) for kind in given.balancers]
    print("\n".join([*HEAD, *(line for run in runs for line in run.lines())]))
    for run in runs:
        print(f"{run.kind}: {run.lost} of {run.requests:,} requests were lost or failed.")
    return 1 if any((run.kind in LOSSLESS and run.lost) or not run.control for run in runs) else 0


def _one(kind: str, requests: int) -> Run:
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="aureus-traffic-"))

    def say(what: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} s  {kind}: {what}", file=sys.stderr, flush=True)

    try:
        with Scene(folder, kind) as scene:
            return play(scene, kind, requests, say)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
