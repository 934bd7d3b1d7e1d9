"""Which pages may call the API: by exact origin (CORS_ORIGIN), with a bearer token, never with a cookie."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from aureus.api import problems

ANY = "*"
METHODS = "GET, POST, PUT, DELETE"
HEADERS = "Authorization, Content-Type, Idempotency-Key, X-Request-Id, X-Artifact-Sha256"
EXPOSED = "Link, X-Request-Id, Retry-After, Idempotency-Replayed"


class Cors:
    """Middleware. Without authentication no foreign page may do anything, whatever `*` says."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        origin = request.headers.get("Origin", "")
        if not origin or not request.path.startswith("/api/"):
            return self.get_response(request)
        allowed = _allowed(origin)
        if not settings.AUREUS.ENABLE_AUTH and not allowed and not _own(request, origin):
            return problems.plain(request, 403, f"pages of {origin[:200]} may not call this API: see CORS_ORIGIN")
        if request.method == "OPTIONS" and request.headers.get("Access-Control-Request-Method"):
            response = HttpResponse(status=204)
            response["Access-Control-Allow-Methods"] = METHODS
            response["Access-Control-Allow-Headers"] = HEADERS
            response["Access-Control-Max-Age"] = "600"
        else:
            response = self.get_response(request)
            response["Access-Control-Expose-Headers"] = EXPOSED
        if allowed:
            response["Access-Control-Allow-Origin"] = allowed
        response["Vary"] = ", ".join(filter(None, (response.get("Vary"), "Origin")))
        return response


def _allowed(origin: str) -> str:
    known = settings.AUREUS.CORS_ORIGIN
    if origin in known:
        return origin
    # Whoever has no token to give must not be let in by a wildcard.
    return ANY if ANY in known and settings.AUREUS.ENABLE_AUTH else ""


def _own(request: HttpRequest, origin: str) -> bool:
    return origin == f"{request.scheme}://{request.get_host()}"
