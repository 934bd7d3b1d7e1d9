"""Every refusal as `application/problem+json` (RFC 9457): a sentence that says what to do, and the request's id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response

from aureus.api.request_ids import id_of
from aureus.journal.refusals import Refused

MEDIA_TYPE = "application/problem+json"
log = structlog.get_logger(__name__)


def body(
    status: int,
    detail: str,
    *,
    code: str = "",
    errors: Iterable[tuple[str, str]] = (),
    about: Mapping[str, Any] | None = None,
    request_id: str = "",
) -> dict[str, Any]:
    """The members of a problem; `about` are members of its own kind."""
    title = HTTPStatus(status).phrase
    return {
        **(about or {}),
        "type": f"urn:aureus:problem:{code or title.lower().replace(' ', '_')}",
        "title": title,
        "status": status,
        "detail": detail,
        "errors": [{"path": path, "message": message} for path, message in errors],
        "requestId": request_id,
    }


def plain(request: HttpRequest, status: int, detail: str, *, code: str = "", **headers: str) -> JsonResponse:
    """A problem from outside of a view."""
    told = body(status, detail, code=code, request_id=id_of(request))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return JsonResponse(told, status=status, content_type=MEDIA_TYPE, headers=named)


def answer(error: Exception, context: Mapping[str, Any]) -> Response:
    """What a view answers to an exception. DRF's EXCEPTION_HANDLER."""
    request = context["request"]
    status, detail, code, errors, about = _told(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("a view failed", path=request.path, exc_info=error)
    told = body(status, detail, code=code, errors=errors, about=about, request_id=id_of(request))
    return Response(told, status=status, headers=_headers(error), content_type=MEDIA_TYPE)


def _told(error: Exception) -> tuple[int, str, str, list[tuple[str, str]], dict[str, Any]]:
    if isinstance(error, Refused):
        return error.status, error.sentence, error.code, list(error.errors), error.about
    if isinstance(error, exceptions.ValidationError):
        errors = list(_flat(error.detail))
        said = "; ".join(f"{path}: {message}" if path else message for path, message in errors)
        return 400, said or "the request cannot be used", "invalid", errors, {}
    if isinstance(error, exceptions.APIException):
        codes = error.get_codes()
        return error.status_code, str(error.detail), codes if isinstance(codes, str) else "", [], {}
    if isinstance(error, Http404):
        return 404, "there is nothing at this address", "", [], {}
    if isinstance(error, PermissionDenied):
        return 403, "you may not do this", "", [], {}
    if isinstance(error, OperationalError | InterfaceError):
        log.error("the database does not answer", error=str(error).strip())
        return 503, "the database does not answer: try again in a moment", "database_down", [], {}
    return 500, "this is a fault of Aureus; its log tells more under this request id", "fault", [], {}


def _headers(error: Exception) -> dict[str, str]:
    headers: dict[str, str] = {}
    if isinstance(error, exceptions.APIException):
        if challenge := getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = challenge
        if (wait := getattr(error, "wait", None)) is not None:
            headers["Retry-After"] = str(int(wait))
    if isinstance(error, OperationalError | InterfaceError):
        headers["Retry-After"] = "2"
    if isinstance(error, Refused) and (wait := error.about.get("retryAfter")) is not None:
        headers["Retry-After"] = str(wait)
    return headers


def _flat(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """DRF's nested errors as (path, message)."""
    if isinstance(detail, Mapping):
        for key, inner in detail.items():
            here = "" if key == "non_field_errors" else str(key)
            yield from _flat(inner, ".".join(filter(None, (path, here))))
    elif isinstance(detail, list):
        for position, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list)
            yield from _flat(inner, f"{path}[{position}]" if nested else path)
    else:
        yield path, str(detail)


def _is_api(request: HttpRequest) -> bool:
    return request.path == "/api" or request.path.startswith("/api/")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404."""
    if _is_api(request):
        return plain(request, 404, "there is nothing at this address; /api/schema lists every route")
    return defaults.page_not_found(request, exception)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400."""
    if _is_api(request):
        return plain(request, 400, "the request cannot be used: is its host name one of ALLOWED_HOSTS?")
    return defaults.bad_request(request, exception)


def fault(request: HttpRequest) -> HttpResponse:
    """handler500."""
    if _is_api(request):
        return plain(request, 500, "this is a fault of Aureus; its log tells more under this request id", code="fault")
    return defaults.server_error(request)
