"""What may be looked at, and what an admin may edit."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from aureus.journal.actor import Role
from releases.admin import ReadOnly, Shown

__all__ = ["LABELS", "Configured", "ReadOnly", "Shown"]

LABELS = {
    "pending": "info",
    "awaiting_approval": "warning",
    "in_progress": "info",
    "running": "info",
    "deployed": "success",
    "passed": "success",
    "pass": "success",
    "rolled_back": "warning",
    "superseded": "warning",
    "inconclusive": "warning",
    "skipped": "",
    "failed": "danger",
    "fail": "danger",
}
"""The colour of each status word."""


class Configured(ReadOnly):
    """Rows that an admin edits by hand; the same may be declared in a file and applied."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_admin(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_admin(request)

    @staticmethod
    def _is_admin(request: HttpRequest) -> bool:
        actor = getattr(request, "actor", None)
        return actor is not None and Role.ADMIN in actor.holds()
