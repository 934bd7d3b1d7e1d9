"""The risk of a plan, the people whom it needs, and which of their voices still count: tables without a database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from deployments.engine import voices
from deployments.engine.risk import LEVELS, Facts, Risk, assess
from deployments.engine.voices import Voice, standing

STAGING = Facts("staging")
PRODUCTION = Facts("production", promoted_to=True, hosts=6, at_once=1)


@pytest.mark.parametrize(
    ("facts", "in_staging", "in_production"),
    [
        ({}, "low", "medium"),
        ({"tier": "LOW"}, "low", "medium"),
        ({"tier": "MEDIUM"}, "low", "medium"),
        ({"tier": "HIGH"}, "medium", "high"),
        ({"tier": "CRITICAL"}, "high", "critical"),
        ({"schema_change": "none"}, "low", "medium"),
        ({"schema_change": "expand"}, "low", "medium"),
        ({"schema_change": "contract"}, "medium", "high"),
        ({"schema_change": "irreversible"}, "high", "critical"),
        ({"hosts": 9, "at_once": 9}, "low", "medium"),
        ({"hosts": 10, "at_once": 10}, "medium", "high"),
        ({"hosts": 10, "at_once": 5}, "medium", "high"),
        ({"hosts": 10, "at_once": 4}, "low", "medium"),
        ({"hosts": 200, "at_once": 2}, "low", "medium"),
        ({"failed_here": 1}, "medium", "high"),
        ({"failed_elsewhere": 3}, "low", "medium"),
        ({"in_a_row": 1}, "low", "medium"),
        ({"in_a_row": 2}, "medium", "high"),
        ({"no_way_back": ("p1",)}, "medium", "high"),
        ({"tier": "HIGH", "schema_change": "irreversible", "in_a_row": 2}, "high", "critical"),
    ],
)
def test_the_risk_is_the_highest_that_any_fact_speaks_for_and_one_level_less_where_nothing_is_promoted_to(
    facts, in_staging, in_production
):
    assert assess(replace(STAGING, **facts)).risk == in_staging
    assert assess(replace(PRODUCTION, **facts)).risk == in_production


def test_each_reason_is_a_sentence_with_the_level_it_speaks_for_the_highest_first():
    facts = replace(
        PRODUCTION, tier="HIGH", schema_change="irreversible", hosts=60, at_once=60, failed_here=2, failed_elsewhere=1,
        in_a_row=3, no_way_back=("p1", "p2"),
    )  # fmt: skip
    told = assess(facts).reasons
    assert [LEVELS.index(level) for level, _ in told] == sorted(
        (LEVELS.index(level) for level, _ in told), reverse=True
    )
    assert told[0] == (Risk.CRITICAL, "its schema change is declared as irreversible")
    words = " / ".join(why for _, why in told)
    for said in (
        "production takes versions by promotion", "has the risk tier HIGH", "60 of 60 hosts begin to serve it at once",
        "it changes 60 hosts", "failed or was undone here 2 times", "undone elsewhere once",
        "the last 3 attempts here failed", "no way back on p1, p2",
    ):  # fmt: skip
        assert said in words


def test_a_plain_version_in_a_staging_is_low_without_a_reason():
    assert assess(STAGING).reasons == ()


def test_the_version_that_nobody_knows_the_tier_or_schema_change_of_is_not_lower_for_it():
    assert assess(replace(PRODUCTION, tier="EXTREME", schema_change="maybe")).risk == Risk.MEDIUM


BY_RISK = {"low": 0, "medium": 1, "high": 2, "critical": 2}


@pytest.mark.parametrize(
    ("demanded", "risk", "people"),
    [(1, "low", 1), (1, "critical", 1), (BY_RISK, "low", 0), (BY_RISK, "high", 2), (BY_RISK, "", 2), (0, "", 0)],
)
def test_a_number_is_for_every_risk_and_an_unknown_risk_counts_as_the_highest(demanded, risk, people):
    assert voices.needed(demanded, risk) == people


@pytest.mark.parametrize(
    ("demanded", "said"),
    [
        (2, ""),
        (BY_RISK, ""),
        (11, "from 0 to 10"),
        (-1, "from 0 to 10"),
        (True, "must be a number of people"),
        ("1", "must be a number of people"),
        ({"low": 0, "high": 1}, "must say how many people each risk needs"),
        ({**BY_RISK, "extreme": 3}, "must say how many people each risk needs"),
        ({**BY_RISK, "high": 11}, "from 0 to 10 people for each risk"),
        ({**BY_RISK, "high": "2"}, "from 0 to 10 people for each risk"),
        ({**BY_RISK, "critical": 1}, "critical has fewer than high"),
        ({**BY_RISK, "low": 2}, "medium has fewer than low"),
    ],
)
def test_a_demand_names_every_risk_and_a_higher_one_never_needs_fewer(demanded, said):
    assert (said in voices.wrong(demanded)) if said else voices.wrong(demanded) == ""


@pytest.mark.parametrize(
    ("own", "environments", "looser"),
    [
        (2, 1, False), (0, 1, True), (1, BY_RISK, True), (2, BY_RISK, False), (BY_RISK, 1, True), (BY_RISK, 0, False),
        ({**BY_RISK, "critical": 3}, BY_RISK, False), ({**BY_RISK, "medium": 0}, BY_RISK, True),
    ],
)  # fmt: skip
def test_an_installation_asks_as_many_people_for_each_risk_or_more(own, environments, looser):
    assert voices.looser(own, environments) is looser


NOW = datetime(2026, 7, 3, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_yes_counts_until_it_expires_and_then_says_whose_it_was():
    said = [Voice("bob", NOW - DAY), Voice("carol", NOW - DAY / 2)]
    both = standing(said, needed=2, lives=DAY, now=NOW - timedelta(seconds=1))
    assert (both.count, both.until, both.expired) == (2, NOW, "")
    later = standing(said, needed=2, lives=DAY, now=NOW)
    assert (later.count, later.until) == (1, None)
    assert later.expired == "that of bob expired at 2026-07-03 12:00 UTC"


def test_with_more_yes_than_needed_it_holds_until_one_too_many_has_expired():
    said = [Voice("bob", NOW - DAY / 2), Voice("carol", NOW - DAY / 4), Voice("dora", NOW)]
    assert standing(said, needed=2, lives=DAY, now=NOW).until == NOW + DAY * 3 / 4
    assert standing(said, needed=3, lives=DAY, now=NOW).until == NOW + DAY / 2
    assert standing(said, needed=0, lives=DAY, now=NOW).until is None
