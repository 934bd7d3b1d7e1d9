"""Whole windows through the judge, beside three rules that others use: `python -m benchmarks.judging` (`make judging`).

Each cell draws windows of 30 minutes: requests of a minute by a Poisson law (nearly), errors among them by a
binomial one, a healthy probe a minute. Every rule looks after each minute. The judge is health.verdicts.judge as it
stands.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

from health.verdicts import Baseline, Rules, Sample, judge

MINUTES = 30
OPENED = datetime(2026, 1, 1, tzinfo=UTC)
RATES = (1, 5, 20, 100, 500)
RATIOS: dict[str, float] = {"0.2 %": 0.002, "0.5 %": 0.005, "3 %": 0.03, "6 %": 0.06, "20 %": 0.2}
BLIPS = "0.5 % with blips"
"""A version that is well but for one minute in sixty, in which a tenth of its requests fail."""
SERVICES = ("0.2 %", "0.5 %", BLIPS, "3 %", "6 %", "20 %")
WELL = SERVICES[:3]
FILE = Path(__file__).resolve().parent.parent / "docs" / "judging.md"
BEGIN, END = "<!-- made by make judging: begin -->\n", "<!-- made by make judging: end -->\n"

Minute = tuple[int, int]
"""Requests, and how many of them failed."""
Ending = tuple[str, int]
"""How a window ended (rolled back, held or passed), and in which minute."""


def window(rng: random.Random, per_minute: int, service: str) -> list[Minute]:
    """One window of traffic."""
    drawn = []
    for _ in range(MINUTES):
        ratio = (0.1 if rng.random() < 1 / 60 else 0.005) if service == BLIPS else RATIOS[service]
        requests = _poisson(rng, per_minute)
        drawn.append((requests, rng.binomialvariate(requests, ratio) if requests else 0))
    return drawn


def _poisson(rng: random.Random, mean: int) -> int:
    """As many of a thousand times as many visitors come as one in a thousand of them would: a Poisson law, nearly."""
    return rng.binomialvariate(mean * 1000, 0.001)


def ours(minutes: Sequence[Minute], looks: int = 1, rules: Rules | None = None) -> Ending:
    """The judge, asked so many times a minute."""
    rules, samples = rules or Rules(), []
    closes = OPENED + timedelta(minutes=MINUTES)
    for number, (requests, errors) in enumerate(minutes):
        for look in range(looks):
            now = OPENED + timedelta(minutes=number, seconds=60 * (look + 1) / looks)
            part = [_share(count, look, looks) for count in (requests, errors)]
            samples += [_scraped(now, part[0], min(part[0], part[1])), _probed(now)]
            if verdict(rules, samples, closes, now) == "fail":
                return "rolled back", number + 1
    return ("passed" if verdict(rules, samples, closes, closes) == "pass" else "held"), MINUTES


def verdict(rules: Rules, samples: Sequence[Sample], closes: datetime, now: datetime) -> str:
    """The judge's result on these samples."""
    answer = judge(rules, samples, Baseline(), opened_at=OPENED, closes_at=closes, now=now, endpoints=("one",))
    return answer.result


def _share(count: int, look: int, looks: int) -> int:
    return count * (look + 1) // looks - count * look // looks


def _scraped(at: datetime, requests: int, errors: int) -> Sample:
    buckets = ((0.1, requests), (math.inf, requests))
    return Sample("one", "1.0.0", "scrape", "counts", at, requests, errors, buckets)


def _probed(at: datetime) -> Sample:
    return Sample("one", "1.0.0", "probe", "counts", at, healthy=True, seconds=0.02)


def failing_minutes(minutes: Sequence[Minute], above: float, allowed: int, *, silence_fails: bool) -> Ending:
    """A rule on each minute's own ratio: rolled back at the minute that is one failed check too many."""
    failed = 0
    for number, (requests, errors) in enumerate(minutes, 1):
        failed += errors > above * requests if requests else silence_fails
        if failed > allowed:
            return "rolled back", number
    return "passed", MINUTES


THRESHOLD = partial(failing_minutes, above=0.01, allowed=0, silence_fails=True)
LOOSE = partial(failing_minutes, above=0.05, allowed=0, silence_fails=False)
FIVE_CHECKS = partial(failing_minutes, above=0.01, allowed=4, silence_fails=True)
CHEAP: tuple[Callable[[Sequence[Minute]], Ending], ...] = (THRESHOLD, LOOSE, FIVE_CHECKS)


@dataclass(frozen=True, slots=True)
class Ends:
    """How one rule ended many windows of one cell."""

    runs: int
    rolled_back: int
    held: int
    passed: int
    minute: float | None

    def share(self, count: int) -> str:
        """In percent; a share that is not 0 is not shown as 0."""
        if count in (0, self.runs):
            return f"{100 * count // self.runs} %"
        return f"{100 * count / self.runs:.1f} %" if 1000 * count >= self.runs else "< 0.1 %"


def counted(endings: Sequence[Ending]) -> Ends:
    """Count the endings."""
    ends = Counter(how for how, _ in endings)
    found = [minute for how, minute in endings if how == "rolled back"]
    return Ends(len(endings), ends["rolled back"], ends["held"], ends["passed"], median(found) if found else None)


def cell(seed: int, runs: int, looks: int, where: tuple[int, str]) -> tuple[Ends, ...]:
    """The judge's ends and those of the other rules; each cell has its own seed, so it can be run alone."""
    per_minute, service = where
    rng = random.Random(f"{seed} {per_minute} {service}")
    windows = [window(rng, per_minute, service) for _ in range(max(runs, 2000))]
    judged = counted([ours(minutes, looks) for minutes in windows[:runs]])
    return judged, *(counted([rule(minutes) for minutes in windows]) for rule in CHEAP)


HEAD = (
    "| requests a minute | errors | the judge: rolled back | in minute | held | passed "
    "| a minute above 1 % | in minute | a minute above 5 % | in minute | five failed minutes | in minute |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|",
)


def table(found: dict[tuple[int, str], tuple[Ends, ...]]) -> Iterator[str]:
    """The lines of the page."""
    yield from HEAD
    for (per_minute, service), (judged, *others) in found.items():
        cells = [str(per_minute), service, judged.share(judged.rolled_back), _minute(judged)]
        cells += [judged.share(judged.held), judged.share(judged.passed)]
        for ends in others:
            cells += [ends.share(ends.rolled_back), _minute(ends)]
        yield f"| {' | '.join(cells)} |"


def _minute(ends: Ends) -> str:
    return f"{ends.minute:g}" if ends.minute is not None else "–"


def measure(seed: int, runs: int, workers: int) -> dict[tuple[int, str], tuple[Ends, ...]]:
    """Every cell, versions that are well with all runs and the others with a quarter of them."""
    places = list(product(RATES, SERVICES))
    with ProcessPoolExecutor(workers) as pool:
        asked = [pool.submit(cell, seed, runs if place[1] in WELL else runs // 4, 1, place) for place in places]
        return {place: answer.result() for place, answer in zip(places, asked, strict=True)}


def false_rollbacks(found: dict[tuple[int, str], tuple[Ends, ...]]) -> float:
    """The largest share of windows of a version that is well, in any cell, which the judge rolled back."""
    return max(ends[0].rolled_back / ends[0].runs for (_, service), ends in found.items() if service in WELL)


def main() -> int:
    """Measure, print, and write the page's table; exit code 1 where more than 1 % are false."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judging", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1200, help="windows of the judge in each cell of a well version")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true", help="put the table into docs/judging.md")
    asked = parser.parse_args()
    found = measure(asked.seed, asked.runs, asked.workers)
    lines = list(table(found))
    print("\n".join(lines), flush=True)
    worst = false_rollbacks(found)
    print(f"false rollbacks: {worst:.2%} in the worst cell")
    if asked.write:
        before, rest = FILE.read_text().split(BEGIN)
        FILE.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + rest.split(END)[1])
    return worst > 0.01


if __name__ == "__main__":
    sys.exit(main())
