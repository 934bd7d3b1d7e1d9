"""The preset `basic`: four gates, each with a reason a person can act on."""

from dataclasses import replace

import pytest

from releases.facts import SourceFacts
from releases.gates import UnknownPreset, check, reasons_against

GOOD = SourceFacts(
    deployment="d1", environment="staging", status="deployed", version="1.2.3",
    digest_deployed="a" * 64, digest_now="a" * 64, smoke="passed", smoke_run="s1",
)  # fmt: skip


def test_a_deployed_and_smoke_tested_version_passes_every_gate():
    answers = check("basic", GOOD)
    assert [answer.name for answer in answers] == [
        "source_deployed", "smoke_passed", "not_withdrawn", "digest_unchanged",
    ]  # fmt: skip
    assert all(answer.passed for answer in answers)
    assert reasons_against(answers) == ()


@pytest.mark.parametrize(
    ("change", "gate", "words"),
    [
        ({"status": "in_progress"}, "source_deployed", "is in_progress"),
        ({"status": "rolled_back"}, "source_deployed", "is rolled_back"),
        ({"smoke": None}, "smoke_passed", "No smoke tests were run"),
        ({"smoke": "failed"}, "smoke_passed", "failed on staging"),
        ({"smoke": "running"}, "smoke_passed", "still running"),
        ({"smoke": "lost"}, "smoke_passed", "ended as lost"),
        ({"withdrawn": True, "withdrawn_reason": "leaks memory"}, "not_withdrawn", "withdrawn: leaks memory"),
        ({"digest_now": "b" * 64}, "digest_unchanged", "register a new version"),
        ({"digest_now": "", "digest_deployed": ""}, "digest_unchanged", "unknown"),
    ],
)
def test_one_missing_fact_closes_its_gate_alone_and_says_why(change, gate, words):
    answers = check("basic", replace(GOOD, **change))
    assert [answer.name for answer in answers if not answer.passed] == [gate]
    (reason,) = reasons_against(answers)
    assert words in reason


def test_an_unknown_preset_is_refused_with_those_that_exist():
    with pytest.raises(UnknownPreset, match="there is basic"):
        check("strict", GOOD)
