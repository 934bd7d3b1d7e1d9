"""Periods by the wall clock: what holds when, over both changes of the clocks, months, years and each other."""

from datetime import UTC, datetime, timedelta

import pytest

from deployments.engine.calendar import Period, Unreadable, holding, opens, read, said, spells, written

BERLIN = "Europe/Berlin"


def period(first: str, last: str, zone: str = BERLIN, days: list[str] | None = None) -> Period:
    return read({"from": first, "to": last, "zone": zone, "days": days or []})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


WEEKEND = period("friday 16:00", "monday 08:00")
CHRISTMAS = period("24 december", "26 december")
NIGHT = period("22:00", "06:00", days=["friday", "saturday"])


@pytest.mark.parametrize(
    ("frozen", "now", "until"),
    [
        # Summer, UTC+2: to the minute, the end is no part of it.
        (WEEKEND, "2026-07-03 13:59", None),
        (WEEKEND, "2026-07-03 14:00", "2026-07-06 06:00"),
        (WEEKEND, "2026-07-06 05:59", "2026-07-06 06:00"),
        (WEEKEND, "2026-07-06 06:00", None),
        # Winter, UTC+1.
        (WEEKEND, "2026-12-04 15:00", "2026-12-07 07:00"),
        # The clocks go forward in it (29 March 2026) and back (25 October 2026): still Friday 16:00 to Monday 08:00.
        (WEEKEND, "2026-03-27 15:00", "2026-03-30 06:00"),
        (WEEKEND, "2026-10-23 14:00", "2026-10-26 07:00"),
        # Over the end of a month and of a year.
        (WEEKEND, "2026-05-31 12:00", "2026-06-01 06:00"),
        (WEEKEND, "2027-01-01 20:00", "2027-01-04 07:00"),
        (CHRISTMAS, "2026-12-23 22:59", None),
        (CHRISTMAS, "2026-12-23 23:00", "2026-12-26 23:00"),
        (CHRISTMAS, "2031-12-26 22:59", "2031-12-26 23:00"),
        (CHRISTMAS, "2026-12-26 23:00", None),
        (period("30 december 18:00", "2 january 09:00"), "2027-01-01 12:00", "2027-01-02 08:00"),
        (period("30 december 18:00", "2 january 09:00"), "2026-12-31 12:00", "2027-01-02 08:00"),
        # Weekdays without an hour are whole days; the same day twice is that day.
        (period("saturday", "sunday"), "2026-07-03 22:00", "2026-07-05 22:00"),
        (period("friday", "friday"), "2026-07-03 12:00", "2026-07-03 22:00"),
        (period("friday", "friday"), "2026-07-03 22:00", None),
        # Of every day, over midnight, on the evenings that are named.
        (NIGHT, "2026-07-03 20:00", "2026-07-04 04:00"),
        (NIGHT, "2026-07-05 03:59", "2026-07-05 04:00"),
        (NIGHT, "2026-07-05 20:30", None),
        # A day that most years lack is the moment between the days around it.
        (period("29 february", "29 february", "UTC"), "2028-02-29 10:00", "2028-03-01 00:00"),
        (period("29 february", "29 february", "UTC"), "2027-03-01 00:00", None),
        (period("20 february", "29 february", "UTC"), "2027-02-28 23:59", "2027-03-01 00:00"),
        # Once.
        (period("2026-12-24 16:00", "2027-01-02 08:00"), "2026-12-24 15:00", "2027-01-02 07:00"),
        (period("2026-12-24", "2026-12-24"), "2026-12-24 22:59", "2026-12-24 23:00"),
        (period("2026-12-24", "2026-12-24"), "2027-12-24 12:00", None),
        # West of Greenwich the same wall clock is another day in UTC.
        (period("friday 20:00", "saturday 06:00", "America/Los_Angeles"), "2026-07-04 03:00", "2026-07-04 13:00"),
    ],
)
def test_a_period_holds_by_the_clocks_of_its_zone_and_says_until_when(frozen, now, until):
    found = holding([frozen], utc(now))
    assert (found[1] if found else None) == (utc(until) if until else None)


@pytest.mark.parametrize(
    ("wall", "first", "last"),
    [
        # 02:30 does not exist on 29 March 2026: it is the moment in which clocks go from 02:00 to 03:00, 01:00 UTC.
        ("2026-03-29 02:30", "2026-03-29 01:00", "2026-03-29 01:00"),
        ("2026-03-29 01:59", "2026-03-29 00:59", "2026-03-29 00:59"),
        ("2026-03-29 03:00", "2026-03-29 01:00", "2026-03-29 01:00"),
        # 02:30 comes twice on 25 October 2026.
        ("2026-10-25 02:30", "2026-10-25 00:30", "2026-10-25 01:30"),
    ],
)
def test_an_hour_that_is_skipped_or_comes_twice_freezes_longer_and_opens_shorter(wall, first, last):
    ends = period("2026-01-01", wall)
    assert [spell.ends for spell in spells(ends, utc("2026-03-01 00:00"), wide=True)] == [utc(last)]
    assert [spell.ends for spell in spells(ends, utc("2026-03-01 00:00"), wide=False)] == [utc(first)]
    begins = period(wall, "2026-12-31")
    assert [spell.starts for spell in spells(begins, utc("2026-03-01 00:00"), wide=True)] == [utc(first)]
    assert [spell.starts for spell in spells(begins, utc("2026-03-01 00:00"), wide=False)] == [utc(last)]


def test_a_night_in_which_clocks_change_is_an_hour_shorter_or_longer():
    every = period("22:00", "06:00")
    lengths = {}
    for now in ("2026-03-28 22:00", "2026-07-01 21:00", "2026-10-24 21:00"):
        [spell] = [s for s in spells(every, utc(now)) if s.starts <= utc(now) < s.ends]
        lengths[now] = (spell.ends - spell.starts) / timedelta(hours=1)
    assert list(lengths.values()) == [7, 8, 9]


def test_periods_that_overlap_or_touch_hold_until_the_last_of_them_ends_and_that_one_is_named():
    inventory = period("monday 08:00", "monday 12:00")
    party = period("2026-07-04 10:00", "2026-07-05 10:00")
    named, until = holding([WEEKEND, party, inventory], utc("2026-07-04 12:00")) or (None, None)
    assert (named, until) == (inventory, utc("2026-07-06 10:00"))
    named, until = holding([party, WEEKEND], utc("2026-07-04 12:00")) or (None, None)
    assert (named, until) == (WEEKEND, utc("2026-07-06 06:00"))


def test_what_never_ends_is_looked_at_again_within_a_year_or_so():
    always = period("00:00", "00:00", "UTC")
    found = holding([always], utc("2026-07-04 12:00"))
    assert found is not None and timedelta(days=365) < found[1] - utc("2026-07-04 12:00") < timedelta(days=370)


WORK = period("09:00", "16:00", days=["tuesday", "wednesday", "thursday"])


@pytest.mark.parametrize(
    ("now", "next_one"),
    [
        ("2026-07-07 07:00", None),  # Tuesday 09:00
        ("2026-07-07 13:59", None),
        ("2026-07-07 14:00", "2026-07-08 07:00"),
        ("2026-07-09 14:00", "2026-07-14 07:00"),
        ("2026-10-23 12:00", "2026-10-27 08:00"),  # over the change of the clocks
        ("2026-03-27 12:00", "2026-03-31 07:00"),
        ("2026-04-30 20:00", "2026-05-05 07:00"),
    ],
)
def test_a_window_is_open_by_the_clocks_of_its_zone_and_the_next_opening_is_told(now, next_one):
    assert opens([WORK], utc(now)) == (utc(next_one) if next_one else None)


def test_one_open_window_is_enough_and_none_is_always_open():
    saturday = period("saturday 10:00", "saturday 12:00")
    assert opens([WORK, saturday], utc("2026-07-04 09:00")) is None
    assert opens([WORK, saturday], utc("2026-07-03 09:00")) == utc("2026-07-04 08:00")
    assert opens([], utc("2026-07-03 09:00")) is None


@pytest.mark.parametrize(
    ("declared", "field", "message"),
    [
        ({"to": "monday 08:00", "zone": "UTC"}, "from", "must be given"),
        ({"from": 960, "to": "18:00", "zone": "UTC"}, "from", "text in quotes"),
        ({"from": "someday", "to": "monday", "zone": "UTC"}, "from", "such as"),
        ({"from": "friday 24:00", "to": "monday", "zone": "UTC"}, "from", "no time of the day"),
        ({"from": "31 february", "to": "1 march", "zone": "UTC"}, "from", "no such day of the year"),
        ({"from": "0 may", "to": "1 may", "zone": "UTC"}, "from", "no such day of the year"),
        ({"from": "2026-02-30", "to": "2026-03-01", "zone": "UTC"}, "from", "no such day"),
        ({"from": "1926-02-03", "to": "2026-03-01", "zone": "UTC"}, "from", "between the years"),
        ({"from": "friday", "to": "24 december", "zone": "UTC"}, "to", "of the same kind as from: a weekday"),
        ({"from": "2026-03-02", "to": "2026-03-01", "zone": "UTC"}, "to", "later than from"),
        ({"from": "friday", "to": "monday"}, "zone", "must be given"),
        ({"from": "friday", "to": "monday", "zone": "Europe/Bärlin"}, "zone", "no time zone that this machine knows"),
        ({"from": "friday", "to": "monday", "zone": "../etc/passwd"}, "zone", "no time zone"),
        ({"from": "friday", "to": "monday", "zone": "UTC", "days": ["monday"]}, "days", "time of the day alone"),
        ({"from": "08:00", "to": "09:00", "zone": "UTC", "days": ["moonday"]}, "days", "must be a list of monday"),
        ({"from": "08:00", "to": "09:00", "zone": "UTC", "days": "monday"}, "days", "must be a list of monday"),
    ],
)
def test_what_is_no_period_is_refused_by_field_with_what_it_should_be(declared, field, message):
    with pytest.raises(Unreadable) as refused:
        read(declared)
    assert message in dict(refused.value.errors)[field]


def test_every_mistake_is_told_at_once():
    with pytest.raises(Unreadable) as refused:
        read({"from": "x", "to": 5, "zone": "nowhere", "days": [1]})
    assert set(dict(refused.value.errors)) == {"from", "to", "zone", "days"}


@pytest.mark.parametrize(
    ("declared", "form", "sentence"),
    [
        (("Fri 16:00", "mon 8:00"), ("friday 16:00", "monday 08:00"), "every week friday 16:00 to monday 08:00"),
        (("24  Dec", "26 December"), ("24 december", "26 december"), "every year 24 december to 26 december"),
        (("9:00", "16:00"), ("09:00", "16:00"), "every day 09:00 to 16:00"),
        (("2026-12-24T16:00", "2027-01-02"), ("2026-12-24 16:00", "2027-01-02"), "2026-12-24 16:00 to 2027-01-02"),
    ],
)
def test_a_period_has_one_written_form_which_reads_as_itself(declared, form, sentence):
    one = period(*declared)
    told = written(one)
    assert (told["from"], told["to"]) == form
    assert read(told) == one
    assert said(one) == f"{sentence} {BERLIN}"
