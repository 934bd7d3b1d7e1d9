"""What a declaration changes: shown before it is applied, and recorded as events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ADDED, CHANGED, RETIRED, RETURNED = "added", "changed", "retired", "returned"


@dataclass(frozen=True, slots=True)
class Changed:
    """One field: what it was (None: the thing is new) and what it becomes."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    """One thing of the fleet. `note` says for people what a list of fields does not."""

    kind: str
    name: str
    where: str
    action: str
    fields: tuple[Changed, ...] = ()
    note: str = ""

    @property
    def title(self) -> str:
        """What it is about, such as "host p1 of production"."""
        return f"{self.kind} {self.name}" + (f" of {self.where}" if self.where else "")

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        fields = {f.name: {"before": f.before, "after": f.after} for f in self.fields}
        about = {"kind": self.kind, "name": self.name, "environment": self.where, "action": self.action}
        return {**about, "fields": fields, **({"note": self.note} if self.note else {})}


@dataclass(slots=True)
class Difference:
    """Everything a declaration changes, in the order of the file, and the reasons why it may not."""

    changes: list[Change] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)

    def refuse(self, title: str, why: str) -> None:
        """A reason not to apply it now; all of them are told together."""
        if (title, why) not in self.refusals:
            self.refusals.append((title, why))


def differing(row: Any, wanted: Mapping[str, Any]) -> tuple[Changed, ...]:
    """Set what differs on a row that is there already; the fields that did."""
    found = []
    for name, after in wanted.items():
        before = getattr(row, name)
        if before != after:
            found.append(Changed(name, _shown(before), _shown(after)))
            setattr(row, name, after)
    return tuple(found)


def new(wanted: Mapping[str, Any]) -> tuple[Changed, ...]:
    """The fields of a thing that was not there."""
    return tuple(
        Changed(name, None, _shown(value)) for name, value in wanted.items() if value not in ("", None, [], {})
    )


def _shown(value: Any) -> Any:
    """As JSON has it: rows by their name."""
    return value if value is None or isinstance(value, str | int | float | bool | list | dict) else str(value)
