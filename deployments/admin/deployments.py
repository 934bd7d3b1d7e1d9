"""Deployments in the console: where each stands and why, its plan, its hosts, and what a person may say to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from aureus import clock
from aureus.journal.actor import Actor
from aureus.journal.models import Event
from aureus.journal.refusals import Refused
from deployments import edits, lifecycle
from deployments.admin import checklist, withdrawing
from deployments.admin.chart import svg
from deployments.admin.shown import LABELS, ReadOnly
from deployments.engine.status import Status
from deployments.explain import explain
from deployments.models import Deployment, Environment, Incident
from deployments.picture import names_of, picture_of
from health.models import SmokeRun, Window

WAITING = frozenset({Status.PENDING, Status.AWAITING_APPROVAL})
STARTED = frozenset({Status.IN_PROGRESS})
OPEN = WAITING | STARTED


@dataclass(frozen=True, slots=True)
class Verb:
    """A button: what it says, in which statuses it is offered, and what it calls."""

    title: str
    statuses: frozenset[Status]
    call: Callable[..., Any]
    explained: str
    reason: str = "reason"
    demanded: bool = True
    danger: bool = False


def _roll_back(pk: object, *, actor: Actor, reason: str, target: str = "", accept: bool = False) -> Deployment:
    to = target or None
    return lifecycle.roll_back(pk, actor=actor, reason=reason, target_version=to, accept_schema_change=accept)[0]  # type: ignore[arg-type]


def _exclude(pk: object, *, actor: Actor, reason: str, target: str = "") -> Deployment:
    return lifecycle.exclude(pk, actor=actor, reason=reason, host=target)  # type: ignore[arg-type]


def _promote(pk: object, *, actor: Actor, reason: str, target: str = "") -> Deployment:
    wish = lifecycle.Wish(label=actor.name, metadata={"reason": reason} if reason else {})
    return lifecycle.promote(pk, actor=actor, environment=target, wish=wish)[0]  # type: ignore[arg-type]


VERBS = {
    "approve": Verb("Approve", WAITING, lifecycle.approve, "Say yes to the plan as it is now.", "comment", False),
    "reject": Verb("Reject", WAITING, lifecycle.reject, "Say no: the deployment ends.", "comment", False, True),
    "pause": Verb("Pause", OPEN, lifecycle.pause, "No new step starts; what runs goes on to its end.", demanded=False),
    "resume": Verb("Resume", OPEN, lifecycle.resume, "Go on where it was paused or held.", demanded=False),
    "retry": Verb(
        "Retry",
        STARTED | {Status.FAILED},
        lifecycle.retry,
        "Run a held step again; of a failed deployment, make a new attempt.",
        demanded=False,
    ),
    "promote-full": Verb(
        "Promote to the full",
        STARTED,
        lifecycle.promote_full,
        "Go on to the end without being watched on the way. Every host is proven healthy still.",
        danger=True,
    ),
    "abort": Verb(
        "Abort",
        OPEN,
        lifecycle.abort,
        "Stop. What was changed goes back, unless its schema change forbids it.",
        danger=True,
    ),
    "abandon": Verb(
        "Abandon",
        OPEN,
        lifecycle.abandon,
        "End it now. Hosts it changed and did not prove are owed, and work on them may go on for a while.",
        danger=True,
    ),
    "exclude": Verb(
        "Exclude a host",
        STARTED,
        _exclude,
        "Go on without a host that holds it up. The host is owed and has to be converged before it serves again.",
        danger=True,
    ),
    "promote": Verb(
        "Promote", frozenset({Status.DEPLOYED}), _promote, "Bring this version to the next environment.", demanded=False
    ),
    "rollback": Verb(
        "Roll back",
        STARTED | {Status.DEPLOYED},
        _roll_back,
        "Bring every host back to the version before, traffic first.",
        danger=True,
    ),
}
TARGETS = {
    "promote": "To environment",
    "exclude": "Host",
    "rollback": "To version (empty: the newest that proved good)",
}


class Say(forms.Form):
    """Why, and for some verbs where to."""

    reason = forms.CharField(widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}), max_length=2000)
    target = forms.CharField(widget=UnfoldAdminTextInputWidget(), max_length=128, required=False)
    accept = forms.BooleanField(required=False, label="Over a schema change too, if one lies between")

    def __init__(self, *args: Any, name: str, verb: Verb, next_up: str = "", **more: Any) -> None:
        super().__init__(*args, **more)
        self.fields["reason"].required = verb.demanded
        self.fields["reason"].label = verb.reason.capitalize()
        if name != "rollback":
            del self.fields["accept"]
        if name not in TARGETS:
            del self.fields["target"]
            return
        self.fields["target"].label = TARGETS[name]
        self.fields["target"].required = name != "rollback"
        self.fields["target"].initial = next_up if name == "promote" else ""


@admin.register(Deployment)
class DeploymentAdmin(ReadOnly):
    """Read-only rows; the verbs are the only way to change one."""

    list_display = ("what", "environment", "state", "kind", "why", "requested_by", "created_at")
    list_filter = ("status", "outcome", "installation__environment", "installation__application")
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
            "approvals": deployment.approvals.all(),
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
        form = Say(request.POST or None, name=name, verb=verb, next_up=self._next_up(deployment))
        if request.method == "POST" and form.is_valid():
            return self._done(request, deployment, verb, form, back)
        about = {"title": f"{verb.title}: {deployment}", "verb": verb, "form": form, "back": back}
        if name == "approve":
            about["plan"] = deployment.intent.get("if_it_fails", "")
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
        said |= {name: form.cleaned_data[name] for name in ("target", "accept") if name in form.cleaned_data}
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
