"""Environments and their hosts: what our record says runs there, and what was last seen there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, Q
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from aureus.journal.refusals import NotFound
from deployments import policy as policies
from deployments.api import rows
from deployments.api.bodies import MaybeReasonBody, ReasonBody
from deployments.api.shapes import Shape
from deployments.engine import calendar, voices
from deployments.engine.risk import Risk
from deployments.engine.truth import Standing
from deployments.fleet import locking
from deployments.models import Endpoint, Environment, Host, Installation
from releases.asking import actor_of
from releases.spec import number_of

TAGS = ["environments"]


class CurrentShape(Shape):
    deploymentId = serializers.UUIDField()
    version = serializers.CharField()


class InstallationShape(Shape):
    workflowId = serializers.CharField()
    strategy = serializers.CharField()
    hosts = serializers.IntegerField()
    publicUrl = serializers.CharField()
    current = CurrentShape(allow_null=True)
    held = serializers.CharField(help_text="Why nothing starts here; empty: it is not held.")
    unproven = serializers.CharField(
        help_text="Why no host is changed, not even by a rollback, until it was compared; empty: it is proven."
    )


class EnvironmentShape(Shape):
    name = serializers.CharField()
    revision = serializers.IntegerField()
    approvals = serializers.IntegerField(help_text="People who must say yes to a plan of the highest risk.")
    approvalsByRisk = serializers.DictField(child=serializers.IntegerField())
    approvalExpires = serializers.FloatField(help_text="Seconds after which a yes counts no more.")
    deploymentWindows = serializers.ListField(
        child=serializers.CharField(), help_text="In which alone a deployment starts; empty: at any time."
    )
    promoteFrom = serializers.CharField(allow_null=True)
    gates = serializers.CharField()
    locked = serializers.CharField(help_text="Why it is locked; empty: it is not.")
    lockedBy = serializers.CharField(help_text="Empty: it is not locked.")
    lockedAt = serializers.DateTimeField(allow_null=True)
    hosts = serializers.IntegerField()
    owed = serializers.IntegerField(help_text="Endpoints that could not be brought where they belong.")
    installations = InstallationShape(many=True)


class EndpointShape(Shape):
    workflowId = serializers.CharField(source="installation.application.key")
    name = serializers.CharField()
    slot = serializers.CharField()
    port = serializers.IntegerField()
    recordedVersion = serializers.SerializerMethodField()
    observedVersion = serializers.SerializerMethodField()
    recorded = serializers.CharField(help_text="The content our record says runs here.")
    observed = serializers.CharField(help_text="The content last seen here.")
    observedAt = serializers.DateTimeField(source="observed_at", allow_null=True)
    drift = serializers.SerializerMethodField(help_text="What was seen is not what the record says.")
    state = serializers.ChoiceField(
        choices=[one.value for one in Standing],
        source="standing",
        help_text="How it stands to the record, by the looks between deployments.",
    )
    stateSince = serializers.DateTimeField(source="state_since", allow_null=True)
    why = serializers.CharField(help_text="Why it is in this state; empty: all is as recorded.")
    owed = serializers.CharField(help_text="Why it is owed; empty: it is not.")
    owedAt = serializers.DateTimeField(source="owed_at", allow_null=True)
    healthy = serializers.BooleanField(allow_null=True)
    serving = serializers.BooleanField()

    def get_recordedVersion(self, endpoint: Endpoint) -> str:
        return number_of(endpoint.recorded)

    def get_observedVersion(self, endpoint: Endpoint) -> str:
        return number_of(endpoint.observed)

    def get_drift(self, endpoint: Endpoint) -> bool:
        return endpoint.observed_at is not None and endpoint.observed != endpoint.recorded


class HostShape(Shape):
    name = serializers.CharField()
    address = serializers.CharField()
    port = serializers.IntegerField()
    state = serializers.CharField()
    zone = serializers.CharField()
    trusted = serializers.SerializerMethodField(help_text="Its host key is pinned.")
    endpoints = EndpointShape(many=True, source="shown_endpoints")

    def get_trusted(self, host: Host) -> bool:
        return bool(host.fingerprint)


class Environments(APIView):
    @extend_schema(
        operation_id="environments_list", summary="Environments in their order", tags=TAGS,
        responses=EnvironmentShape(many=True),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        return Response(_shown(list(rows.environments(actor_of(request)))))


class OneEnvironment(APIView):
    @extend_schema(operation_id="environments_get", summary="One environment", tags=TAGS, responses=EnvironmentShape)
    def get(self, request: Request, name: str) -> Response:
        return Response(_shown([named(name)])[0])


class EnvironmentHosts(APIView):
    @extend_schema(
        operation_id="environments_hosts", summary="Recorded and observed version per host, its state, owed", tags=TAGS,
        responses=HostShape(many=True),
    )  # fmt: skip
    def get(self, request: Request, name: str) -> Response:
        hosts = list(named(name).hosts.all())
        endpoints = Endpoint.objects.filter(host__in=hosts, retired=False).select_related(
            "host", "installation__application"
        )
        for host in hosts:
            host.shown_endpoints = [e for e in endpoints if e.host_id == host.pk]  # type: ignore[attr-defined]
        return Response(HostShape(hosts, many=True).data)


class Lock(APIView):
    @extend_schema(
        operation_id="environments_lock", summary="Let nothing start there", tags=TAGS, request=ReasonBody,
        responses=EnvironmentShape, description="Rollbacks, and what has started, go on.",
    )  # fmt: skip
    def post(self, request: Request, name: str) -> Response:
        return Response(_shown([locking.lock(name, actor=actor_of(request), **ReasonBody.read(request))])[0])


class Unlock(APIView):
    @extend_schema(
        operation_id="environments_unlock", summary="Let deployments start there again", tags=TAGS,
        request=MaybeReasonBody, responses=EnvironmentShape,
    )  # fmt: skip
    def post(self, request: Request, name: str) -> Response:
        return Response(_shown([locking.unlock(name, actor=actor_of(request), **MaybeReasonBody.read(request))])[0])


def named(name: str) -> Environment:
    found = Environment.objects.filter(name=name).first()
    if found is None:
        raise NotFound(f'there is no environment "{name}"', code="no_environment")
    return found


def _shown(environments: Sequence[Environment]) -> list[dict[str, Any]]:
    living = Q(endpoints__retired=False)
    places = list(
        Installation.objects.filter(environment__in=environments)
        .select_related("application")
        .annotate(living=Count("endpoints", living), behind=Count("endpoints", living & ~Q(endpoints__owed="")))
    )
    current = {d.installation_id: d for d in rows.current(places)}
    hosts = dict(
        Host.objects.filter(environment__in=environments, state=Host.State.ACTIVE)
        .order_by()
        .values_list("environment")
        .annotate(Count("id"))
    )
    return [
        _environment(e, [p for p in places if p.environment_id == e.pk], current, hosts.get(e.pk, 0))
        for e in environments
    ]


def _environment(
    environment: Environment, places: Sequence[Any], current: dict[int, Any], hosts: int
) -> dict[str, Any]:
    policy = policies.stored(environment.policy)
    return EnvironmentShape({
        "name": environment.name,
        "revision": environment.revision,
        "approvals": policy.needs(Risk.CRITICAL),
        "approvalsByRisk": voices.by_risk(policy.approvals),
        "approvalExpires": policy.approval_expires,
        "deploymentWindows": [calendar.said(period) for period in policy.windows()],
        "promoteFrom": policy.promote_from,
        "gates": policy.gates,
        "locked": environment.lock_reason,
        "lockedBy": environment.locked_by,
        "lockedAt": environment.locked_at,
        "hosts": hosts,
        "owed": sum(place.behind for place in places),
        "installations": [_installation(place, current.get(place.pk)) for place in places],
    }).data  # fmt: skip


def _installation(place: Any, current: Any) -> dict[str, Any]:
    runs = {"deploymentId": current.pk, "version": current.version.number} if current else None
    return {
        "workflowId": place.application.key, "strategy": place.strategy, "hosts": place.living,
        "publicUrl": place.public_url, "current": runs, "held": place.held, "unproven": place.unproven,
    }  # fmt: skip
