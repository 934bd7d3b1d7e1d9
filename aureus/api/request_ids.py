"""One id per request: taken from `X-Request-Id` or made, in every log line, every problem and the answer's header."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse

USABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def id_of(request: Any) -> str:
    """The id of this request, be it Django's or DRF's."""
    return getattr(getattr(request, "_request", request), "aureus_id", "")


class RequestIds:
    """Middleware; the outermost of ours."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        chosen = given if USABLE.fullmatch(given) else uuid.uuid4().hex
        request.aureus_id = chosen  # type: ignore[attr-defined]
        with structlog.contextvars.bound_contextvars(request_id=chosen):
            response = self.get_response(request)
        response["X-Request-Id"] = chosen
        return response
