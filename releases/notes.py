"""Release notes: what came with each version of a range, as JSON and as Markdown. Pure."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from releases.bumps import Bump, Change, least
from releases.schema import SchemaChange

SAID_IN = ("releaseNotes", "notes", "changelog")
"""Fields of a version's metadata that are its notes; the first that is text."""
MOST_CHARACTERS = 10_000
MOST_CHANGES = 100
_SPECIAL = re.compile(r"([\\`*_\[\]|~!])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_BLOCK = re.compile(r"^(\s*)([#=+-]|\d+[.)])", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of the range. changes: of its workflow, after the version before it in the range; None where they
    cannot be told. evidence: one sentence for each kind. waived: the gates and where."""

    number: str
    id: str
    by: str
    at: datetime
    commit: str
    notes: str
    after: str
    changes: tuple[Change, ...] | None
    evidence: tuple[str, ...] = ()
    waived: tuple[str, ...] = ()
    withdrawn: str | None = None
    schema_change: str = "none"


@dataclass(frozen=True, slots=True)
class Notes:
    """The versions above `since`, newest first; "" where there was nothing before. left_out: older ones not shown."""

    application: str
    number: str
    since: str
    entries: tuple[Entry, ...]
    left_out: int = 0


def said_in(metadata: Mapping[str, Any]) -> str:
    """What whoever registered the version wrote of it."""
    texts = (metadata.get(name) for name in SAID_IN)
    return next((text for text in texts if isinstance(text, str) and text.strip()), "")[:MOST_CHARACTERS]


def evidence_said(kind: str, summary: Mapping[str, Any]) -> str:
    """One sentence of what a report came to; "" for a free one."""
    match kind:
        case _ if not summary:
            return ""
        case "tests":
            return f"{summary['passed']} of {summary['total']} tests passed"
        case "coverage":
            covered, valid = summary["covered"], summary["valid"]
            return f"{covered} of {valid} lines covered" + (f" ({100 * covered / valid:.1f} %)" if valid else "")
        case "vulnerabilities":
            return ", ".join(f"{summary[name]} {name}" for name in ("critical", "high", "moderate", "low"))
        case "review":
            return f"{'approved' if summary.get('approved') else 'not approved'} by {summary['reviewer']}"
        case "policy" | "crv":
            return f"{summary['total'] - summary['failed']} of {summary['total']} passed"
        case _:
            return str(summary.get("note", ""))


def as_json(notes: Notes) -> dict[str, Any]:
    """For programs."""
    return {
        "workflowId": notes.application,
        "version": notes.number,
        "since": notes.since or None,
        "leftOut": notes.left_out,
        "versions": [_entry(one) for one in notes.entries],
    }


def _entry(one: Entry) -> dict[str, Any]:
    changed = [{"task": c.task, "change": c.said, "demands": c.bump.name} for c in (one.changes or ())[:MOST_CHANGES]]
    return {
        "version": one.number, "id": one.id, "createdBy": one.by, "createdAt": one.at, "gitCommit": one.commit,
        "notes": one.notes, "after": one.after or None, "changes": None if one.changes is None else changed,
        "demands": least(one.changes).name if one.changes else None, "evidence": list(one.evidence),
        "waived": list(one.waived), "withdrawn": one.withdrawn,
        "schemaChange": str(one.schema_change),
    }  # fmt: skip


def markdown(notes: Notes) -> str:
    """For people. What others wrote is shown as they wrote it: it is neither Markdown nor HTML here."""
    since = f" since {notes.since}" if notes.since else ""
    lines = [f"# {plain(notes.application)} {notes.number}", "", f"What came{since}.", ""]
    for one in notes.entries:
        lines += [*_lines(one), ""]
    if notes.left_out:
        lines += [f"{notes.left_out} older versions of the range are not shown.", ""]
    return "\n".join(lines)


def _lines(one: Entry) -> Iterator[str]:
    yield f"## {one.number}"
    yield ""
    commit = f", commit {plain(one.commit)}" if one.commit else ""
    yield f"Registered by {plain(one.by)} at {one.at:%Y-%m-%d %H:%M} UTC{commit}."
    if one.withdrawn is not None:
        yield ""
        yield f"**Withdrawn**: {plain(one.withdrawn)}"
    if one.notes:
        yield ""
        yield from (f"> {line}".rstrip() for line in plain(one.notes, lines=True).splitlines())
    yield ""
    if one.schema_change != SchemaChange.NONE:
        yield f"- **Schema change**: {one.schema_change}"
    yield from _of_workflow(one)
    yield from (f"- {plain(text)}" for text in one.evidence)
    yield from (f"- Waived: {plain(text)}" for text in one.waived)


def _of_workflow(one: Entry) -> Iterator[str]:
    if one.changes is None:
        yield f"- The workflow cannot be compared with that of {one.after}."
    elif one.after and not one.changes:
        yield f"- The workflow is that of {one.after}."
    for change in (one.changes or ())[:MOST_CHANGES]:
        mark = "**Breaking**: " if change.bump is Bump.MAJOR else ""
        yield f"- {mark}{plain(str(change))}"


def plain(text: str, *, lines: bool = False) -> str:
    """Text that Markdown, and HTML made of it, shows as it is; in one line, unless `lines` keeps them."""
    kept = "".join(_shown(letter, lines) for letter in text.replace("\r\n", "\n"))
    safe = _SPECIAL.sub(r"\\\1", "".join(_HTML.get(letter, letter) for letter in kept))
    return _BLOCK.sub(r"\1\\\2", safe) if lines else safe


def _shown(letter: str, lines: bool) -> str:
    if letter == "\n" and lines:
        return letter
    return " " if unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") else letter
