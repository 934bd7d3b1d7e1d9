"""Release notes of a version over HTTP, since another one or since what an environment runs."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from aureus.journal.refusals import Invalid, NotFound
from deployments.contents import current_of
from deployments.lifecycle.requests import installation_for
from releases import noting, registry
from releases.asking import actor_of
from releases.notes import Notes, as_json, markdown


class ChangeShape(serializers.Serializer):
    task = serializers.CharField()
    change = serializers.CharField()
    demands = serializers.CharField(help_text="MAJOR, MINOR or PATCH.")


class NoteShape(serializers.Serializer):
    version = serializers.CharField()
    id = serializers.UUIDField()
    createdBy = serializers.CharField()
    createdAt = serializers.DateTimeField()
    gitCommit = serializers.CharField(help_text="Of its metadata.")
    notes = serializers.CharField(help_text="releaseNotes, notes or changelog of its metadata.")
    after = serializers.CharField(allow_null=True, help_text="The version that its workflow is compared with.")
    changes = ChangeShape(many=True, allow_null=True, help_text="Of its workflow; null: they cannot be told.")
    demands = serializers.CharField(allow_null=True, help_text="The least bump for these changes.")
    evidence = serializers.ListField(child=serializers.CharField())
    waived = serializers.ListField(child=serializers.CharField())
    withdrawn = serializers.CharField(allow_null=True, help_text="Why; null: it was not.")
    schemaChange = serializers.CharField()


class NotesShape(serializers.Serializer):
    workflowId = serializers.CharField()
    version = serializers.CharField()
    since = serializers.CharField(allow_null=True)
    leftOut = serializers.IntegerField(help_text="Older versions of the range that are not shown.")
    versions = NoteShape(many=True, help_text="The newest first.")
    markdown = serializers.CharField(help_text="All of it for people; what others wrote is neither Markdown nor HTML.")


class VersionNotes(APIView):
    query = frozenset({"since", "environment"})

    @extend_schema(
        operation_id="versions_notes", summary="Release notes", tags=["versions"],
        parameters=[
            OpenApiParameter("since", str, description="A lower version: number or id. Default: the release before."),
            OpenApiParameter("environment", str, description="Since what this environment runs."),
        ],
        responses=NotesShape,
    )  # fmt: skip
    def get(self, request: Request, version_id: UUID) -> Response:
        asked = request.query_params
        notes = _asked(request, version_id, asked.get("since"), asked.get("environment"))
        return Response(NotesShape({**as_json(notes), "markdown": markdown(notes)}).data)


def _asked(request: Request, version_id: UUID, since: str | None, environment: str | None) -> Notes:
    """Raises Invalid, NotFound."""
    if environment is None:
        return noting.of(version_id, since)
    if since is not None:
        raise Invalid("say since or environment, not both", errors=[("environment", "stands alone")])
    if not actor_of(request).holds(environment):
        raise NotFound(f'there is no environment "{environment[:60]}" in which you hold a role', code="no_environment")
    current = current_of(installation_for(registry.get(version_id), environment))
    return noting.of(version_id, str(current.version_id) if current else None)
