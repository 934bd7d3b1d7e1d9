"""Taking a version out of use in the console, with a reason."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from unfold.widgets import UnfoldAdminTextareaWidget

from aureus.journal.refusals import Refused
from deployments.models import Deployment
from releases import registry
from releases.models import Version

ASKED = {
    "title": "Withdraw",
    "explained": "It is not deployed again, nothing goes back to it, and this is not taken back. What runs it goes on.",
    "danger": True,
}


class Withdraw(forms.Form):
    reason = forms.CharField(label="Why", max_length=2000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))


def urls(site: AdminSite) -> list[Any]:
    """The page below the deployments of the console."""

    def page(request: HttpRequest, version_id: UUID) -> HttpResponse:
        return _page(request, site, version_id)

    return [path("withdraw/<uuid:version_id>/", site.admin_view(page), name="deployments_withdraw")]


def _page(request: HttpRequest, site: AdminSite, version_id: UUID) -> HttpResponse:
    version = get_object_or_404(Version.objects.select_related("application"), pk=version_id)
    back = reverse("admin:releases_version_change", args=[version.pk])
    form = Withdraw(request.POST if request.method == "POST" else None)
    if form.is_valid():
        if not _may(request, version):
            messages.error(request, "you need the role release_manager wherever the version was deployed")
            return redirect(back)
        try:
            registry.withdraw(version.pk, reason=form.cleaned_data["reason"], actor=request.actor)  # type: ignore[attr-defined]
        except Refused as refusal:
            messages.error(request, refusal.sentence)
        else:
            messages.success(request, f"{version} was withdrawn.")
        return redirect(back)
    about = {"title": f"Withdraw {version}", "verb": ASKED, "form": form, "back": back}
    return render(request, "deployments/say.html", {**site.each_context(request), **about})


def _may(request: HttpRequest, version: Version) -> bool:
    """As over HTTP: held somewhere, and in every environment where the version was deployed."""
    used = Deployment.objects.filter(version=version).order_by()
    places = used.values_list("installation__environment__name", flat=True).distinct()
    return all(request.may("version-withdraw", place) for place in (None, *places))  # type: ignore[attr-defined]
