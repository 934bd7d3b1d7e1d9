"""Versions over HTTP: register, send the artifact, withdraw, look up."""

from __future__ import annotations

import base64
import binascii
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
from releases import bumping, registry, spec
from releases.asking import Body, Free, FreeObject, Line, Words, actor_of
from releases.models import Version
from releases.schema import SchemaChange
from releases.store.chosen import store_from

TAGS = ["versions"]
SHA256 = "X-Artifact-Sha256"
SIGNATURE = "X-Artifact-Signature"


class VersionBody(Body):
    workflowSpec = Free(largest=spec.MAX_BYTES, help_text="The workflow: id, name, tasks, dependencies.")
    version = Line(max_length=200, help_text="SemVer; a leading v is dropped.")
    createdBy = Line(
        max_length=200, required=False, allow_blank=True, default="", help_text="A label, kept and echoed."
    )
    metadata = FreeObject(required=False, default=dict)
    schemaChange = Line(
        max_length=40, required=False, default=SchemaChange.NONE.value,
        help_text="none, expand, contract or irreversible: docs/schema-changes.md.",
    )  # fmt: skip

    def why_not(self, name: str) -> str:
        if name == "artifact":
            return "is not taken here: register the version, then PUT the bytes to …/versions/<its id>/artifact"
        return super().why_not(name)


class WithdrawBody(Body):
    reason = Words()


class ArtifactShape(serializers.Serializer):
    sha256 = serializers.CharField()
    size = serializers.IntegerField(help_text="Bytes.")


class SignatureShape(serializers.Serializer):
    key = serializers.CharField(help_text="Fingerprint of the signer's key.")
    by = serializers.CharField(help_text="Who sent it.")
    at = serializers.DateTimeField()


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
    schemaChange = serializers.CharField(source="schema_change")
    metadata = serializers.JSONField()
    artifact = ArtifactShape(allow_null=True)
    artifactRemovedAt = serializers.DateTimeField(
        source="artifact_removed_at", allow_null=True,
        help_text="Since when its bytes are not to be had: to deploy it, send them again.",
    )  # fmt: skip
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
    signatures = SignatureShape(many=True, help_text="Whether they count is the target environment's to say.")
    warnings = serializers.SerializerMethodField(
        help_text="What the checker finds in it and does not refuse, and a number that says less than it changes."
    )

    @extend_schema_field(FindingShape(many=True))
    def get_warnings(self, version: Version) -> Any:
        found = [*registry.warnings(version, settings.AUREUS.WORKFLOW_POLICY), *bumping.warnings(version)]
        return FindingShape(found, many=True).data


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
            metadata=asked["metadata"], policy=settings.AUREUS.WORKFLOW_POLICY, schema_change=asked["schemaChange"],
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
            OpenApiParameter(
                SIGNATURE, str, OpenApiParameter.HEADER, description="A signature file in base64: docs/artifacts.md."
            ),
        ],
        description="Streamed and checked by its sha256; a version that was deployed takes no other artifact (409). "
        "Without a body the bytes of another version of the same application are taken, or 404 says to send them.",
    )  # fmt: skip
    def put(self, request: Request, version_id: UUID) -> Response:
        named = request.headers.get(SHA256) or request.query_params.get("sha256") or ""
        if not named:
            raise Invalid(f"say the archive's sha256 in {SHA256} or ?sha256=", errors=[("sha256", "is missing")])
        how: dict[str, Any] = {
            "sha256": named.lower(), "actor": actor_of(request), "store": store_from(settings.AUREUS),
            "signature": _signature_of(request),
        }  # fmt: skip
        if request.META.get("CONTENT_LENGTH") == "0":
            version = registry.attach_known(version_id, **how)
        else:
            stream, most = cast(Any, request._request), settings.AUREUS.MAX_ARTIFACT_SIZE
            version = registry.attach(version_id, stream, max_size=most, **how)
        return Response(WholeVersionShape(version).data)


def _signature_of(request: Request) -> bytes | None:
    sent = request.headers.get(SIGNATURE)
    if sent is None:
        return None
    try:
        return base64.b64decode(sent, validate=True)
    except binascii.Error:
        raise Invalid(
            f"{SIGNATURE} must be the signature file in base64", errors=[("signature", "no base64")]
        ) from None


class VersionSignature(APIView):
    @extend_schema(
        operation_id="versions_sign", summary="Send a signature of the archive", tags=TAGS,
        request={"application/octet-stream": OpenApiTypes.BINARY}, responses=WholeVersionShape,
        description="The file that ssh-keygen -Y sign made of the archive's sha256: docs/artifacts.md.",
    )  # fmt: skip
    def put(self, request: Request, version_id: UUID) -> Response:
        version = registry.sign(version_id, request._request.body, actor=actor_of(request))
        return Response(WholeVersionShape(version).data)


class WithdrawVersion(APIView):
    @extend_schema(
        operation_id="versions_withdraw", summary="Take a version out of use", tags=TAGS, request=WithdrawBody,
        responses=WholeVersionShape,
    )  # fmt: skip
    def post(self, request: Request, version_id: UUID) -> Response:
        asked = WithdrawBody.read(request)
        version = registry.withdraw(version_id, reason=asked["reason"], actor=actor_of(request))
        return Response(WholeVersionShape(version).data)
