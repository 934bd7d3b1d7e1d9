"""What a policy would have made of a window's samples: the looks of that time, judged anew. Pure."""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from health.baseline import Baseline
from health.checks import Check
from health.measured import Sample
from health.thresholds import Rules
from health.verdicts import CONTINUE, HOLD, Policy, Verdict, judge, policy_for

MOST_LOOKS = 600
"""A window of half an hour has some 400 looks; of a longer one so many are taken, evenly."""


@dataclass(frozen=True, slots=True)
class Past:
    """A window as it was watched. `ended_at`: nothing was measured after it. `superseded`: the next start closed it."""

    samples: tuple[Sample, ...]
    baseline: Baseline
    endpoints: tuple[str, ...]
    opened_at: datetime
    closes_at: datetime
    ended_at: datetime
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Replayed:
    """`result` is pass, fail, inconclusive (let go on flagged), superseded, or undecided where the samples end before.

    `looks` of `of` moments were looked at.
    """

    result: str
    cause: str
    rule: str
    sentence: str
    decided_at: datetime | None
    looks: int
    of: int
    record: dict[str, Any]


def replay(past: Past, rules: Rules, checks: Sequence[Check], policy: Policy) -> Replayed:
    """Look again at each moment something was measured, until the policy decides."""
    samples = sorted(past.samples, key=lambda sample: sample.at)
    still = sorted(past.baseline.still_on_from, key=lambda sample: sample.at)
    moments = _moments(past, (*samples, *still))
    chosen = _evenly(moments, MOST_LOOKS)
    held_since: datetime | None = None
    verdict: Verdict | None = None
    for look, now in enumerate(chosen, 1):
        verdict = _look(past, rules, checks, samples, still, now)
        if verdict.result == "inconclusive":
            held_since = held_since or now
            follows = policy_for(verdict.cause, policy, now, held_since)
            if follows.action == HOLD:
                continue
            result = "inconclusive" if follows.action == CONTINUE else "fail"
            return _told(verdict, result, f"{verdict.sentence} {follows.sentence}", now, look, len(moments))
        held_since = None
        if verdict.result != "open":
            return _told(verdict, verdict.result, verdict.sentence, now, look, len(moments))
    return _at_the_end(past, rules, checks, (samples, still), verdict, (len(chosen), len(moments)))


def _at_the_end(
    past: Past,
    rules: Rules,
    checks: Sequence[Check],
    seen: tuple[Sequence[Sample], Sequence[Sample]],
    verdict: Verdict | None,
    looked: tuple[int, int],
) -> Replayed:
    """The next start closes an open window on what it has; otherwise the samples end before a decision."""
    if past.superseded and verdict is not None:
        last = _look(past, rules, checks, *seen, past.ended_at, closes_at=past.ended_at)
        result = "pass" if last.result == "pass" else "superseded"
        return _told(last, result, last.sentence, past.ended_at, *looked)
    if verdict is None:
        return Replayed("undecided", "no_data", "", "No samples are kept of it.", None, *looked, {})
    why = f"Its samples end before this policy decides. {verdict.sentence}"
    return Replayed("undecided", verdict.cause, verdict.rule, why, None, *looked, verdict.record)


def _look(
    past: Past,
    rules: Rules,
    checks: Sequence[Check],
    samples: Sequence[Sample],
    still: Sequence[Sample],
    now: datetime,
    closes_at: datetime | None = None,
) -> Verdict:
    return judge(
        rules,
        samples[: bisect_right(samples, now, key=lambda sample: sample.at)],
        replace(past.baseline, still_on_from=tuple(still[: bisect_right(still, now, key=lambda sample: sample.at)])),
        opened_at=past.opened_at,
        closes_at=closes_at or past.closes_at,
        now=now,
        endpoints=past.endpoints,
        checks=checks,
    )


def _moments(past: Past, samples: Collection[Sample]) -> list[datetime]:
    """When it was looked at: as something had been measured, and as it ended."""
    seen = {sample.at for sample in samples if past.opened_at <= sample.at <= past.ended_at}
    return sorted(seen | {past.ended_at}) if seen else []


def _evenly(moments: list[datetime], most: int) -> list[datetime]:
    """At most so many of them, the last always."""
    if len(moments) <= most:
        return moments
    step = len(moments) / most
    return [moments[min(len(moments) - 1, int((number + 1) * step) - 1)] for number in range(most)]


def _told(verdict: Verdict, result: str, sentence: str, at: datetime, looks: int, of: int) -> Replayed:
    return Replayed(result, verdict.cause, verdict.rule, sentence, at, looks, of, verdict.record)
