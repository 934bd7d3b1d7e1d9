"""Applications and versions in the console: read-only, since a version never changes."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin
from unfold.decorators import display

from releases import noting
from releases.models import Application, Evidence, Version, Waiver


class Shown:
    """Everybody who may enter the console looks, nobody edits."""

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


class ReadOnly(Shown, ModelAdmin):
    """Rows of a list, and a page each."""

    list_per_page = 50
    show_full_result_count = False


@admin.register(Application)
class ApplicationAdmin(ReadOnly):
    list_display = ("key", "name")


@admin.register(Version)
class VersionAdmin(ReadOnly):
    list_display = (
        "number",
        "application",
        "state",
        "schema_change",
        "short_digest",
        "has_artifact",
        "created_by",
        "created_at",
    )
    list_filter = ("application", "schema_change")
    search_fields = ("number", "application__key", "created_by")
    list_select_related = ("application", "artifact")
    change_form_before_template = "releases/version.html"

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        found = self.get_object(request, object_id) if object_id else None
        known = _known(found) if found else {}
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), **known})

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
        return version.artifact is not None and version.artifact.removed_at is None


def _known(version: Version) -> dict[str, Any]:
    """What the page shows beside the fields."""
    evidence, waivers = version.evidence.defer("report")[:50], version.waivers.all()[:50]
    return {"evidence": evidence, "waivers": waivers, "notes": noting.of(version.pk)}


@admin.register(Evidence)
class EvidenceAdmin(ReadOnly):
    list_display = ("version", "kind", "subject", "format", "comes_to", "counts", "by", "at")
    list_filter = ("kind", "format")
    list_select_related = ("version__application",)
    exclude = ("file",)

    @display(description="Comes to")
    def comes_to(self, evidence: Evidence) -> str:
        return ", ".join(f"{name} {value}" for name, value in evidence.summary.items())[:120]

    @display(description="About these bytes", boolean=True)
    def counts(self, evidence: Evidence) -> bool:
        return evidence.digest == evidence.version.digest


@admin.register(Waiver)
class WaiverAdmin(ReadOnly):
    """Given on the release checklist of a version."""

    list_display = ("gate", "version", "environment", "owner", "reason", "expires_at", "by", "lifted_by")
    list_filter = ("gate", "environment", ("lifted_at", admin.EmptyFieldListFilter))
    list_select_related = ("version__application",)
