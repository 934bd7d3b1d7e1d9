"""Windows, smoke runs and events in the console: what was judged, by what, and everything that ever happened."""

from __future__ import annotations

from django.contrib import admin
from unfold.decorators import display

from aureus.journal.models import Event
from deployments.admin.shown import LABELS, ReadOnly
from health.models import SmokeRun, Window


@admin.register(Window)
class WindowAdmin(ReadOnly):
    """Each decision with the figures it was made from."""

    list_display = ("content", "kind", "outcome", "cause", "basis", "opens_at", "closed_at")
    list_filter = ("kind", "verdict", "cause")
    search_fields = ("content", "subject")

    @display(description="Verdict", label=LABELS)
    def outcome(self, window: Window) -> str:
        return window.verdict or "open"


@admin.register(SmokeRun)
class SmokeRunAdmin(ReadOnly):
    """Smoke runs and their results."""

    list_display = ("content", "outcome", "asked_by", "at", "ended_at")
    list_filter = ("verdict",)
    search_fields = ("content", "subject")

    @display(description="Verdict", label=LABELS)
    def outcome(self, run: SmokeRun) -> str:
        return run.verdict or "running"


@admin.register(Event)
class EventAdmin(ReadOnly):
    """The log: append-only, newest first."""

    list_display = ("seq", "at", "stream", "kind", "actor", "data")
    search_fields = ("stream", "kind", "actor")
    list_filter = ("kind",)
    ordering = ("-seq",)
