"""Variables of an installation over HTTP. Answers have names and digests; plain values only where that is asked."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deployments import configuring
from deployments.api.shapes import Shape
from deployments.engine.variables import LARGEST
from deployments.models import Configuration
from releases.asking import Body, Free, Words, actor_of

TAGS = ["environments"]
SAID = '{"value": text} or {"secret": "env:NAME" or "file:/path"} by name'


class ConfigurationBody(Body):
    variables = Free(
        required=False, allow_null=True, default=None, largest=2 * LARGEST, help_text=f"All of them: {SAID}."
    )
    changes = Free(
        required=False, allow_null=True, default=None, largest=2 * LARGEST,
        help_text=f"Instead of `variables`, what differs from the newest revision: {SAID}; null takes it away.",
    )  # fmt: skip
    note = Words(required=False, allow_blank=True, default="")
    again = serializers.BooleanField(
        required=False, default=False,
        help_text="A revision of its own though nothing differs: what lies behind a reference has changed.",
    )  # fmt: skip


class ConfigurationShape(Shape):
    """One revision without its values."""

    revision = serializers.IntegerField(source="number")
    digest = serializers.CharField(help_text="sha256 of names, plain values and references.")
    names = serializers.SerializerMethodField()
    secrets = serializers.SerializerMethodField(help_text="The names among them that are secrets.")
    by = serializers.CharField()
    at = serializers.DateTimeField()
    note = serializers.CharField()

    def get_names(self, row: Configuration) -> list[str]:
        return sorted(row.variables)

    def get_secrets(self, row: Configuration) -> list[str]:
        return sorted(name for name, said in row.variables.items() if "secret" in said)


class WholeConfigurationShape(ConfigurationShape):
    """One revision with its plain values. Of a secret there is the reference: nobody is shown more."""

    variables = serializers.JSONField(help_text=f"{SAID}.")


class Configurations(GenericAPIView):
    ordering = ("number",)

    @extend_schema(
        operation_id="configurations_list", summary="Revisions of an installation's variables, newest first",
        tags=TAGS, responses=ConfigurationShape(many=True),
    )  # fmt: skip
    def get(self, request: Request, name: str, application: str) -> Response:
        rows = configuring.installation_of(name, application).configurations.all()
        return self.get_paginated_response(ConfigurationShape(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        operation_id="configurations_create", summary="Write the next revision of the variables", tags=TAGS,
        request=ConfigurationBody, responses={201: ConfigurationShape, 200: ConfigurationShape},
        description="It ships nothing: the next deployment does, also one of the version that is there already. "
        "What equals the newest revision answers 200 with that one.",
    )  # fmt: skip
    def post(self, request: Request, name: str, application: str) -> Response:
        asked: dict[str, Any] = ConfigurationBody.read(request)
        row, is_new = configuring.configure(name, application, actor=actor_of(request), **asked)
        return Response(ConfigurationShape(row).data, status=201 if is_new else 200)


class OneConfiguration(APIView):
    @extend_schema(
        operation_id="configurations_get", summary="One revision with its plain values", tags=TAGS,
        responses=WholeConfigurationShape,
    )  # fmt: skip
    def get(self, request: Request, name: str, application: str, number: int) -> Response:
        row = configuring.named(configuring.installation_of(name, application), number)
        return Response(WholeConfigurationShape(row).data)
