"""How large a body may be: refused by its announced length, before a byte of it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from aureus.api import problems

ARTIFACT = "version-artifact"
"""The one route whose body is bytes, with a limit of its own."""


class BodyLimits:
    """Middleware: 411 where no length is announced, 413 where it is more than this route takes."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: object, args: Any, kwargs: Any) -> HttpResponse | None:
        if not request.path.startswith("/api/"):
            return None
        announced = request.META.get("CONTENT_LENGTH", "")
        is_artifact = request.resolver_match is not None and request.resolver_match.url_name == ARTIFACT
        if not announced and (request.headers.get("Transfer-Encoding") or (is_artifact and request.method == "PUT")):
            return problems.plain(request, 411, "send the body's length as Content-Length, not in chunks")
        if not announced:
            return None
        if not announced.isascii() or not announced.isdigit():
            return problems.plain(request, 400, "Content-Length must be a number of bytes")
        name = "MAX_ARTIFACT_SIZE" if is_artifact else "MAX_REQUEST_SIZE"
        most = getattr(settings.AUREUS, name)
        if int(announced) > most:
            told = f"the body has {announced} bytes; at most {most} are taken here ({name})"
            return problems.plain(request, 413, told, code="too_large")
        return None
