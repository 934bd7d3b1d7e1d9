"""Whether a version has written no errors to its hosts' journals for long enough. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from health.measured import VALUE, Sample, by_endpoint

JOURNAL = "check:journal"
LONG_ENOUGH = timedelta(minutes=30)
"""The deployment guide's gate: no errors in logs for 30 minutes."""
FRESH = timedelta(seconds=90)


@dataclass(frozen=True, slots=True)
class Quiet:
    """`quiet` is None where it cannot be known; `until`: the earliest time at which it can become true."""

    quiet: bool | None
    until: datetime | None
    sentence: str


def quiet_for(
    samples: Sequence[Sample], endpoints: Collection[str], opened_at: datetime, now: datetime, *,
    long_enough: timedelta = LONG_ENOUGH, source: str = JOURNAL,
) -> Quiet:  # fmt: skip
    """Look at every endpoint's counts of journal errors. A look counts all since the one before, so gaps hide nothing;
    but the newest must be fresh, and could-not-look is never quiet."""
    looks = by_endpoint(s for s in sorted(samples, key=lambda s: s.at) if s.source == source and s.at <= now)
    since, loudest = opened_at, ""
    for name in sorted(endpoints):
        mine = looks.get(name, [])
        read = [look for look in mine if look.kind == VALUE]
        if not read or now - read[-1].at > FRESH:
            why = mine[-1].why if mine else ""
            return Quiet(None, None, f"The journal of {name} was not read lately. {why}".strip())
        for look in read:
            if look.value and look.at > since:
                since, loudest = look.at, f"{name} wrote {look.value:.0f} errors at {look.at:%H:%M:%S} UTC."
    until = since + long_enough
    minutes = long_enough.total_seconds() / 60
    if now >= until:
        return Quiet(True, None, f"No errors in the journals for {minutes:.0f} minutes.")
    return Quiet(False, until, f"{loudest or 'It is not watched for so long.'} Quiet enough at {until:%H:%M:%S} UTC.")
