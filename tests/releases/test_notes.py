"""Release notes: the versions of a range with what is known of each, and nothing that others wrote as markup."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aureus.journal.actor import EVERYWHERE, Actor, Role
from aureus.journal.refusals import Invalid, NotFound
from releases import evidence, noting, registry
from releases.models import Version
from releases.notes import as_json, evidence_said, markdown, plain, said_in
from tests.releases.hostile import HERE

ALICE = Actor("alice")
CID = Actor("cid", "user", {EVERYWHERE: frozenset({Role.CI})})
ASK, TELL = {"id": "ask", "tool": "http"}, {"id": "tell", "tool": "http", "dependsOn": ["ask"]}
HOSTILE = "<script>alert(1)</script> [x](javascript:y) *b* `c`\n# Head\n1. one\n- two & three\u202e"


def version(number: str, *tasks: dict[str, Any], **metadata: Any) -> Version:
    spec = {"id": "shop", "name": "Shop", "tasks": list(tasks or (ASK,))}
    return registry.register(spec, number, actor=ALICE, label="dev@example.com", metadata=metadata)[0]


@pytest.fixture
def range_of(db: None) -> Version:
    """1.0.0, then 1.1.0-rc.1 and 1.1.0 with a new task, then 1.1.1, which was registered before 1.1.0."""
    version("1.0.0")
    newest = version("1.1.1", ASK, TELL, gitCommit="abc1234", releaseNotes="Mends the sum.")
    version("1.1.0-rc.1", ASK, TELL)
    version("1.1.0", ASK, TELL, changelog="Tells people.")
    evidence.add_file(newest.pk, "tests", (HERE / "pytest.xml").read_bytes(), name="junit", actor=CID)
    evidence.add_file(newest.pk, "coverage", (HERE / "coverage-py.xml").read_bytes(), name="cobertura", actor=CID)
    return newest


def numbers(since: str | None, of: Version) -> list[str]:
    return [one.number for one in noting.of(of.pk, since).entries]


def test_notes_are_of_the_versions_above_one_up_to_the_other_by_precedence(range_of: Version) -> None:
    assert noting.of(range_of.pk).since == "1.1.0"
    assert numbers(None, range_of) == ["1.1.1"]
    assert numbers("v1.0.0", range_of) == ["1.1.1", "1.1.0", "1.1.0-rc.1"]
    first = Version.objects.get(number="1.0.0")
    assert numbers(str(first.pk), range_of) == numbers("1.0.0", range_of)
    assert numbers("1.1.0-rc.1", range_of) == ["1.1.1", "1.1.0"]
    alone = noting.of(first.pk)
    assert (alone.since, [one.number for one in alone.entries]) == ("", ["1.0.0"])


def test_each_version_tells_who_when_of_what_and_what_is_known_of_it(range_of: Version) -> None:
    told = as_json(noting.of(range_of.pk, "1.0.0"))
    newest, minor, candidate = told["versions"]
    assert (newest["createdBy"], newest["gitCommit"], newest["notes"]) == (
        "dev@example.com", "abc1234", "Mends the sum."
    )  # fmt: skip
    assert newest["evidence"] == ["coverage: 20 of 21 lines covered (95.2 %)", "tests: 4 of 5 tests passed"]
    assert (newest["after"], newest["changes"], newest["demands"]) == ("1.1.0", [], None)
    assert (minor["notes"], minor["changes"]) == ("Tells people.", [])
    assert candidate["changes"] == [{"task": "tell", "change": "is new", "demands": "MINOR"}]
    text = markdown(noting.of(range_of.pk, "1.0.0"))
    for line in (
        "# shop 1.1.1", "What came since 1.0.0.", "## 1.1.0-rc.1", "> Mends the sum.", "- tell is new",
        "- tests: 4 of 5 tests passed", "- The workflow is that of 1.1.0.",
    ):  # fmt: skip
        assert line in text.splitlines(), text
    assert ", commit abc1234." in text


def test_what_was_withdrawn_says_so_and_what_breaks_is_marked(range_of: Version) -> None:
    registry.withdraw(Version.objects.get(number="1.1.0").pk, reason="It lost orders.", actor=ALICE)
    broken = version("2.0.0", TELL | {"dependsOn": []})
    text = markdown(noting.of(broken.pk, "1.0.0"))
    assert "**Withdrawn**: It lost orders." in text and "- **Breaking**: ask was removed" in text


def test_a_range_that_is_none_is_refused(range_of: Version) -> None:
    for since in ("1.1.1", "2.0.0"):
        with pytest.raises((Invalid, NotFound)):
            noting.of(range_of.pk, since)
    version("2.0.0", ASK)
    with pytest.raises(Invalid, match=r"shop 2\.0\.0 is not lower than shop 1\.1\.1"):
        noting.of(range_of.pk, "2.0.0")
    with pytest.raises(Invalid, match="number or id"):
        noting.of(range_of.pk, "../../etc")


def test_a_long_range_shows_its_newest_versions_and_counts_the_rest(db: None) -> None:
    first = version("1.0.0")
    Version.objects.bulk_create(
        Version(application=first.application, number=f"1.0.{patch}", spec=first.spec, digest="d", created_by="alice")
        for patch in range(1, noting.MOST_VERSIONS + 3)
    )
    told = noting.of(Version.objects.get(number=f"1.0.{noting.MOST_VERSIONS + 2}").pk, "1.0.0")
    assert (len(told.entries), told.left_out) == (noting.MOST_VERSIONS, 2)
    assert told.entries[-1].after == "1.0.2"
    assert "2 older versions of the range are not shown." in markdown(told)


def test_what_others_wrote_is_no_markup(db: None) -> None:
    made = version("1.0.0", ASK, notes=HOSTILE, gitCommit="<b>")
    text = markdown(noting.of(made.pk))
    assert "<script" not in text and "<b>" not in text and "\u202e" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\[x\\](javascript:y) \\*b\\* \\`c\\`" in text
    assert [line for line in text.splitlines() if line.startswith("#")] == ["# shop 1.0.0", "## 1.0.0"]
    assert plain("# a\nb", lines=True) == "\\# a\nb" and plain("1) a", lines=True) == "\\1) a"


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, ""),
        ({"notes": 5, "changelog": "b"}, "b"),
        ({"releaseNotes": "a", "notes": "b"}, "a"),
        ({"notes": "x" * 20_000}, "x" * 10_000),
    ],
)
def test_notes_are_the_first_text_of_the_metadata(metadata: dict[str, Any], said: str) -> None:
    assert said_in(metadata) == said


def test_every_kind_of_evidence_has_its_sentence() -> None:
    rows = [
        ("tests", {"passed": 4, "total": 5}, "4 of 5 tests passed"),
        ("coverage", {"covered": 0, "valid": 0}, "0 of 0 lines covered"),
        (
            "vulnerabilities",
            {"critical": 1, "high": 0, "moderate": 2, "low": 0},
            "1 critical, 0 high, 2 moderate, 0 low",
        ),
        ("review", {"approved": True, "reviewer": "bo"}, "approved by bo"),
        ("policy", {"total": 3, "failed": 1}, "2 of 3 passed"),
        ("on_call_named", {"note": "Bo is on call."}, "Bo is on call."),
        ("anything", {}, ""),
    ]
    assert [evidence_said(kind, json.loads(json.dumps(summary))) for kind, summary, _ in rows] == [s for *_, s in rows]


def test_notes_name_a_schema_change_and_say_nothing_where_none_was_declared(range_of: Version) -> None:
    spec = {"id": "shop", "name": "Shop", "tasks": [ASK, TELL]}
    last, _ = registry.register(spec, "1.1.2", actor=ALICE, schema_change="contract")
    notes = noting.of(last.pk, "1.1.0")
    assert [one["schemaChange"] for one in as_json(notes)["versions"]] == ["contract", "none"]
    assert markdown(notes).count("**Schema change**: contract") == markdown(notes).count("Schema change") == 1
