"""Environments, hosts, balancers, installations and freezes in the console. Every edit raises the revision."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.decorators import display

from deployments import policy
from deployments.admin.shown import Configured, ReadOnly
from deployments.edits import edited
from deployments.engine.truth import Standing
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
    list_display = ("name", "promoted_from", "approvals", "revision", "lock_reason")

    @display(description="Takes versions from")
    def promoted_from(self, environment: Environment) -> str:
        return environment.policy.get("promote_from") or "anybody who may deploy"

    @display(description="Approvals")
    def approvals(self, environment: Environment) -> int:
        return environment.policy.get("approvals", 0)


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
    list_display = ("environment", "starts", "ends", "reason", "by")
    fields = ("environment", "starts", "ends", "reason")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_admin(request)
