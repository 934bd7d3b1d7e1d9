"""Versions over HTTP: register, send the artifact, add evidence, withdraw, look up."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from aureus.journal.refusals import Invalid
from releases import registry, spec
from releases.asking import Body, Free, FreeObject, Line, Words, actor_of
from releases.models import Evidence, Version
from releases.store.directory import DirectoryStore

TAGS = ["versions"]
SHA256 = "X-Artifact-Sha256"


class VersionBody(Body):
    workflowSpec = Free(largest=spec.MAX_BYTES, help_text="The workflow: id, name, tasks, dependencies.")
    version = Line(max_length=200, help_text="SemVer; a leading v is dropped.")
    createdBy = Line(
        max_length=200, required=False, allow_blank=True, default="", help_text="A label, kept and echoed."
    )
    metadata = FreeObject(required=False, default=dict)

    def why_not(self, name: str) -> str:
        if name == "artifact":
            return "is not taken here: register the version, then PUT the bytes to …/versions/<its id>/artifact"
        return super().why_not(name)


class EvidenceBody(Body):
    kind = Line(max_length=40, help_text="What the report is: tests, coverage, vulnerabilities, review, …")
    report = Free()
    subject = Line(max_length=200, required=False, allow_blank=True, default="")


class WithdrawBody(Body):
    reason = Words()


class ArtifactShape(serializers.Serializer):
    sha256 = serializers.CharField()
    size = serializers.IntegerField(help_text="Bytes.")


class VersionShape(serializers.Serializer):
    """A version without its spec."""

    id = serializers.UUIDField()
    version = serializers.CharField(source="number")
    workflowId = serializers.CharField(source="application.key")
    createdAt = serializers.DateTimeField(source="created_at")
    createdBy = serializers.SerializerMethodField()
    status = serializers.SerializerMethodField()
    registeredBy = serializers.CharField(source="created_by", help_text="Whose token it was.")
    digest = serializers.CharField()
    content = serializers.CharField(help_text="Its folder on a host.")
    metadata = serializers.JSONField()
    artifact = ArtifactShape(allow_null=True)
    sealedAt = serializers.DateTimeField(source="sealed_at", allow_null=True)
    withdrawnAt = serializers.DateTimeField(source="withdrawn_at", allow_null=True)
    withdrawnReason = serializers.CharField(source="withdrawn_reason")

    def get_createdBy(self, version: Version) -> str:
        return version.created_label or version.created_by

    def get_status(self, version: Version) -> str:
        return "withdrawn" if version.withdrawn_at else "registered"


class FindingShape(serializers.Serializer):
    rule = serializers.CharField()
    severity = serializers.CharField(help_text="By the policy that holds now: error or warning.")
    message = serializers.CharField()
    tasks = serializers.ListField(child=serializers.CharField())
    path = serializers.CharField(help_text="Where in the spec.")


class WholeVersionShape(VersionShape):
    workflowSpec = serializers.JSONField(source="spec")
    warnings = serializers.SerializerMethodField(help_text="What the checker finds in it and does not refuse.")

    @extend_schema_field(FindingShape(many=True))
    def get_warnings(self, version: Version) -> Any:
        return FindingShape(registry.warnings(version, settings.AUREUS.WORKFLOW_POLICY), many=True).data


class EvidenceShape(serializers.Serializer):
    id = serializers.IntegerField()
    versionId = serializers.UUIDField(source="version_id")
    kind = serializers.CharField()
    subject = serializers.CharField()
    report = serializers.JSONField()
    by = serializers.CharField()
    at = serializers.DateTimeField()


class Versions(GenericAPIView):
    ordering = ("created_at", "id")
    query = frozenset({"workflowId"})

    @extend_schema(
        operation_id="versions_list", summary="List versions, newest first", tags=TAGS,
        parameters=[OpenApiParameter("workflowId", str)], responses=VersionShape(many=True),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        rows = Version.objects.select_related("application", "artifact").defer("spec")
        if key := request.query_params.get("workflowId"):
            rows = rows.filter(application__key=key)
        return self.get_paginated_response(VersionShape(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        operation_id="versions_register", summary="Register a version", tags=TAGS, request=VersionBody,
        responses={201: WholeVersionShape, 200: WholeVersionShape},
        description="The same content again answers 200 with the same id; other content under a taken label is a 409. "
        "What breaks the rules of WORKFLOW_POLICY is a 400 with each finding; what it only warns of is in `warnings`.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        asked = VersionBody.read(request)
        version, is_new = registry.register(
            asked["workflowSpec"], asked["version"], actor=actor_of(request), label=asked["createdBy"],
            metadata=asked["metadata"], policy=settings.AUREUS.WORKFLOW_POLICY,
        )  # fmt: skip
        return Response(WholeVersionShape(version).data, status=201 if is_new else 200)


class OneVersion(APIView):
    @extend_schema(operation_id="versions_get", summary="One version", tags=TAGS, responses=WholeVersionShape)
    def get(self, request: Request, version_id: UUID) -> Response:
        return Response(WholeVersionShape(registry.get(version_id)).data)


class VersionArtifact(APIView):
    query = frozenset({"sha256"})

    @extend_schema(
        operation_id="versions_artifact", summary="Send the archive", tags=TAGS, responses=WholeVersionShape,
        request={"application/octet-stream": OpenApiTypes.BINARY},
        parameters=[
            OpenApiParameter(SHA256, str, OpenApiParameter.HEADER, description="Of the bytes, in hexadecimal."),
            OpenApiParameter("sha256", str, description=f"The same, where {SHA256} is not sent."),
        ],
        description="Streamed and checked by its sha256; a version that was deployed takes no other artifact (409).",
    )  # fmt: skip
    def put(self, request: Request, version_id: UUID) -> Response:
        named = request.headers.get(SHA256) or request.query_params.get("sha256") or ""
        if not named:
            raise Invalid(f"say the archive's sha256 in {SHA256} or ?sha256=", errors=[("sha256", "is missing")])
        version = registry.attach(
            version_id, cast(Any, request._request), sha256=named.lower(), actor=actor_of(request),
            store=DirectoryStore(Path(settings.AUREUS.ARTIFACT_DIR)), max_size=settings.AUREUS.MAX_ARTIFACT_SIZE,
        )  # fmt: skip
        return Response(WholeVersionShape(version).data)


class VersionEvidence(GenericAPIView):
    ordering = ("at", "id")

    @extend_schema(
        operation_id="versions_evidence_list", summary="What is known of a version", tags=TAGS,
        responses=EvidenceShape(many=True),
    )  # fmt: skip
    def get(self, request: Request, version_id: UUID) -> Response:
        rows = Evidence.objects.filter(version=registry.get(version_id))
        return self.get_paginated_response(EvidenceShape(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        operation_id="versions_evidence", summary="Add a report about a version", tags=TAGS, request=EvidenceBody,
        responses={201: EvidenceShape},
    )  # fmt: skip
    def post(self, request: Request, version_id: UUID) -> Response:
        asked = EvidenceBody.read(request)
        evidence = registry.add_evidence(
            version_id, asked["kind"], asked["report"], subject=asked["subject"], actor=actor_of(request)
        )
        return Response(EvidenceShape(evidence).data, status=201)


class WithdrawVersion(APIView):
    @extend_schema(
        operation_id="versions_withdraw", summary="Take a version out of use", tags=TAGS, request=WithdrawBody,
        responses=WholeVersionShape,
    )  # fmt: skip
    def post(self, request: Request, version_id: UUID) -> Response:
        asked = WithdrawBody.read(request)
        version = registry.withdraw(version_id, reason=asked["reason"], actor=actor_of(request))
        return Response(WholeVersionShape(version).data)
