"""A small form of `make judging`: drawn windows through the judge, and the table that the page shows."""

import random

import pytest

from benchmarks.judging import BEGIN, BLIPS, END, FILE, HEAD, RATES, SERVICES, THRESHOLD, ours, window

SEED = 7


def endings(per_minute: int, service: str, count: int) -> list[tuple[str, int]]:
    rng = random.Random(f"{SEED} {per_minute} {service}")
    return [ours(window(rng, per_minute, service)) for _ in range(count)]


@pytest.mark.parametrize("per_minute", RATES)
@pytest.mark.parametrize("service", ["0.2 %", "0.5 %", BLIPS])
def test_a_version_that_is_well_is_not_rolled_back(per_minute, service):
    assert all(how != "rolled back" for how, _ in endings(per_minute, service, 10))


def test_at_a_hundred_requests_a_minute_each_version_ends_as_the_guide_says():
    assert {how for how, _ in endings(100, "0.5 %", 10)} == {"passed"}
    assert {how for how, _ in endings(100, "3 %", 10)} == {"held"}
    assert {how for how, _ in endings(100, "6 %", 10)} == {"rolled back"}
    assert max(minute for _, minute in endings(100, "20 %", 10)) <= 5


def test_looking_more_often_rolls_back_no_more():
    rng = random.Random(SEED)
    assert all(ours(window(rng, 20, "0.5 %"), looks=4)[0] != "rolled back" for _ in range(5))


def test_a_plain_threshold_rolls_back_what_is_well():
    rng = random.Random(SEED)
    assert all(THRESHOLD(window(rng, 100, "0.5 %"))[0] == "rolled back" for _ in range(20))


def test_the_page_shows_every_cell_and_at_most_one_percent_of_false_rollbacks():
    rows = FILE.read_text().split(BEGIN)[1].split(END)[0].splitlines()
    assert rows[0] == HEAD[0] and len(rows) == 2 + len(RATES) * len(SERVICES)
    for row in rows[2:]:
        _, service, share, *_ = (cell.strip() for cell in row.strip("|").split("|"))
        if service in ("0.2 %", "0.5 %", BLIPS):
            assert float(share.strip("<% ")) <= 1, row
