"""Freezes of an environment over HTTP: listed with those of every environment, added, lifted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from aureus import clock
from deployments.api.environments import TAGS, named
from deployments.api.shapes import Shape
from deployments.engine import calendar
from deployments.fleet import freezing
from deployments.holding import freezes_of
from deployments.models import Freeze
from releases.asking import Body, Line, Words, actor_of


class FreezeBody(Body):
    """From and to are of one kind: "friday 16:00", "24 december", "22:00" with or without days, "2026-12-24 16:00"."""

    days = serializers.ListField(child=Line(max_length=20), required=False, default=list, max_length=7)
    zone = Line(max_length=64, help_text="Whose clocks count, such as Europe/Berlin or UTC.")
    reason = Words()

    def get_fields(self) -> dict[str, serializers.Field]:
        # `from` is a word of Python's grammar.
        edges = {name: Line(max_length=40, help_text=calendar.LIKE) for name in ("from", "to")}
        return {**edges, **super().get_fields()}


class FreezeShape(Shape):
    id = serializers.IntegerField()
    environment = serializers.CharField(allow_null=True, help_text="Null: it holds in every environment.")
    to = serializers.CharField()
    days = serializers.ListField(child=serializers.CharField())
    zone = serializers.CharField()
    reason = serializers.CharField()
    holdsUntil = serializers.DateTimeField(allow_null=True, help_text="Null: it does not hold now.")
    declared = serializers.BooleanField(help_text="It stands in the declaration, and is lifted there.")
    by = serializers.CharField()
    at = serializers.DateTimeField()

    def get_fields(self) -> dict[str, serializers.Field]:
        return {**super().get_fields(), "from": serializers.CharField()}


class Freezes(APIView):
    @extend_schema(
        operation_id="freezes_list", summary="Freezes that hold there now or will", tags=TAGS,
        responses=FreezeShape(many=True),
    )  # fmt: skip
    def get(self, request: Request, name: str) -> Response:
        now = clock.now()
        return Response([_shown(freeze, period, now) for freeze, period in freezes_of(named(name), now)])

    @extend_schema(
        operation_id="freezes_create", summary="Let no deployment start there in a period", tags=TAGS,
        request=FreezeBody, responses={201: FreezeShape, 200: FreezeShape},
        description="The same freeze again answers 200. Rollbacks, and what has started, go on.",
    )  # fmt: skip
    def post(self, request: Request, name: str) -> Response:
        asked = FreezeBody.read(request)
        reason = asked.pop("reason")
        freeze, is_new = freezing.add(named(name), asked, reason=reason, actor=actor_of(request))
        now = clock.now()
        [shown] = [_shown(one, period, now) for one, period in freezes_of(named(name), now) if one.pk == freeze.pk]
        return Response(shown, status=201 if is_new else 200)


class OneFreeze(APIView):
    @extend_schema(operation_id="freezes_lift", summary="Lift a freeze", tags=TAGS, responses={204: None})
    def delete(self, request: Request, name: str, freeze: int) -> Response:
        freezing.lift(freeze, environment=named(name), actor=actor_of(request))
        return Response(status=204)


def _shown(freeze: Freeze, period: calendar.Period, now: datetime) -> dict[str, Any]:
    held = calendar.holding([period], now)
    return FreezeShape({
        **calendar.written(period), "id": freeze.pk, "reason": freeze.reason, "declared": freeze.declared,
        "environment": freeze.environment.name if freeze.environment else None, "by": freeze.by, "at": freeze.at,
        "holdsUntil": held[1] if held else None,
    }).data  # fmt: skip
