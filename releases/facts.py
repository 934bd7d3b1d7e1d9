"""What gates are judged from, and their answer: frozen rows. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from releases.bumps import Change


@dataclass(frozen=True, slots=True)
class Piece:
    """The newest evidence of its kind and subject. `digest` is of the bytes that it was sent about; `summary` is empty
    for a free report that nobody can judge."""

    id: int
    kind: str
    subject: str
    digest: str
    summary: Mapping[str, Any]
    by: str

    @property
    def name(self) -> str:
        """What sentences call it."""
        return f"{self.kind} ({self.subject})" if self.subject else self.kind


@dataclass(frozen=True, slots=True)
class Waived:
    """A gate that need not pass until then."""

    gate: str
    owner: str
    reason: str
    until: datetime
    digest: str
    by: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the guide demands, unless a policy demands more. coverage and crv in percent, quiet in seconds."""

    coverage: float = 80.0
    reviews: int = 1
    crv: float = 100.0
    quiet: float = 1800.0


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What is known of the deployment that a promotion starts from, and of where it would go.

    smoke: the status of its newest smoke run. quiet: whether its journals held no errors for long enough; None where
    that cannot be known. way_back: the content that the target would go back to. one_way: the schema change that the
    version declares, where nothing goes back over it by itself. registrants: all names of who registered the version.
    running: the number of the version that the target runs. changes: from that one's workflow to this one's; None where
    they cannot be compared.
    """

    deployment: str
    environment: str
    status: str
    version: str
    digest_deployed: str
    digest_now: str
    smoke: str | None = None
    smoke_run: str | None = None
    withdrawn: bool = False
    withdrawn_reason: str = ""
    target: str = ""
    registrants: frozenset[str] = frozenset()
    evidence: tuple[Piece, ...] = ()
    quiet: bool | None = None
    quiet_said: str = "It was never watched."
    way_back: str = ""
    one_way: str = ""
    backup_command: bool = False
    running: str = ""
    changes: tuple[Change, ...] | None = ()
    numbers: Numbers = Numbers()


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One gate's answer: its reason is a sentence, its evidence what the reason was read from."""

    name: str
    passed: bool
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)
