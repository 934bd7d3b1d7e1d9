"""Applications and versions in the console: read-only, since a version never changes."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import display

from releases.models import Application, Evidence, Version


class ReadOnly(ModelAdmin):
    """Everybody who may enter the console looks, nobody edits."""

    list_per_page = 50
    show_full_result_count = False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.is_staff

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_staff

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Application)
class ApplicationAdmin(ReadOnly):
    list_display = ("key", "name")


@admin.register(Version)
class VersionAdmin(ReadOnly):
    list_display = ("number", "application", "state", "short_digest", "has_artifact", "created_by", "created_at")
    list_filter = ("application",)
    search_fields = ("number", "application__key", "created_by")
    list_select_related = ("application", "artifact")

    @display(description="State", label={"withdrawn": "danger", "sealed": "success", "registered": "info"})
    def state(self, version: Version) -> str:
        if version.withdrawn_at:
            return "withdrawn"
        return "sealed" if version.sealed_at else "registered"

    @display(description="Digest")
    def short_digest(self, version: Version) -> str:
        return version.digest[:12]

    @display(description="Artifact", boolean=True)
    def has_artifact(self, version: Version) -> bool:
        return version.artifact_id is not None


@admin.register(Evidence)
class EvidenceAdmin(ReadOnly):
    list_display = ("version", "kind", "subject", "by", "at")
    list_filter = ("kind",)
