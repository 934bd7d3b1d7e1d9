"""Runs of workflows in the console: where each stands, and what every task did."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.decorators import display

from deployments.admin.shown import LABELS, ReadOnly, Shown
from health.models import TaskRun, WorkflowRun


class TaskRunInline(Shown, TabularInline):
    """The way forward in its order, then the way back."""

    model = TaskRun
    extra = 0
    show_title = False
    ordering: ClassVar = ("-way", "position")
    fields: ClassVar = ("task", "way", "status", "attempts", "reason", "output", "started_at", "ended_at")
    readonly_fields: ClassVar = fields
    per_page = 100


@admin.register(WorkflowRun)
class WorkflowRunAdmin(ReadOnly):
    """Started and cancelled by the API or the command."""

    list_display = ("version", "environment", "outcome", "reason", "asked_by", "at", "ended_at")
    list_filter = ("status", "environment")
    list_select_related = ("version__application",)
    search_fields = ("id", "version__application__key", "version__number", "asked_by")
    inlines = (TaskRunInline,)
    fields = ("version", "environment", "status", "reason", "cancel_reason", "params", "asked_by", "at", "ended_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[WorkflowRun]:
        return super().get_queryset(request).defer("version__spec")

    @display(description="Status", label=LABELS)
    def outcome(self, run: WorkflowRun) -> str:
        return run.status
