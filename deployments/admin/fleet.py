"""Environments, hosts, balancers, installations and freezes in the console. Every edit raises the revision."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.decorators import display

from aureus.journal.refusals import Refused
from deployments import policy
from deployments.admin.shown import Configured, ReadOnly
from deployments.edits import edited
from deployments.engine import calendar, voices
from deployments.engine.truth import Standing
from deployments.fleet import freezing, locking
from deployments.holding import period_of
from deployments.models import (
    Balancer,
    BalancerNode,
    Configuration,
    Endpoint,
    Environment,
    Freeze,
    Host,
    Installation,
)


class EnvironmentForm(forms.ModelForm):
    """The policy is checked as a declaration is."""

    class Meta:
        model = Environment
        fields = ("name", "policy", "order", "lock_reason")

    def clean_policy(self) -> dict[str, Any]:
        try:
            return policy.parse(self.cleaned_data["policy"]).as_json()
        except policy.PolicyError as error:
            raise forms.ValidationError([f"{path}: {message}" for path, message in error.errors]) from error


class FreezeForm(forms.ModelForm):
    """A single one by its times, or a repeating one as people say it."""

    class Meta:
        model = Freeze
        fields = ("environment", "starts", "ends", "first", "last", "days", "zone", "reason")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        single = bool(cleaned.get("starts") and cleaned.get("ends"))
        said = {"from": cleaned.get("first") or None, "to": cleaned.get("last") or None}
        if single == bool(said["from"] or said["to"]):
            raise forms.ValidationError("give it starts and ends, or from and to: one of both")
        if single:
            if cleaned["ends"] <= cleaned["starts"]:
                self.add_error("ends", "must be later than its start")
            said = {"from": "00:00", "to": "00:00"}  # the zone is all that is left to check
        try:
            period = calendar.read({**said, "days": cleaned.get("days"), "zone": cleaned.get("zone")})
        except calendar.Unreadable as unreadable:
            for name, message in unreadable.errors:
                self.add_error({"from": "first", "to": "last"}.get(name, name), message)
            return cleaned
        if not single and not period.repeats:
            self.add_error("first", "give a single freeze its starts and ends instead")
        elif not single:
            told = calendar.written(period)
            cleaned |= {"first": told["from"], "last": told["to"], "days": told["days"]}
        return cleaned


class InstallationForm(forms.ModelForm):
    """Overrides may tighten the environment's policy, never loosen it."""

    class Meta:
        model = Installation
        exclude = ("revision", "held", "unproven", "unproven_fence", "prove_at")  # noqa: DJ006 - these are verbs' alone

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        environment, overrides = cleaned.get("environment"), cleaned.get("policy_overrides") or {}
        if environment is not None:
            try:
                policy.tightened(policy.stored(environment.policy), overrides)
            except policy.PolicyError as error:
                self.add_error("policy_overrides", [f"{path}: {message}" for path, message in error.errors])
        return cleaned


class Edited(Configured):
    """Writes through the verb that raises revisions and records the edit."""

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: bool) -> None:
        edited(obj, changed=form.changed_data, actor=request.actor)  # type: ignore[attr-defined]


@admin.register(Environment)
class EnvironmentAdmin(Edited):
    form = EnvironmentForm
    list_display = ("name", "promoted_from", "approvals", "revision", "locked")

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: bool) -> None:
        """A lock is no edit: it has verbs of its own, and no plan depends on it."""
        changed = [name for name in form.changed_data if name != "lock_reason"]
        actor = request.actor  # type: ignore[attr-defined]
        if not change:
            obj.lock_reason = ""
        if changed or not change:
            edited(obj, changed=changed, actor=actor)
        if "lock_reason" not in form.changed_data:
            return
        reason = form.cleaned_data["lock_reason"]
        try:
            if reason.strip():
                locking.lock(obj.name, actor=actor, reason=reason)
            else:
                locking.unlock(obj.name, actor=actor)
        except Refused as refusal:
            messages.error(request, refusal.sentence)

    @display(description="Takes versions from")
    def promoted_from(self, environment: Environment) -> str:
        return environment.policy.get("promote_from") or "anybody who may deploy"

    @display(description="Approvals")
    def approvals(self, environment: Environment) -> str:
        by_risk = voices.by_risk(environment.policy.get("approvals", 0))
        if len(set(by_risk.values())) == 1:
            return str(by_risk["low"])
        return ", ".join(f"{risk} {people}" for risk, people in by_risk.items())


@admin.register(Host)
class HostAdmin(Edited):
    list_display = ("name", "environment", "address", "port", "user", "pinned", "zone", "state")
    list_filter = ("environment", "state", "zone")
    fields = (
        "environment",
        "name",
        "address",
        "port",
        "user",
        "fingerprint",
        "credential",
        "bastion",
        "zone",
        "state",
        "order",
    )

    @display(description="Host key", label={True: "success", False: "danger"})
    def pinned(self, host: Host) -> tuple[bool, str]:
        return bool(host.fingerprint), "pinned" if host.fingerprint else "not trusted yet"


class NodeInline(TabularInline):
    model = BalancerNode
    extra = 0
    fields: ClassVar = ("host", "kind", "root", "options")


@admin.register(Balancer)
class BalancerAdmin(Edited):
    list_display = ("name", "environment")
    inlines = (NodeInline,)


class EndpointInline(TabularInline):
    model = Endpoint
    extra = 0
    fields: ClassVar = ("host", "slot", "port", "retired")


@admin.register(Installation)
class InstallationAdmin(Edited):
    form = InstallationForm
    list_display = ("application", "environment", "strategy", "balancer", "revision", "held", "unproven")
    list_filter = ("environment",)
    inlines = (EndpointInline,)


@admin.register(Configuration)
class ConfigurationAdmin(ReadOnly):
    """Names and digests. Values are on no page."""

    list_display = ("installation", "number", "count", "short_digest", "by", "at", "note")
    list_filter = ("installation__environment", "installation__application")
    list_select_related = ("installation__environment", "installation__application")
    ordering = ("-at", "-id")
    fields = ("installation", "number", "names", "digest", "by", "at", "note")

    @display(description="Variables")
    def count(self, configuration: Configuration) -> int:
        return len(configuration.variables)

    @display(description="Digest")
    def short_digest(self, configuration: Configuration) -> str:
        return configuration.digest[:12]

    @display(description="Variables")
    def names(self, configuration: Configuration) -> str:
        shown = (f"{name} (secret)" if "secret" in said else name for name, said in configuration.variables.items())
        return ", ".join(sorted(shown))


COLOURS = {
    Standing.AS_RECORDED.value: "success",
    Standing.DRIFTED.value: "danger",
    Standing.FLAPPING.value: "warning",
    Standing.UNREACHABLE.value: "danger",
    Standing.OWED.value: "warning",
    Standing.AHEAD.value: "danger",
    Standing.UNSEEN.value: "info",
}


@admin.register(Endpoint)
class EndpointAdmin(ReadOnly):
    """Recorded and observed version of each host, and how it stands to the record."""

    list_display = ("name", "installation", "recorded", "observed", "stands", "state_since", "why", "serving",
                    "observed_at")  # fmt: skip
    list_filter = ("state", "installation__environment", "retired")

    @display(description="State", ordering="state", label=COLOURS)
    def stands(self, endpoint: Endpoint) -> tuple[str, str]:
        return endpoint.standing, Standing(endpoint.standing).replace("_", " ")


@admin.register(Freeze)
class FreezeAdmin(Edited):
    form = FreezeForm
    list_display = ("where", "when", "reason", "by", "declared")
    list_select_related = ("environment",)

    @display(description="Environment")
    def where(self, freeze: Freeze) -> str:
        return str(freeze.environment or "every environment")

    @display(description="When")
    def when(self, freeze: Freeze) -> str:
        return calendar.said(period_of(freeze))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_admin(request) and not (obj and obj.declared)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_admin(request) and not (obj and obj.declared)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        freezing.lift(obj.pk, actor=request.actor)  # type: ignore[attr-defined]

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for freeze in queryset:
            try:
                freezing.lift(freeze.pk, actor=request.actor)  # type: ignore[attr-defined]
            except Refused as refusal:
                messages.error(request, f"{freeze}: {refusal.sentence}")
