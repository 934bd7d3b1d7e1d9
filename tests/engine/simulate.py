"""Play random worlds and print what was injected and what was found: `python -m tests.engine.simulate --help`.

One seed is one world and can be played again: `--worlds 1 --seed N --trace` prints what happened in it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.engine.simulator.faults import FAULTS
from tests.engine.simulator.play import play, play_one, play_side_by_side
from tests.engine.simulator.world import DEFENCES, Violation, World


def trace(seed: int, defences: frozenset[str] = DEFENCES) -> list[str]:
    """What happened in one world, line by line; the last one says what was broken."""
    world, broken = World(seed, defences), "no invariant was broken"
    try:
        play_one(world)
    except Violation as violation:
        broken = str(violation)
    return [*(f"{at / 1000:10.3f} s  {row:4} {what}" for at, row, what in world.trace), broken]


def main(words: Sequence[str] | None = None) -> int:
    """Play and print; exit code 1 where an invariant was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1, help="the first world's seed; the others follow")
    parser.add_argument("--without", choices=sorted(DEFENCES), action="append", default=[], help="a negative control")
    parser.add_argument("--trace", action="store_true", help="print what happened in each world")
    parser.add_argument("--digest", action="store_true", help="print a digest of all that happened")
    wanted = parser.parse_args(words)
    defences = DEFENCES - set(wanted.without)
    if wanted.trace:
        for seed in range(wanted.seed, wanted.seed + wanted.worlds):
            print("\n".join((f"seed {seed}:", *trace(seed, defences))))
        return 0
    if wanted.digest:
        print(play(wanted.worlds, wanted.seed, defences)[2])
        return 0
    faults, found = play_side_by_side(wanted.worlds, wanted.seed, defences)
    for fault in FAULTS:
        print(f"{faults[fault]:>9,}  {fault}")
    for line in found[:20]:
        print(line)
    print(f"{wanted.worlds:,} worlds from seed {wanted.seed}, {sum(faults.values()):,} faults: {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
