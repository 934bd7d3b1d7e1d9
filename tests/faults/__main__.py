"""`make faults DEPLOYMENTS=200 SEED=7`: the table on standard output, 1 if a claim was contradicted."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.run import EVERY, play


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--deployments", type=int, default=200, help="how many are asked for (200)")
    parser.add_argument("--seed", type=int, default=7, help="chooses faults, their instants and the bad versions (7)")
    parser.add_argument("--environments", type=int, default=6, help="deployments run side by side in so many (6)")
    parser.add_argument("--every", type=float, default=EVERY, help=f"seconds between two faults ({EVERY:g})")
    parser.add_argument("--seconds", type=float, default=86_400, help="ask for no further deployment after so many")
    parser.add_argument("--away", type=float, default=120, help="seconds for which Valkey is gone, when it is (120)")
    parser.add_argument("--keep", action="store_true", help="keep logs and databases, and say where")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="aureus-faults-"))
    folder.chmod(0o711)
    begun = time.monotonic()
    # So that an ended run ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def say(what: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} s  {what}", file=sys.stderr, flush=True)

    try:
        run = play(
            folder, given.seed, given.deployments, environments=given.environments, every=given.every,
            seconds=given.seconds, away=given.away, say=say,
        )  # fmt: skip
    finally:
        if given.keep:
            say(f"kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(run.table())
    for claim, found in run.contradictions.items():
        for line in found:
            print(f"CONTRADICTED {claim}: {line}")
    return 0 if run.holds else 1


if __name__ == "__main__":
    sys.exit(main())
