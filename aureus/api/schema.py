"""OpenAPI 3 at /api/schema: the views' own words, plus how to authenticate and what a refusal looks like."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularJSONAPIView

from aureus.api.permissions import TABLE

PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `detail` is a sentence that says what to do.",
    "required": ["type", "title", "status", "detail", "errors", "requestId"],
    "properties": {
        "type": {"type": "string", "description": "urn:aureus:problem: and a stable code"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
            },
        },
        "requestId": {"type": "string"},
    },
}
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    "description": "The first answer to this key is given again; the same key with another request is a 422.",
}


class BearerScheme(OpenApiAuthenticationExtension):
    """What drf-spectacular writes of our authentication."""

    target_class = "aureus.api.auth.Bearer"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A token of POST /api/auth/login, or an API key."}


def finish(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Postprocessing hook: problems as the default answer, and Idempotency-Key on every POST."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    answer = {
        "description": "Refused",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for address, methods in result["paths"].items():
        for method, operation in methods.items():
            operation["responses"].setdefault("default", answer)
            if method == "post" and address != "/api/auth/login":
                operation.setdefault("parameters", []).append(KEY)
    return result


def roles_of(route: str, method: str) -> str:
    """Who may call it, for people."""
    [cell] = [cell for cell in TABLE if (cell.route, cell.method) == (route, method)]
    return ", ".join(sorted(cell.roles)) if cell.roles else "everybody"


class Schema(SpectacularJSONAPIView):
    """The whole API as OpenAPI 3."""

    query = frozenset({"format", "version", "lang"})

    @extend_schema(exclude=True)
    def get(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return super().get(request, *args, **kwargs)
