"""Times at which the old version and the new one were down together: they tell of what both need. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from health.measured import Sample, probes_of


@dataclass(frozen=True, slots=True)
class Outage:
    """From the first probes that failed on every host of both versions until one does not; None: it lasts."""

    begins: datetime
    ends: datetime | None


def outages(new: Iterable[Sample], old: Iterable[Sample]) -> tuple[Outage, ...]:
    """Every time at which the newest probe of each host, of both versions, had failed; oldest first."""
    seen = [(at, side, name, healthy) for side, all_of_it in (("new", new), ("old", old))
            for name, probes in probes_of(all_of_it).items() for at, healthy in _answers(probes)]  # fmt: skip
    if {side for _, side, _, _ in seen} != {"new", "old"}:
        return ()
    found: list[Outage] = []
    # Who was not asked yet counts as well.
    newest = {(side, name): True for _, side, name, _ in seen}
    for at, group in groupby(sorted(seen), key=lambda one: one[0]):
        newest |= {(side, name): healthy for _, side, name, healthy in group}
        down, lasts = not any(newest.values()), bool(found) and found[-1].ends is None
        if down and not lasts:
            found.append(Outage(at, None))
        elif lasts and not down:
            found[-1] = Outage(found[-1].begins, at)
    return tuple(found)


def outside(samples: Iterable[Sample], times: Sequence[Outage], lag: timedelta) -> tuple[Sample, ...]:
    """The samples outside of the outages that are over. Counts may come as late as `lag`, probes come at once."""
    spans = [(one.begins, one.ends) for one in times if one.ends is not None]
    return tuple(
        sample
        for sample in samples
        if not any(
            begins <= sample.at < ends if sample.source == "probe" else begins <= sample.at <= ends + lag
            for begins, ends in spans
        )
    )


def _answers(probes: Sequence[Sample]) -> list[tuple[datetime, bool]]:
    """When each probe was made and what it said; of one moment the failed one counts, which is the last."""
    return list({probe.at: bool(probe.healthy) for probe in probes}.items())
