"""Looking into one deployment: events, steps, samples, logs, gates, and why it is where it is."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from aureus import clock
from aureus.journal.models import Event
from aureus.journal.refusals import Invalid, NotFound
from deployments.api import rows, shapes
from deployments.explain import explain
from deployments.gating import checks, reasons
from deployments.lifecycle.requests import installation_for
from deployments.models import Deployment, Step
from deployments.picture import Picture, picture_of
from deployments.snapshot import policy_of
from health.models import Sample, Window
from releases.asking import actor_of
from releases.facts import GateCheck

TAGS = ["deployments"]
AFTER = OpenApiParameter("after", int, description="Only what came after this number, oldest first: for polling.")
TARGET = OpenApiParameter("targetEnvironment", str, description="Default: production.")
MOST_AFTER = 200


class Followed(GenericAPIView):
    """A list that grows: newest first in pages, or `?after=` a number, oldest first."""

    query = frozenset({"after"})
    number: str
    shape: type[shapes.Shape]

    @property
    def ordering(self) -> tuple[str, ...]:
        return (self.number,)

    def of(self, deployment_id: UUID) -> QuerySet[Any]:
        raise NotImplementedError

    def get(self, request: Request, deployment_id: UUID) -> Response:
        found = self.of(deployment_id)
        after = request.query_params.get("after")
        if after is None:
            return self.get_paginated_response(self.shape(self.paginate_queryset(found), many=True).data)
        if not after.isascii() or not after.isdigit() or len(after) > 18:
            raise Invalid("after is no number", errors=[("after", "must be the number of a row")])
        later = found.filter(**{f"{self.number}__gt": int(after)}).order_by(self.number)
        return Response(self.shape(later[:MOST_AFTER], many=True).data)


class Events(Followed):
    number, shape = "seq", shapes.EventShape

    def of(self, deployment_id: UUID) -> QuerySet[Event]:
        return Event.objects.filter(stream=f"deployment:{deployment_id}")

    @extend_schema(
        operation_id="deployments_events", summary="What happened", tags=TAGS, parameters=[AFTER],
        responses=shapes.EventShape(many=True),
    )  # fmt: skip
    def get(self, request: Request, deployment_id: UUID) -> Response:
        return super().get(request, deployment_id)


class Samples(Followed):
    number, shape = "id", shapes.SampleShape

    def of(self, deployment_id: UUID) -> QuerySet[Sample]:
        windows = Window.objects.filter(subject=deployment_id).values_list("pk", flat=True)
        return Sample.objects.filter(window__in=list(windows))

    @extend_schema(
        operation_id="deployments_samples", summary="What was measured", tags=TAGS, parameters=[AFTER],
        responses=shapes.SampleShape(many=True),
    )  # fmt: skip
    def get(self, request: Request, deployment_id: UUID) -> Response:
        return super().get(request, deployment_id)


class SeenOverTime(APIView):
    """What the console draws: each version's traffic, errors and p95 over time, the bounds, and what was decided."""

    @extend_schema(
        operation_id="deployments_picture", summary="How it went over time", tags=TAGS, responses=shapes.PictureShape
    )
    def get(self, request: Request, deployment_id: UUID) -> Response:
        deployment = rows.one(deployment_id)
        seen = picture_of(deployment, clock.now())
        return Response(shapes.PictureShape(_shown(seen) if seen else _NOT_STARTED).data)


_NOT_STARTED: dict[str, Any] = {"begins": None, "ends": None, "versions": [], "decisions": [], "bounds": None}


def _shown(seen: Picture) -> dict[str, Any]:
    def shares(version: str) -> list[dict[str, Any]]:
        return [{"at": at, "percent": percent} for at, percent in seen.shares.get(version, ())]

    versions = [
        {"version": version, "points": seen.points.get(version, ()), "shares": shares(version)}
        for version in sorted({*seen.points, *seen.shares})
    ]
    return {
        "begins": seen.begins, "ends": seen.ends, "versions": versions, "decisions": seen.decisions, "bounds": seen,
    }  # fmt: skip


class Steps(APIView):
    """The whole plan in its order: short enough for one page, and useless without its beginning."""

    @extend_schema(
        operation_id="deployments_steps", summary="Every step of the plan", tags=TAGS,
        responses=shapes.StepOfStageShape(many=True),
    )  # fmt: skip
    def get(self, request: Request, deployment_id: UUID) -> Response:
        steps = Step.objects.filter(deployment=deployment_id).select_related("stage")
        return Response(shapes.StepOfStageShape(steps.order_by("stage__position", "id"), many=True).data)


class Logs(GenericAPIView):
    ordering = ("id",)

    @extend_schema(
        operation_id="deployments_logs", summary="What the steps brought back from hosts", tags=TAGS,
        responses=shapes.LogShape(many=True),
    )  # fmt: skip
    def get(self, request: Request, deployment_id: UUID) -> Response:
        steps = Step.objects.filter(deployment=deployment_id).exclude(output={})
        return self.get_paginated_response(shapes.LogShape(self.paginate_queryset(steps), many=True).data)


class GateChecks(APIView):
    query = frozenset({"targetEnvironment"})

    @extend_schema(
        operation_id="deployments_gate_checks", summary="What the gates say", tags=TAGS, parameters=[TARGET],
        responses=shapes.GateShape(many=True),
    )  # fmt: skip
    def get(self, request: Request, deployment_id: UUID) -> Response:
        _, answers, _ = _judged(request, deployment_id)
        return Response(shapes.GateShape(answers, many=True).data)


class CanPromote(APIView):
    query = frozenset({"targetEnvironment"})

    @extend_schema(
        operation_id="deployments_can_promote", summary="Whether a promotion would be taken", tags=TAGS,
        parameters=[TARGET], responses=shapes.CanPromoteShape,
    )  # fmt: skip
    def get(self, request: Request, deployment_id: UUID) -> Response:
        target, answers, against = _judged(request, deployment_id)
        against = [*against, *reasons(answers)]
        return Response({"canPromote": not against, "targetEnvironment": target, "reasons": against})


def _judged(request: Request, deployment_id: UUID) -> tuple[str, tuple[GateCheck, ...], list[str]]:
    """The target, its gates, and what else speaks against it."""
    target = request.query_params.get("targetEnvironment", "production")
    if not actor_of(request).holds(target):
        raise NotFound(f'there is no environment "{target[:60]}"', code="no_environment")
    deployment = rows.bare(deployment_id)
    to = installation_for(deployment.version, target)
    policy = policy_of(to)
    here = deployment.installation.environment.name
    against = [] if policy.promote_from == here else [
        f"{target} takes versions from {policy.promote_from}, not from {here}."
        if policy.promote_from
        else f"{target} is not promoted to: deploy there directly."
    ]  # fmt: skip
    return target, checks(deployment, to, policy), against


class Explain(APIView):
    query = frozenset({"after"})

    @extend_schema(
        operation_id="deployments_explain", summary="Why it is where it is", tags=TAGS,
        parameters=[OpenApiParameter("after", int, description="Answer 204 where nothing happened after this seq.")],
        responses={200: shapes.ExplanationShape, 204: None},
    )  # fmt: skip
    def get(self, request: Request, deployment_id: UUID) -> Response:
        deployment: Deployment = rows.one(deployment_id)
        newest = Event.objects.filter(stream=deployment.stream).values_list("seq", flat=True).first() or 0
        after = request.query_params.get("after", "")
        if after and (not after.isascii() or not after.isdigit() or len(after) > 18):
            raise Invalid("after is no number", errors=[("after", "must be the number of an event")])
        if after and newest <= int(after):
            return Response(status=204)
        told = explain(deployment)
        shown = {"sentence": told.sentence, "next": told.next, "status": deployment.status, "evidence": told.evidence}
        return Response(shapes.ExplanationShape({**shown, "seq": newest}).data)
