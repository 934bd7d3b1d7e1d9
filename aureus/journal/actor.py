"""Who acts, and the five roles an actor may hold in an environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

EVERYWHERE = "*"
"""A grant for every environment."""


class Role(StrEnum):
    """What an actor may be in one environment, or everywhere."""

    VIEWER = "viewer"
    CI = "ci"
    RELEASE_MANAGER = "release_manager"
    APPROVER = "approver"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, an API key, or Aureus itself. Rules of separation look at the person behind it.

    kind: "user", "key" or "system".
    roles: environment name (or EVERYWHERE) -> roles held there.
    person: who issued a key, and so answers for what it does; empty for a person.
    """

    name: str
    kind: str = "user"
    roles: Mapping[str, frozenset[Role]] = field(default_factory=dict)
    person: str = ""

    @property
    def answerable(self) -> str:
        """The person who answers for this actor."""
        return self.person or self.name

    def holds(self, environment: str | None = None) -> frozenset[Role]:
        """The roles in an environment; without one, the roles held anywhere at all."""
        everywhere = self.roles.get(EVERYWHERE, frozenset())
        if environment is not None:
            return everywhere | self.roles.get(environment, frozenset())
        return frozenset(role for held in self.roles.values() for role in held)


AUREUS = Actor("aureus", "system")
"""Aureus itself: what it does without being asked."""
