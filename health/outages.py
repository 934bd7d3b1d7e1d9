"""Times at which the old version and the new one were down together: they tell of what both need. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from health.measured import Sample, probes_of


@dataclass(frozen=True, slots=True)
class Outage:
    """From the first probes that failed on every host of both versions until one does not; None: it lasts.

    since: the round of probes before, or `begins` where there is none: what was counted in that round may have failed.
    """

    since: datetime
    begins: datetime
    ends: datetime | None


def outages(new: Iterable[Sample], old: Iterable[Sample]) -> tuple[Outage, ...]:
    """Every time in which all probes of both versions failed, oldest first. One round of probes is of one moment."""
    rounds: dict[datetime, dict[str, list[bool]]] = {}
    for side, samples in (("new", new), ("old", old)):
        for probes in probes_of(samples).values():
            for probe in probes:
                rounds.setdefault(probe.at, {}).setdefault(side, []).append(bool(probe.healthy))
    found: list[Outage] = []
    since = min(rounds, default=None)
    for at in sorted(rounds):
        answers, lasts = rounds[at], bool(found) and found[-1].ends is None
        well = any(map(any, answers.values()))
        if lasts and well:
            found[-1] = replace(found[-1], ends=at)
        elif len(answers) == 2 and not (lasts or well):
            found.append(Outage(since or at, at, None))
        since = at
    return tuple(found)


def outside(samples: Iterable[Sample], times: Sequence[Outage], lag: timedelta) -> tuple[Sample, ...]:
    """The samples outside of the outages that are over. Counts may come as late as `lag`, probes come at once.

    Late are those of a server that is asked at its own pace, and errors of requests that waited for what was down.
    """
    over = [(one.since, one.begins, one.ends) for one in times if one.ends is not None]
    return tuple(
        sample
        for sample in samples
        if not any(
            begins <= sample.at < ends if sample.source == "probe" else since <= sample.at <= ends + lag
            for since, begins, ends in over
        )
    )
