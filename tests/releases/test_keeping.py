"""Which artifacts may go, by the facts alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from releases.keeping import Rule, Use, why_kept

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD, YOUNG = NOW - timedelta(days=91), NOW - timedelta(days=89)
RULE = Rule(days=90, newest=10)


def use(**known: object) -> Use:
    return Use(**{"name": "shop 1.0.0", "place": 10, "last": OLD, **known})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("uses", "came", "why"),
    [
        ([use()], OLD, ""),
        ([], OLD, ""),
        ([], YOUNG, "it was last used 89 days ago"),
        ([use()], YOUNG, "it was last used 89 days ago"),
        ([use(last=YOUNG)], OLD, "it was last used 89 days ago"),
        ([use(last=NOW - timedelta(days=90))], OLD, "it was last used 90 days ago"),
        ([use(place=9)], OLD, "shop 1.0.0 is one of the 10 newest"),
        ([use(needed="runs, by our record, in production")], OLD, "shop 1.0.0 runs, by our record, in production"),
        ([use(), use(name="mail 2.0.0", needed="was last seen in staging")], OLD, "mail 2.0.0 was last seen"),
        ([use(), use(last=YOUNG)], OLD, "it was last used"),
    ],
)
def test_an_artifact_goes_when_it_is_old_and_neither_needed_nor_new(uses: list[Use], came: datetime, why: str) -> None:
    said = why_kept(uses, came, RULE, NOW)
    assert said.startswith(why) and bool(said) == bool(why)
