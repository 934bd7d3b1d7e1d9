"""The release checklist of a version in the console, with what a person may attest, waive and take back there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from aureus import clock
from aureus.journal.actor import Actor
from aureus.journal.refusals import Refused
from deployments.checklist import gates_of, items
from deployments.models import Installation
from deployments.policy import Policy
from deployments.snapshot import policy_of
from releases import evidence, waiving
from releases.gates import GATES, PRESETS, WAIVABLE
from releases.models import Version
from releases.reports.statements import ATTESTATIONS


class Line(forms.CharField):
    """One line of text."""

    def __init__(self, label: str, most: int) -> None:
        super().__init__(label=label, max_length=most, widget=UnfoldAdminTextInputWidget())


class Sentence(forms.CharField):
    """Some lines of text."""

    def __init__(self, label: str) -> None:
        super().__init__(label=label, max_length=2000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))


class Attest(forms.Form):
    note = Sentence("A sentence that others understand later")


class NameOnCall(forms.Form):
    person = Line("Who is on call", 150)


class Waive(forms.Form):
    owner = Line("Who sees to it that the gate passes", 150)
    reason = Sentence("Why")
    days = forms.FloatField(
        label="For how many days (at most 30)", min_value=0.01, max_value=30, widget=UnfoldAdminTextInputWidget()
    )


@dataclass(frozen=True, slots=True)
class Verb:
    """What a form asks for: its words, its fields, and what it calls with the version, the environment and the name."""

    title: str
    explained: str
    form: type[forms.Form]
    call: Callable[..., Any]
    danger: bool = False


def _attest(version: UUID, name: str, environment: str, actor: Actor, **said: str) -> None:
    evidence.add(version, name, said, actor=actor)


def _waive(version: UUID, name: str, environment: str, actor: Actor, **said: Any) -> None:
    until = clock.now() + timedelta(days=said["days"]) - timedelta(seconds=1)
    waiving.waive(
        version,
        name,
        environment=environment,
        owner=said["owner"],
        reason=said["reason"],
        expires_at=until,
        actor=actor,
    )


def _unwaive(version: UUID, name: str, environment: str, actor: Actor) -> None:
    waiving.unwaive(version, name, environment=environment, actor=actor)


def _verb(word: str, name: str) -> Verb:
    if word == "attest" and name in ATTESTATIONS:
        form = NameOnCall if name == "on_call_named" else Attest
        return Verb("Attest", f"You say with your name: {ATTESTATIONS[name]}", form, _attest)
    if word == "waive" and name in WAIVABLE:
        return Verb("Waive", f"The gate {name} will not hold this version, as these bytes.", Waive, _waive, True)
    if word == "unwaive" and name in WAIVABLE:
        return Verb("Take back", f"The gate {name} will hold this version again.", forms.Form, _unwaive)
    raise Http404


def urls(site: AdminSite) -> list[Any]:
    """The pages below the deployments of the console."""

    def page(request: HttpRequest, version_id: UUID) -> HttpResponse:
        return _page(request, site, version_id)

    def say(request: HttpRequest, version_id: UUID, word: str, name: str) -> HttpResponse:
        return _say(request, site, version_id, word, name)

    here = "checklist/<uuid:version_id>/"
    return [
        path(here, site.admin_view(page), name="deployments_checklist"),
        path(f"{here}<str:word>/<str:name>/", site.admin_view(say), name="deployments_checklist_say"),
    ]


def _page(request: HttpRequest, site: AdminSite, version_id: UUID) -> HttpResponse:
    version = get_object_or_404(Version.objects.select_related("application"), pk=version_id)
    places = _places(version)
    to = _chosen(request, places)
    about: dict[str, Any] = {"title": f"Release checklist: {version}", "version": version, "places": places, "to": to}
    if to is not None:
        checks = gates_of(version, to)
        listed = items(version, to, checks)
        about |= {
            "items": listed,
            "done": sum(item.done for item in listed),
            "preset": policy_of(to).gates,
            "gates": [(one, _demands(policy_of(to), one.name), one.name in WAIVABLE) for one in checks.values()],
            "may_waive": request.may("version-waivers", to.environment.name),  # type: ignore[attr-defined]
            "may_attest": bool(request.actor.holds() & evidence.ATTEST),  # type: ignore[attr-defined]
        }
    return render(request, "deployments/checklist.html", {**site.each_context(request), **about})


def _demands(policy: Policy, gate: str) -> bool:
    """What is no gate of any preset is asked for only where it is demanded."""
    return gate in PRESETS[policy.gates] or gate not in GATES


def _places(version: Version) -> list[Installation]:
    """Where the version may be promoted to."""
    there = Installation.objects.filter(application=version.application_id).select_related("environment", "application")
    ordered = there.order_by("environment__order", "environment__name")
    return [place for place in ordered if place.environment.policy.get("promote_from")]


def _chosen(request: HttpRequest, places: list[Installation]) -> Installation | None:
    name = request.GET.get("environment", "")
    return next((place for place in places if place.environment.name == name), places[-1] if places else None)


def _say(request: HttpRequest, site: AdminSite, version_id: UUID, word: str, name: str) -> HttpResponse:
    """Ask what is needed, then do it; a refusal is shown as the sentence it is."""
    version = get_object_or_404(Version.objects.select_related("application"), pk=version_id)
    to, verb = _chosen(request, _places(version)), _verb(word, name)
    if to is None:
        raise Http404
    environment = to.environment.name
    back = f"{reverse('admin:deployments_checklist', args=[version.pk])}?environment={environment}"
    form = verb.form(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            verb.call(version.pk, name, environment, request.actor, **form.cleaned_data)  # type: ignore[attr-defined]
        except Refused as refusal:
            messages.error(request, refusal.sentence)
        else:
            messages.success(request, f"{verb.title}: done.")
        return redirect(back)
    about = {"title": f"{verb.title}: {name} of {version} in {environment}", "verb": verb, "form": form, "back": back}
    return render(request, "deployments/say.html", {**site.each_context(request), **about})
