"""Runs of workflows over HTTP: start one, look at it with each of its tasks, cancel it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from aureus.journal.refusals import Invalid, NotFound
from deployments import places
from deployments.api.rows import environments
from deployments.hints import hint_workflow
from health.models import WorkflowRun
from health.runs import lifecycle
from health.runs.facts import RunStatus
from health.runs.plan import Way
from releases.asking import Body, FreeObject, Words, actor_of

TAGS = ["workflows"]


class RunBody(Body):
    versionId = serializers.UUIDField()
    params = FreeObject(required=False, default=dict, help_text="What the tasks may name as ${params.NAME}.")
    environment = Words(
        required=False,
        default="",
        allow_blank=True,
        max_length=60,
        help_text="Where its commands run; a workflow without commands needs none.",
    )


class CancelBody(Body):
    reason = Words(help_text="Why.")


class TaskRunShape(serializers.Serializer):
    task = serializers.CharField()
    way = serializers.CharField(help_text="forward, or back: as the compensation of a task.")
    status = serializers.CharField()
    reason = serializers.CharField()
    cause = serializers.CharField(help_text="Of its last failed try: error, timeout or lost.")
    attempts = serializers.IntegerField()
    failures = serializers.IntegerField()
    notBefore = serializers.DateTimeField(source="not_before")
    picked = serializers.ListField(child=serializers.CharField(), help_text="The followers a decision picked.")
    output = serializers.JSONField()
    startedAt = serializers.DateTimeField(source="started_at", allow_null=True)
    endedAt = serializers.DateTimeField(source="ended_at", allow_null=True)


class RunShape(serializers.Serializer):
    """A run without its tasks."""

    id = serializers.UUIDField()
    versionId = serializers.UUIDField(source="version_id")
    version = serializers.CharField(source="version.number")
    workflowId = serializers.CharField(source="version.application.key")
    environment = serializers.CharField(help_text="Where its commands run; empty: it runs none.")
    status = serializers.CharField(help_text=f"One of {', '.join(RunStatus)}.")
    reason = serializers.CharField()
    cancelReason = serializers.CharField(source="cancel_reason")
    params = serializers.JSONField()
    askedBy = serializers.CharField(source="asked_by")
    createdAt = serializers.DateTimeField(source="at")
    startedAt = serializers.DateTimeField(source="started_at", allow_null=True)
    endedAt = serializers.DateTimeField(source="ended_at", allow_null=True)


class WholeRunShape(RunShape):
    tasks = serializers.SerializerMethodField()

    @extend_schema_field(TaskRunShape(many=True))
    def get_tasks(self, run: WorkflowRun) -> Any:
        """The way forward in its order, then the way back."""
        rows = sorted(run.tasks.all(), key=lambda row: (row.way == Way.BACK, row.position))
        return TaskRunShape(rows, many=True).data


class Runs(GenericAPIView):
    ordering = ("at", "id")

    @property
    def query(self) -> frozenset[str]:
        return frozenset({"versionId", "status"}) if self.request.method != "POST" else frozenset()

    @extend_schema(
        operation_id="workflow_runs_list", summary="List runs of workflows, newest first", tags=TAGS,
        parameters=[OpenApiParameter("versionId", str), OpenApiParameter("status", str)], responses=RunShape(many=True),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        rows = WorkflowRun.objects.select_related("version__application").defer("version__spec")
        seen = environments(actor_of(request)).values("name")
        rows = rows.filter(Q(environment="") | Q(environment__in=seen))
        if version := request.query_params.get("versionId"):
            rows = rows.filter(version_id=_id(version))
        if status := request.query_params.get("status"):
            rows = rows.filter(status=status)
        return self.get_paginated_response(RunShape(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        operation_id="workflow_runs_start", summary="Run a version's workflow", tags=TAGS, request=RunBody,
        responses={201: WholeRunShape},
        description="A worker carries it out; look at its url until `status` is passed, failed or cancelled.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        asked = RunBody.read(request)
        run = places.start(
            asked["versionId"], asked["params"], environment=asked["environment"], actor=actor_of(request)
        )
        return Response(_shown(run.pk), status=201)

    def afterwards(self, response: Response) -> Response:
        """Tell a worker of the run that was answered with; the sweep mends a message that is lost."""
        if response.status_code == 201:
            hint_workflow(str(response.data["id"]))
        return response


class OneRun(APIView):
    @extend_schema(
        operation_id="workflow_runs_get", summary="One run with its tasks", tags=TAGS, responses=WholeRunShape
    )
    def get(self, request: Request, run_id: UUID) -> Response:
        return Response(_shown(run_id))


class CancelRun(APIView):
    @extend_schema(
        operation_id="workflow_runs_cancel", summary="End a run and take back what it did", tags=TAGS,
        request=CancelBody, responses=WholeRunShape,
    )  # fmt: skip
    def post(self, request: Request, run_id: UUID) -> Response:
        asked = CancelBody.read(request)
        lifecycle.cancel(run_id, reason=asked["reason"], actor=actor_of(request))
        return Response(_shown(run_id))

    def afterwards(self, response: Response) -> Response:
        """Tell a worker."""
        if response.status_code == 200:
            hint_workflow(str(response.data["id"]))
        return response


def _shown(run_id: UUID) -> dict[str, Any]:
    run = WorkflowRun.objects.select_related("version__application").filter(pk=run_id).first()
    if run is None:
        raise NotFound(f"there is no workflow run {run_id}")
    return WholeRunShape(run).data


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Invalid("versionId is no id", errors=[("versionId", "must be a version's id")]) from None
