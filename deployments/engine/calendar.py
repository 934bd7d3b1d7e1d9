"""Periods by the wall clock of a place: a single one, or one of every day, week or year; when one holds, how long.

Everything is counted in days and hours as people of that place read them, and turned into instants one by one, so that
a change of its clocks moves no period. An hour that the clocks skip is the moment in which they skip it; of one that
comes twice the edge is chosen by who asks: a freeze lasts as long as either reading says, a window no longer than both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
          "november", "december")  # fmt: skip
DAY, YEAR = timedelta(days=1), timedelta(days=366)
FIELDS = ("from", "to", "days", "zone")
_TIME = r"(?P<time>\d{1,2}:\d{2})"
_ONCE = re.compile(rf"(?P<date>\d{{4}}-\d\d-\d\d)(?:[ T]{_TIME})?")
_YEARLY = re.compile(rf"(?P<day>\d{{1,2}}) (?P<month>[a-z]+)(?: {_TIME})?")
_WEEKLY = re.compile(rf"(?P<weekday>[a-z]+)(?: {_TIME})?")
_DAILY = re.compile(_TIME)
LIKE = 'such as "friday 16:00", "24 december", "08:00" or "2026-12-24 16:00"'


class Unreadable(ValueError):
    """It is no period; `errors` names each field and what is wrong with it."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{name}: {message}" for name, message in errors))


@dataclass(frozen=True, slots=True)
class Edge:
    """Where a period begins or ends. kind: instant, once, year, week or day; at: None means the whole day.

    place: an instant, a date, (month, day), or the number of a weekday from 0 for Monday.
    """

    kind: str
    place: Any = None
    at: time | None = None


@dataclass(frozen=True, slots=True)
class Period:
    """From an edge to an edge of the same kind, in a zone. days: of a daily one, the weekdays on which it begins."""

    first: Edge
    last: Edge
    zone: str
    days: tuple[int, ...] = ()

    @property
    def repeats(self) -> bool:
        """It comes again."""
        return self.first.kind not in ("instant", "once")


@dataclass(frozen=True, slots=True)
class Spell:
    """One occurrence of a period, as instants: it holds from its start until before its end."""

    starts: datetime
    ends: datetime


def read(declared: Mapping[str, Any]) -> Period:
    """A period as people declare it: from, to, zone, and for a daily one days. Raises Unreadable."""
    errors: list[tuple[str, str]] = []
    first, last = (_edge(declared.get(name), name, errors) for name in ("from", "to"))
    if first and last and first.kind != last.kind:
        errors.append(("to", f"must be of the same kind as from: a {WORDS[first.kind]}"))
    if first and last and first.kind == last.kind == "once" and _end(first, last) <= _start(first):
        errors.append(("to", "must be later than from"))
    days = _days(declared.get("days"), first, errors)
    zone = declared.get("zone")
    if message := wrong_zone(zone):
        errors.append(("zone", message))
    if errors or first is None or last is None:
        raise Unreadable(errors)
    return Period(first, last, str(zone), days)


WORDS = {"once": "date", "year": "day of the year", "week": "weekday", "day": "time of the day"}


def wrong_zone(zone: object) -> str:
    """What is wrong with a time zone's name; "" where it is one."""
    if not isinstance(zone, str) or not zone:
        return 'must be given, such as "Europe/Berlin" or "UTC"'
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError):
        return f"{zone[:60]!r} is no time zone that this machine knows; take one such as Europe/Berlin or UTC"
    return ""


def _edge(said: object, name: str, errors: list[tuple[str, str]]) -> Edge | None:
    if not isinstance(said, str):
        errors.append((name, "must be given" if said is None else f"must be text in quotes, {LIKE}"))
        return None
    text = " ".join(said.lower().split())
    try:
        return _once(said.strip()) or _daily(text) or _yearly(text) or _weekly(text)
    except ValueError as error:
        errors.append((name, str(error)))
        return None


def _once(text: str) -> Edge | None:
    found = _ONCE.fullmatch(text)
    if found is None:
        return None
    try:
        day = date.fromisoformat(found["date"])
    except ValueError:
        raise ValueError(f"{text!r}: there is no such day") from None
    if not 2000 <= day.year <= 2200:
        raise ValueError(f"{text!r} must lie between the years 2000 and 2200")
    return Edge("once", day, _time(found["time"]))


def _daily(text: str) -> Edge | None:
    found = _DAILY.fullmatch(text)
    return Edge("day", None, _time(found["time"])) if found else None


def _yearly(text: str) -> Edge | None:
    found = _YEARLY.fullmatch(text)
    if found is None:
        return None
    month = _named(found["month"], MONTHS)
    if month is None or not 1 <= int(found["day"]) <= _longest(month + 1):
        raise ValueError(f"{text!r}: there is no such day of the year")
    return Edge("year", (month + 1, int(found["day"])), _time(found["time"]))


def _weekly(text: str) -> Edge:
    found = _WEEKLY.fullmatch(text)
    weekday = _named(found["weekday"], DAYS) if found else None
    if found is None or weekday is None:
        raise ValueError(f"{text[:60]!r} must be {LIKE}")
    return Edge("week", weekday, _time(found["time"]))


def _named(word: str, names: Sequence[str]) -> int | None:
    """Its number by its English name, or the first three letters of it."""
    return next((number for number, name in enumerate(names) if word in (name, name[:3])), None)


def _longest(month: int) -> int:
    return 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31


def _time(text: str | None) -> time | None:
    if text is None:
        return None
    hour, minute = (int(part) for part in text.split(":"))
    if hour > 23 or minute > 59:
        raise ValueError(f"{text} is no time of the day, from 00:00 to 23:59")
    return time(hour, minute)


def _days(said: object, first: Edge | None, errors: list[tuple[str, str]]) -> tuple[int, ...]:
    if said is None or said == [] or said == ():
        return ()
    if first is not None and first.kind != "day":
        errors.append(("days", 'go with a time of the day alone: from: "09:00", to: "16:00", days: [monday]'))
    names = list(said) if isinstance(said, list | tuple) else []
    found = [_named(name.lower(), DAYS) if isinstance(name, str) else None for name in names]
    if not found or None in found:
        errors.append(("days", f"must be a list of {', '.join(DAYS)}"))
    return tuple(sorted({number for number in found if number is not None}))


def written(period: Period) -> dict[str, Any]:
    """The period as it is declared, in one form."""
    return {
        "from": _written(period.first, period.zone), "to": _written(period.last, period.zone),
        "days": [DAYS[number] for number in period.days], "zone": period.zone,
    }  # fmt: skip


def _written(edge: Edge, zone: str) -> str:
    at = f"{edge.at:%H:%M}" if edge.at is not None else ""
    match edge.kind:
        case "instant":
            words = f"{edge.place.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"
        case "once":
            words = edge.place.isoformat()
        case "year":
            words = f"{edge.place[1]} {MONTHS[edge.place[0] - 1]}"
        case "week":
            words = DAYS[edge.place]
        case _:
            words = ""
    return f"{words} {at}".strip()


def said(period: Period) -> str:
    """The period as the rest of a sentence."""
    edges = f"{_written(period.first, period.zone)} to {_written(period.last, period.zone)}"
    days = f" on {', '.join(DAYS[number] for number in period.days)}" if period.days else ""
    every = {"year": "every year ", "week": "every week ", "day": "" if period.days else "every day "}
    return f"{every.get(period.first.kind, '')}{edges}{days} {period.zone}"


def spells(period: Period, now: datetime, *, wide: bool = True) -> list[Spell]:
    """Those around a time: every one that holds then, and at least the next one. wide: see the module."""
    if period.first.kind == "instant":
        return [Spell(period.first.place, period.last.place)]
    zone = ZoneInfo(period.zone)
    here = now.astimezone(zone).date()
    found = []
    for begins, ends in _around(period, here):
        starts, stops = instant(begins, zone, later=not wide), instant(ends, zone, later=wide)
        if starts < stops:
            found.append(Spell(starts, stops))
    return sorted(found, key=lambda spell: spell.starts)


def _around(period: Period, here: date) -> Iterator[tuple[datetime, datetime]]:
    """Wall-clock edges of the occurrences that begin near a day."""
    first, last = period.first, period.last
    match first.kind:
        case "once":
            yield _start(first), _end(first, last)
        case "year":
            for year in range(here.year - 2, here.year + 3):
                begins = _of_year(year, first, end=False)
                ends = _of_year(year, last, end=True)
                yield begins, ends if _after_in_year(first, last) else _of_year(year + 1, last, end=True)
        case _:
            for number in range(-9, 10):
                day = here + number * DAY
                if _begins_on(period, day):
                    yield _start(first, day), _end(first, last, day)


def _begins_on(period: Period, day: date) -> bool:
    if period.first.kind == "week":
        return bool(day.weekday() == period.first.place)
    return not period.days or day.weekday() in period.days


def _start(edge: Edge, day: date | None = None) -> datetime:
    return datetime.combine(day or edge.place, edge.at or time.min)


def _end(first: Edge, last: Edge, day: date | None = None) -> datetime:
    """The end of what begins on this day: a day without a time is over when the next one begins."""
    over = day or last.place
    if day is not None:
        days = (last.place - first.place) % 7 if first.kind == "week" else 0
        if not days and last.at is not None and last.at <= (first.at or time.min):
            days = 7 if first.kind == "week" else 1
        over = day + days * DAY
    return datetime.combine(over, last.at) if last.at is not None else datetime.combine(over + DAY, time.min)


def _after_in_year(first: Edge, last: Edge) -> bool:
    """Whether it ends in the year in which it began."""
    return bool((last.place, last.at or time.max) > (first.place, first.at or time.min))


def _of_year(year: int, edge: Edge, *, end: bool) -> datetime:
    """29 February is, in a year without one, the moment between the days on both sides of it."""
    month, day = edge.place
    try:
        there = date(year, month, day)
    except ValueError:
        return datetime(year, 3, 1)
    if edge.at is not None:
        return datetime.combine(there, edge.at)
    return datetime.combine(there + DAY if end else there, time.min)


def instant(wall: datetime, zone: ZoneInfo, *, later: bool) -> datetime:
    """When clocks there show this. Shown twice: the earlier or the later; skipped: when they skip it."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:
        return second if later else first
    before, low, high = wall.replace(tzinfo=zone, fold=0).utcoffset(), second, first
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    return high.replace(microsecond=0)


def holding(periods: Iterable[Period], now: datetime) -> tuple[Period, datetime] | None:
    """Which period holds now, of several the one that holds longest, and when none holds any more.

    Looked at a year ahead at most: where one follows the other for ever, that is when to look again.
    """
    every = list(periods)
    first = _longest_at(every, now)
    if first is None:
        return None
    period, until = first
    while until < now + YEAR:
        following = _longest_at(every, until)
        if following is None:
            break
        period, until = following
    return period, until


def _longest_at(periods: Sequence[Period], at: datetime) -> tuple[Period, datetime] | None:
    there = [(p, spell.ends) for p in periods for spell in spells(p, at) if spell.starts <= at < spell.ends]
    return max(there, key=lambda found: found[1], default=None)


def opens(windows: Iterable[Period], now: datetime) -> datetime | None:
    """When the next of these weekly or daily windows opens; None where one is open now, or there is none."""
    found = [spell for period in windows for spell in spells(period, now, wide=False)]
    if any(spell.starts <= now < spell.ends for spell in found):
        return None
    return min((spell.starts for spell in found if spell.starts > now), default=None)


def shown(at: datetime, zone: str) -> str:
    """A time as people of a zone read it."""
    return f"{at.astimezone(ZoneInfo(zone)):%A %Y-%m-%d %H:%M} {zone}"
