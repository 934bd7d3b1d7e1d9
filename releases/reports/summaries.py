"""What a report comes to: counts that gates judge. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SEVERITIES = ("critical", "high", "moderate", "low", "unknown")


class ReportInvalid(ValueError):
    """The report cannot be judged; the message is a sentence that says why, and what to send instead.

    It may quote the report: what no terminal and no answer should hold is not taken over.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__("".join(letter if letter.isprintable() else "?" for letter in sentence))


@dataclass(frozen=True, slots=True)
class Cases:
    """Test cases by how they ended. A case that failed and broke down counts once, as an error."""

    total: int
    passed: int
    failed: int
    errors: int
    skipped: int

    def as_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "total": self.total, "passed": self.passed, "failed": self.failed, "errors": self.errors,
            "skipped": self.skipped,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Coverage:
    """Lines that were run, of those that could be."""

    covered: int
    valid: int

    @property
    def rate(self) -> float:
        """From 0 to 1; 0 where there is no line."""
        return self.covered / self.valid if self.valid else 0.0

    def as_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {"covered": self.covered, "valid": self.valid, "rate": round(self.rate, 6)}


@dataclass(frozen=True, slots=True)
class Vulnerabilities:
    """Findings by severity. `unaudited`: what the tool says it could not look at."""

    found: Mapping[str, int]
    unaudited: int = 0

    def as_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {**{name: self.found.get(name, 0) for name in SEVERITIES}, "unaudited": self.unaudited}


@dataclass(frozen=True, slots=True)
class Review:
    """One person's word about a change."""

    reviewer: str
    approved: bool
    commit: str

    def as_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {"reviewer": self.reviewer, "approved": self.approved, "commit": self.commit}


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Named rules or validators: how many there are, and which did not hold."""

    total: int
    failed: tuple[str, ...]

    @property
    def percent(self) -> float:
        """How many of a hundred held; 0 where there is none."""
        return 100.0 * (self.total - len(self.failed)) / self.total if self.total else 0.0

    def as_json(self) -> dict[str, Any]:
        """As it is kept; of the failed ones the first ten by name."""
        return {"total": self.total, "failed": len(self.failed), "names": list(self.failed[:10])}


@dataclass(frozen=True, slots=True)
class Attestation:
    """What a person says has been done; `person` is whom an on-call attestation names."""

    note: str
    person: str = ""

    def as_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {"note": self.note, **({"person": self.person} if self.person else {})}


Summary = Cases | Coverage | Vulnerabilities | Review | Verdicts | Attestation


def lies(what: str, stated: object, counted: object) -> ReportInvalid:
    """The refusal of a report whose totals are not those of its items."""
    return ReportInvalid(
        f"the report lies about totals: it states {what} as {str(stated)[:40]}, but its items come to {counted}; "
        "send the file as the tool wrote it"
    )
