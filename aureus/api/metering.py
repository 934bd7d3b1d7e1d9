"""/metrics, and what the web counts of itself: requests and how long they took, by route."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from django.conf import settings
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from deployments.metrics import Rows

disable_created_metrics()
log = structlog.get_logger(__name__)
REQUESTS = Counter("aureus_api_requests", "API requests.", ["method", "route", "status"])
DURATION = Histogram(
    "aureus_api_request_duration_seconds",
    "How long API requests took.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "OPTIONS"})


class Metering:
    """Middleware: counts what comes to /api. A route's name is the label, never an address with ids."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.monotonic()
        response = self.get_response(request)
        if request.path.startswith("/api/"):
            self._count(request, response, time.monotonic() - began)
        return response

    def _count(self, request: HttpRequest, response: HttpResponse, seconds: float) -> None:
        method = request.method if request.method in METHODS else "other"
        route = (request.resolver_match.url_name if request.resolver_match else None) or "unknown"
        REQUESTS.labels(method, route, str(response.status_code)).inc()
        DURATION.labels(method, route).observe(seconds)
        if method != "GET" or response.status_code >= 500:
            log.info("request", method=method, route=route, status=response.status_code, ms=round(seconds * 1000))


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format: this process's counters, then the figures from rows."""
    if not settings.AUREUS.ENABLE_METRICS:
        raise Http404
    return HttpResponse(generate_latest(REGISTRY) + _of_rows(), content_type=CONTENT_TYPE_LATEST)


def _of_rows() -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    try:
        registry.register(Rows())
        return generate_latest(registry)
    except Error as error:
        # With the database away the process's own counters are all the more wanted.
        log.warning("no figures from rows", error=str(error).strip())
        return b""
