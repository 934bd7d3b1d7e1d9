"""Evidence and waivers over HTTP: reports as files or JSON, what people attest, and gates that are waived."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from releases import evidence, registry, waiving
from releases.asking import Body, Free, Line, Words, actor_of
from releases.models import Evidence, Waiver

TAGS = ["versions"]
KIND = "tests, coverage, vulnerabilities, review, policy, crv, an attestation, or any other word"


class EvidenceBody(Body):
    kind = Line(max_length=40, help_text=f"What the report is: {KIND}.")
    report = Free()
    subject = Line(max_length=200, required=False, allow_blank=True, default="")


class FileQuery(Body):
    kind = Line(max_length=40)
    format = Line(max_length=20, required=False, allow_blank=True, default="")
    subject = Line(max_length=200, required=False, allow_blank=True, default="")


class WaiverBody(Body):
    environment = Line(max_length=60, help_text="Where the version may go without that gate.")
    gate = Line(max_length=40, help_text="Its name in gate-checks.")
    owner = Line(max_length=150, help_text="Who sees to it that the gate passes.")
    reason = Words()
    expiresAt = serializers.DateTimeField(help_text="Within the next 30 days.")


class UnwaiveBody(Body):
    environment = Line(max_length=60)
    gate = Line(max_length=40)


class EvidenceShape(serializers.Serializer):
    id = serializers.IntegerField()
    versionId = serializers.UUIDField(source="version_id")
    kind = serializers.CharField()
    subject = serializers.CharField()
    format = serializers.CharField(help_text="How it was read; empty: it is not judged.")
    summary = serializers.JSONField(help_text="What it comes to; empty: it is not judged.")
    report = serializers.JSONField(help_text="As it was sent; empty where a file was.")
    digest = serializers.CharField(help_text="The version's digest when it was sent.")
    isAboutTheseBytes = serializers.SerializerMethodField(help_text="False: it counts for nothing any more.")
    fileSha256 = serializers.SerializerMethodField(help_text="Of the file that was sent, at …/evidence/ID/raw.")
    by = serializers.CharField()
    at = serializers.DateTimeField()

    def get_isAboutTheseBytes(self, row: Evidence) -> bool:
        return row.digest == row.version.digest

    def get_fileSha256(self, row: Evidence) -> str | None:
        return row.file.sha256 if row.file else None


class WaiverShape(serializers.Serializer):
    id = serializers.IntegerField()
    versionId = serializers.UUIDField(source="version_id")
    environment = serializers.CharField()
    gate = serializers.CharField()
    owner = serializers.CharField()
    reason = serializers.CharField()
    expiresAt = serializers.DateTimeField(source="expires_at")
    digest = serializers.CharField()
    by = serializers.CharField()
    at = serializers.DateTimeField()
    liftedAt = serializers.DateTimeField(source="lifted_at", allow_null=True)
    liftedBy = serializers.CharField(source="lifted_by")


class VersionEvidence(GenericAPIView):
    ordering = ("at", "id")
    query = frozenset({"kind", "format", "subject"})

    @extend_schema(
        operation_id="versions_evidence_list", summary="What is known of a version", tags=TAGS,
        parameters=[OpenApiParameter(name, str) for name in sorted(query)], responses=EvidenceShape(many=True),
    )  # fmt: skip
    def get(self, request: Request, version_id: UUID) -> Response:
        rows = Evidence.objects.filter(version=registry.get(version_id)).select_related("version", "file")
        asked = {name: value for name, value in request.query_params.items() if name in self.query}
        rows = rows.filter(**asked).defer("version__spec", "file__packed")
        return self.get_paginated_response(EvidenceShape(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        operation_id="versions_evidence", summary="Add a report about a version", tags=TAGS,
        request={"application/json": EvidenceBody, "application/octet-stream": OpenApiTypes.BINARY},
        parameters=[
            OpenApiParameter("kind", str, description="Makes the body a file: tests, coverage, vulnerabilities, …"),
            OpenApiParameter("format", str, description="Of the file; guessed where it is not given."),
            OpenApiParameter("subject", str, description="What the file is about, such as unit or integration."),
        ],
        responses={201: EvidenceShape, 200: EvidenceShape},
        description="JSON, or with `?kind=` the file of a tool as it is; the same again answers 200: docs/gates.md.",
    )  # fmt: skip
    def post(self, request: Request, version_id: UUID) -> Response:
        add = self._file if request.query_params else self._json
        row, is_new = add(request, version_id)
        return Response(EvidenceShape(row).data, status=201 if is_new else 200)

    @staticmethod
    def _json(request: Request, version_id: UUID) -> tuple[Evidence, bool]:
        asked = EvidenceBody.read(request)
        return evidence.add(
            version_id, asked["kind"], asked["report"], subject=asked["subject"], actor=actor_of(request)
        )

    @staticmethod
    def _file(request: Request, version_id: UUID) -> tuple[Evidence, bool]:
        asked: Any = FileQuery(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        said = asked.validated_data
        return evidence.add_file(
            version_id, said["kind"], request._request.body, name=said["format"], subject=said["subject"],
            actor=actor_of(request),
        )  # fmt: skip


class EvidenceFile(APIView):
    @extend_schema(
        operation_id="versions_evidence_raw", summary="The file of a report, as it was sent", tags=TAGS,
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
    )  # fmt: skip
    def get(self, request: Request, version_id: UUID, evidence_id: int) -> HttpResponse:
        row = evidence.one(version_id, evidence_id)
        name = f"{row.kind}-{row.pk}" if row.kind.isascii() and row.kind.isidentifier() else f"evidence-{row.pk}"
        # Never shown by a browser as what it may contain.
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
        return HttpResponse(evidence.raw(row), content_type="application/octet-stream", headers=headers)


class Waivers(GenericAPIView):
    ordering = ("at", "id")

    @extend_schema(
        operation_id="versions_waivers_list", summary="Gates that were waived for a version", tags=TAGS,
        responses=WaiverShape(many=True),
    )  # fmt: skip
    def get(self, request: Request, version_id: UUID) -> Response:
        rows = Waiver.objects.filter(version=registry.get(version_id))
        return self.get_paginated_response(WaiverShape(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        operation_id="versions_waive", summary="Let a gate not hold a version for a time", tags=TAGS,
        request=WaiverBody, responses={201: WaiverShape},
    )  # fmt: skip
    def post(self, request: Request, version_id: UUID) -> Response:
        asked = WaiverBody.read(request)
        waiver = waiving.waive(
            version_id, asked["gate"], environment=asked["environment"], owner=asked["owner"], reason=asked["reason"],
            expires_at=asked["expiresAt"], actor=actor_of(request),
        )  # fmt: skip
        return Response(WaiverShape(waiver).data, status=201)


class Unwaive(APIView):
    @extend_schema(
        operation_id="versions_unwaive", summary="Let a waived gate hold again", tags=TAGS, request=UnwaiveBody,
        responses=WaiverShape(many=True),
        description="Answers what was waived for the version, newest first.",
    )  # fmt: skip
    def post(self, request: Request, version_id: UUID) -> Response:
        asked = UnwaiveBody.read(request)
        waiving.unwaive(version_id, asked["gate"], environment=asked["environment"], actor=actor_of(request))
        rows = Waiver.objects.filter(version=version_id)[:50]
        return Response(WaiverShape(rows, many=True).data)
