"""Asking for deployments: deploy, promote, roll back, look up."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deployments import lifecycle
from deployments.api import rows
from deployments.api.bodies import DeployBody, PromoteBody, RollbackBody, RollbackByBody, wish_of
from deployments.api.shapes import DeploymentShape, DryRunShape, WholeDeploymentShape
from deployments.models import Deployment
from releases.asking import actor_of

TAGS = ["deployments"]
FILTERS = ("environment", "workflowId", "status", "versionId", "current")


def shown(deployment: Deployment) -> dict[str, Any]:
    """The answer of a verb: the whole deployment as it is now."""
    return WholeDeploymentShape(rows.one(deployment.pk)).data


class Deployments(GenericAPIView):
    ordering = ("created_at", "id")

    @property
    def query(self) -> frozenset[str]:
        return frozenset(FILTERS) if self.request.method != "POST" else frozenset({"dryRun"})

    @extend_schema(
        operation_id="deployments_list", summary="List deployments, newest first", tags=TAGS,
        parameters=[OpenApiParameter(name, str) for name in FILTERS], responses=DeploymentShape(many=True),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(rows.matching(actor_of(request), request.query_params.dict()))
        rows.dress(page or [])
        return self.get_paginated_response(DeploymentShape(page, many=True).data)

    @extend_schema(
        operation_id="deployments_create", summary="Deploy a version", tags=TAGS, request=DeployBody,
        parameters=[OpenApiParameter("dryRun", bool, description="Answer the plan; store nothing.")],
        responses={201: WholeDeploymentShape, 200: DryRunShape},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        asked = DeployBody.read(request)
        wish = wish_of(asked, "deployedBy")
        if rows.is_true(request.query_params.dict(), "dryRun"):
            return Response(_planned(lifecycle.dry_run(asked["versionId"], asked["environment"], wish=wish)))
        deployment = lifecycle.deploy(asked["versionId"], asked["environment"], actor=actor_of(request), wish=wish)
        return Response(shown(deployment), status=201)


def _planned(plan: dict[str, Any]) -> dict[str, Any]:
    stages = [
        {"name": stage["name"], "steps": [{"kind": kind, "host": host} for kind, host in stage["steps"]]}
        for stage in plan["stages"]
    ]
    return {
        "planHash": plan["plan_hash"], "lossless": plan["lossless"], "warnings": plan["warnings"],
        "ifItFails": plan["intent"]["if_it_fails"],
        "intent": plan["intent"], "stages": stages, "targets": plan["targets"], "risk": plan["risk"],
        "riskReasons": plan["risk_reasons"], "approvals": plan["approvals"],
    }  # fmt: skip


class OneDeployment(APIView):
    @extend_schema(operation_id="deployments_get", summary="One deployment", tags=TAGS, responses=WholeDeploymentShape)
    def get(self, request: Request, deployment_id: UUID) -> Response:
        return Response(WholeDeploymentShape(rows.one(deployment_id)).data)


class Promote(APIView):
    @extend_schema(
        operation_id="deployments_promote", summary="Bring what was tested to the next environment", tags=TAGS,
        request=PromoteBody, responses={201: WholeDeploymentShape, 200: WholeDeploymentShape},
        description="A promotion of the same deployment that is still open is answered with 200.",
    )  # fmt: skip
    def post(self, request: Request, deployment_id: UUID) -> Response:
        asked = PromoteBody.read(request)
        deployment, is_new = lifecycle.promote(
            deployment_id, actor=actor_of(request), environment=asked["targetEnvironment"],
            wish=wish_of(asked, "promotedBy"),
        )  # fmt: skip
        return Response(shown(deployment), status=201 if is_new else 200)


class Rollback(APIView):
    @extend_schema(
        operation_id="deployments_rollback", summary="Undo a deployment", tags=TAGS, request=RollbackBody,
        responses={201: WholeDeploymentShape, 200: WholeDeploymentShape},
        description="Asking again answers 200 with the same rollback while it is open or has succeeded.",
    )  # fmt: skip
    def post(self, request: Request, deployment_id: UUID) -> Response:
        return _roll_back(request, deployment_id, RollbackBody.read(request))


class RollbackNamedInBody(APIView):
    @extend_schema(
        operation_id="deployments_rollback_by_body", summary="Undo a deployment named in the body", tags=TAGS,
        request=RollbackByBody, responses={201: WholeDeploymentShape, 200: WholeDeploymentShape},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        asked = RollbackByBody.read(request)
        return _roll_back(request, asked["deploymentId"], asked)


def _roll_back(request: Request, deployment_id: UUID, asked: dict[str, Any]) -> Response:
    rollback, is_new = lifecycle.roll_back(
        deployment_id, actor=actor_of(request), reason=asked["reason"], target_version=asked["targetVersion"],
        accept_schema_change=asked["acceptSchemaChange"],
    )  # fmt: skip
    return Response(shown(rollback), status=201 if is_new else 200)
