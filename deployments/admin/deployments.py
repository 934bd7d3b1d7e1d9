"""Deployments in the console: where each stands and why, its plan, its hosts, and what a person may say to it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from unfold.decorators import display

from aureus import clock
from aureus.journal.models import Event
from aureus.journal.refusals import Refused
from deployments import edits, holding
from deployments.admin import checklist, withdrawing
from deployments.admin.chart import svg
from deployments.admin.shown import LABELS, ReadOnly
from deployments.admin.verbs import VERBS, WAITING, Say, Verb
from deployments.engine.status import Status
from deployments.explain import explain
from deployments.models import Deployment, Environment, Incident
from deployments.picture import names_of, picture_of
from deployments.standing import passes_of, voices_of, way_back_of
from health.models import SmokeRun, Window


def _plan(deployment: Deployment) -> dict[str, Any]:
    """What people read of a plan before they say yes to it."""
    now = clock.now()
    return {
        "risk": deployment.risk,
        "risk_reasons": deployment.risk_reasons,
        "way_back": way_back_of(deployment),
        "asked": voices_of(deployment, now),
        "passes": passes_of(deployment, now),
    }


@admin.register(Deployment)
class DeploymentAdmin(ReadOnly):
    """Read-only rows; the verbs are the only way to change one."""

    list_display = ("what", "environment", "state", "kind", "risk", "why", "requested_by", "created_at")
    list_filter = ("status", "outcome", "risk", "installation__environment", "installation__application")
    search_fields = ("version__number", "requested_by", "label", "reason")
    list_select_related = ("version__application", "installation__environment", "reverts")
    ordering = ("-created_at", "-id")
    change_form_before_template = "deployments/deployment.html"
    fields = (
        "version",
        "configuration",
        "installation",
        "strategy",
        "status",
        "outcome",
        "reason",
        "because",
        "requested_by",
        "label",
        "risk",
        "source",
        "reverts",
        "retry_of",
        "plan_hash",
        "metadata",
        "created_at",
        "started_at",
        "deployed_at",
        "ended_at",
        "good_at",
    )

    @display(description="Version", ordering="version__number")
    def what(self, deployment: Deployment) -> str:
        return str(deployment.version)

    @display(description="Environment", ordering="installation__environment")
    def environment(self, deployment: Deployment) -> str:
        return str(deployment.installation.environment)

    @display(description="Status", label=LABELS, ordering="status")
    def state(self, deployment: Deployment) -> tuple[str, str]:
        words = deployment.status.replace("_", " ")
        return deployment.status, f"{words}: {deployment.outcome}" if deployment.outcome else words

    @display(description="Kind")
    def kind(self, deployment: Deployment) -> str:
        return "rollback" if deployment.is_rollback else deployment.strategy

    @display(description="Why")
    def why(self, deployment: Deployment) -> str:
        return deployment.reason[:120]

    def get_urls(self) -> list[Any]:
        say = path("<uuid:pk>/say/<str:name>/", self.admin_site.admin_view(self.say), name="deployments_deployment_say")
        pages = (*checklist.urls(self.admin_site), *withdrawing.urls(self.admin_site))
        return [say, *pages, *super().get_urls()]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        found = self.get_object(request, object_id) if object_id else None
        return super().changeform_view(
            request, object_id, form_url, {**(extra_context or {}), **self._about(request, found)}
        )

    def _about(self, request: HttpRequest, deployment: Deployment | None) -> dict[str, Any]:
        if deployment is None:
            return {}
        window = Window.objects.filter(subject=deployment.pk).first()
        seen = picture_of(deployment, clock.now())
        return {
            "explained": explain(deployment),
            "picture": svg(seen, names_of(deployment)(deployment.content)) if seen else "",
            "offered": [(name, verb) for name, verb in VERBS.items() if self._offers(request, name, deployment)],
            "stages": deployment.stages.prefetch_related("steps"),
            "targets": deployment.targets.select_related("endpoint__host"),
            "window": window,
            "smoke_runs": SmokeRun.objects.filter(subject=deployment.pk)[:5],
            **_plan(deployment),
            "rollbacks": deployment.rollbacks.all(),
            "happened": Event.objects.filter(stream=deployment.stream).order_by("-seq")[:60],
            "labels": LABELS,
        }

    @staticmethod
    def _offers(request: HttpRequest, name: str, deployment: Deployment) -> bool:
        if Status(deployment.status) not in VERBS[name].statuses:
            return False
        if deployment.is_rollback and name in {"approve", "reject", "pause", "abort", "promote"}:
            return False
        if name == "confirm-break-glass" and holding.glass_of(deployment, clock.now()) is None:
            return False
        environment = None if name == "promote" else deployment.installation.environment.name
        return request.may(f"deployment-{name}", environment)  # type: ignore[attr-defined]

    def say(self, request: HttpRequest, pk: UUID, name: str) -> HttpResponse:
        """Ask for the reason, then do it; a refusal is shown as the sentence it is."""
        deployment = Deployment.objects.select_related("installation__environment", "version").filter(pk=pk).first()
        if deployment is None or name not in VERBS:
            raise Http404
        verb = VERBS[name]
        back = reverse("admin:deployments_deployment_change", args=[deployment.pk])
        if not self._may(request, name, deployment):
            messages.error(request, f"You may not {verb.title.lower()} in {deployment.installation.environment}.")
            return redirect(back)
        next_up, saw = self._next_up(deployment), deployment.plan_hash
        form = Say(request.POST or None, name=name, verb=verb, next_up=next_up, saw=saw)
        if request.method == "POST" and form.is_valid():
            return self._done(request, deployment, verb, form, back)
        about = {"title": f"{verb.title}: {deployment}", "verb": verb, "form": form, "back": back}
        if verb.statuses == WAITING:
            about |= _plan(deployment)
        return render(request, "deployments/say.html", {**self.admin_site.each_context(request), **about})

    @staticmethod
    def _may(request: HttpRequest, name: str, deployment: Deployment) -> bool:
        asked = request.POST.get("target") if name == "promote" else deployment.installation.environment.name
        return request.may(f"deployment-{name}", asked or None)  # type: ignore[attr-defined]

    @staticmethod
    def _next_up(deployment: Deployment) -> str:
        here = deployment.installation.environment.name
        return next((e.name for e in Environment.objects.all() if e.policy.get("promote_from") == here), "")

    @staticmethod
    def _done(request: HttpRequest, deployment: Deployment, verb: Verb, form: Say, back: str) -> HttpResponse:
        said = {verb.reason: form.cleaned_data["reason"]}
        said |= {
            name: form.cleaned_data[name] for name in ("target", "plan_hash", "accept") if name in form.cleaned_data
        }
        try:
            result = verb.call(deployment.pk, actor=request.actor, **said)  # type: ignore[attr-defined]
        except Refused as refusal:
            messages.error(request, refusal.sentence)
            return redirect(back)
        messages.success(request, f"{verb.title}: done.")
        return redirect(reverse("admin:deployments_deployment_change", args=[result.pk]))


@admin.register(Incident)
class IncidentAdmin(ReadOnly):
    """What a person must look at; resolving it says that somebody has."""

    list_display = ("text", "level", "deployment", "opened_at", "resolved_at", "resolved_by")
    list_filter = ("severity", ("resolved_at", admin.EmptyFieldListFilter))
    actions = ("resolve",)

    @display(description="Severity", label={"critical": "danger", "warning": "warning"})
    def level(self, incident: Incident) -> str:
        return incident.severity

    @admin.action(description="Mark as resolved by me")
    def resolve(self, request: HttpRequest, chosen: Any) -> None:
        changed = edits.resolve(chosen, actor=request.actor)  # type: ignore[attr-defined]
        messages.success(request, f"{changed} resolved.")
