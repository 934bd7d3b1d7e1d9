"""What is sent as JSON of our own: reviews, policy rules, CRV validators, and what people attest. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from releases.reports.json_text import line, mapping, objects, text
from releases.reports.summaries import Attestation, ReportInvalid, Review, Summary, Verdicts

ATTESTATIONS = {
    "documentation_updated": "The documentation is up to date.",
    "on_call_named": "Somebody is on call for this release.",
    "stakeholders_told": "Those who are concerned know of it.",
    "rollback_plan_tested": "The way back was tried.",
    "backup_made": "There is a backup from before this release.",
}
"""What a person may say, and what it means."""
MOST = 10_000
"""Rules or validators in one report."""


def review(report: object) -> Review:
    """`{reviewer, approved, commit}`."""
    given = _only(report, "reviewer", "approved", "commit")
    return Review(
        line(given.get("reviewer"), "reviewer", most=150),
        _flag(given.get("approved"), "approved"),
        line(given.get("commit"), "commit", most=100),
    )


def policy(report: object) -> Verdicts:
    """`{rules: [{name, passed}]}`."""
    return _verdicts(_only(report, "rules"), "rules", "passed", ())


def crv(report: object) -> Verdicts:
    """`{validators: [{name, valid, confidence?}]}`; a confidence is a number from 0 to 1, and not judged."""
    return _verdicts(_only(report, "validators"), "validators", "valid", ("confidence",))


def attestation(kind: str, report: object) -> Attestation:
    """`{note}`; of who is on call `{person, note?}`."""
    given = _only(report, "note", "person") if kind == "on_call_named" else _only(report, "note")
    if kind != "on_call_named":
        return Attestation(_sentence(given.get("note")))
    person = line(given.get("person"), "person", most=150)
    note = given.get("note")
    return Attestation(_sentence(note) if note else f"{person} is on call.", person)


JSON_KINDS: dict[str, Callable[[object], Summary]] = {"review": review, "policy": policy, "crv": crv}


def judged(kind: str, report: object) -> Summary | None:
    """The summary of a JSON report; None for a kind whose reports are files of tools. Raises ReportInvalid."""
    if kind in ATTESTATIONS:
        return attestation(kind, report)
    return JSON_KINDS[kind](report) if kind in JSON_KINDS else None


def _only(report: object, *names: str) -> dict[str, Any]:
    given = mapping(report, "the report")
    for name in given:
        if name not in names:
            raise ReportInvalid(f"the report has a field {name[:40]}; there is: {', '.join(names)}")
    return given


def _verdicts(given: dict[str, Any], where: str, word: str, also: tuple[str, ...]) -> Verdicts:
    items = objects(given.get(where), where)
    if not 0 < len(items) <= MOST:
        raise ReportInvalid(f"{where} must hold 1 to {MOST} items")
    failed, seen = [], set()
    for item in items:
        _only(item, "name", word, *also)
        name = line(item.get("name"), f"the name of one of the {where}", most=200)
        if name in seen:
            raise ReportInvalid(f"{where} names {name} twice")
        seen.add(name)
        _confidence(item.get("confidence"))
        if not _flag(item.get(word), f"{word} of {name}"):
            failed.append(name)
    return Verdicts(len(items), tuple(failed))


def _confidence(value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ReportInvalid("a confidence must be a number from 0 to 1")


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise ReportInvalid(f"{where} must be true or false")
    return value


def _sentence(value: object) -> str:
    note = text(value, "note", most=2000)
    if len(note.split()) < 2:
        raise ReportInvalid("note must be a sentence that others understand later, not one word")
    return note
