"""Run the benchmarks and print their ratios: `python -m benchmarks [engine|gates|ssh|second]`."""

from __future__ import annotations

import argparse
import sys

from benchmarks import engine, gates, second, ssh

ALL = {"engine": engine.run, "gates": gates.run, "ssh": ssh.run, "second": second.run}


def main() -> int:
    """All of them, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ALL, []], help="which ones; all if none is named")
    for name in parser.parse_args().names or ALL:
        print(f"== {name}", flush=True)
        ALL[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
