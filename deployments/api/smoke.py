"""Smoke tests that CI asks for: written down, run by a worker, answered with their results where those come in time."""

from __future__ import annotations

import threading
import time
from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from aureus.journal.refusals import NotFound
from deployments import smoke
from deployments.api.bodies import SmokeBody
from deployments.api.shapes import SmokeRunShape
from deployments.hints import hint_smoke
from health.models import SmokeRun
from releases.asking import actor_of

TAGS = ["smoke tests"]
PATIENCE = 50.0
"""Seconds an answer waits for the results."""
EVERY = 0.1
_waiting = threading.BoundedSemaphore(max(1, settings.AUREUS.DATABASE_POOL_SIZE // 2))
"""At most half of this process's threads wait, so that the others can still take a rollback."""


class SmokeTests(GenericAPIView):
    ordering = ("at", "id")

    @extend_schema(
        operation_id="smoke_list", summary="Smoke runs of a deployment", tags=TAGS,
        responses=SmokeRunShape(many=True),
    )  # fmt: skip
    def get(self, request: Request, deployment_id: UUID) -> Response:
        page = self.paginate_queryset(SmokeRun.objects.filter(subject=deployment_id))
        return self.get_paginated_response([_shown(run) for run in page or []])

    @extend_schema(
        operation_id="smoke_run", summary="Run smoke tests against the current deployment", tags=TAGS,
        request=SmokeBody, responses={200: SmokeRunShape, 202: SmokeRunShape},
        description="Answers within 50 s: with the results, or 202 with overallStatus running and a url to ask again.",
    )  # fmt: skip
    def post(self, request: Request, deployment_id: UUID) -> Response:
        asked = SmokeBody.read(request)
        run = smoke.request(deployment_id, asked["tests"], actor=actor_of(request))
        return Response(_shown(run), status=202)

    def afterwards(self, response: Response) -> Response:
        """Tell a worker of the run that was answered with, and wait for its results.

        A repeated request tells it once more, which mends a lost message: of two results the first one stands.
        """
        if response.status_code != 202:
            return response
        run = SmokeRun.objects.get(uuid=response.data["id"])
        if not run.verdict and hint_smoke(str(run.uuid)):
            run = _finished(run)
        response.data, response.status_code = _shown(run), 200 if run.verdict else 202
        return response


class OneSmokeRun(APIView):
    @extend_schema(operation_id="smoke_get", summary="One smoke run", tags=TAGS, responses=SmokeRunShape)
    def get(self, request: Request, deployment_id: UUID, run_id: UUID) -> Response:
        run = SmokeRun.objects.filter(subject=deployment_id, uuid=run_id).first()
        if run is None:
            raise NotFound(f"there is no smoke run {run_id} of this deployment")
        return Response(_shown(run))


def _finished(run: SmokeRun) -> SmokeRun:
    """The run, finished where that happens in time and a thread may be spent on it."""
    if not _waiting.acquire(blocking=False):
        return run
    try:
        ends = time.monotonic() + PATIENCE
        while not run.verdict and time.monotonic() < ends:
            time.sleep(EVERY)
            run.refresh_from_db(fields=["verdict", "results"])
        return run
    finally:
        _waiting.release()


def _shown(run: SmokeRun) -> dict[str, Any]:
    passed = sum(result["status"] == "passed" for result in run.results)
    return SmokeRunShape({
        "id": run.uuid,
        "deploymentId": run.subject,
        "testResults": run.results,
        "overallStatus": run.verdict or "running",
        "passedTests": passed,
        "failedTests": len(run.results) - passed,
        "totalTests": len(run.tests),
        "url": reverse("deployment-smoke-run", args=[run.subject, run.uuid]),
    }).data  # fmt: skip
