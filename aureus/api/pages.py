"""Lists: bare arrays, newest first, in pages by `limit` and `cursor`; the `Link` header names the next page."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.response import Response

from aureus.journal.refusals import Invalid

DEFAULT, MOST = 50, 200


class Keyset(BasePagination):
    """Pages by the values of the last row, so that the millionth page costs what the first one does.

    The view's `ordering` names its descending columns, of which the last is unique: ("created_at", "id").
    """

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> list[Any]:
        self.request = request
        self.columns: Sequence[str] = view.ordering
        limit = _limit(request.query_params.get("limit"))
        after = _decoded(queryset, self.columns, request.query_params.get("cursor"))
        rows = queryset.order_by(*(f"-{column}" for column in self.columns))
        found = list((rows.filter(after) if after is not None else rows)[: limit + 1])
        self.more = len(found) > limit
        page = found[:limit]
        self.last = page[-1] if page else None
        return page

    def get_paginated_response(self, data: Any) -> Response:
        headers = {}
        if self.more:
            query = {name: value for name, value in self.request.query_params.items() if name != "cursor"}
            query["cursor"] = encoded([getattr(self.last, column) for column in self.columns])
            address = self.request.build_absolute_uri(f"{self.request.path}?{urlencode(query)}")
            headers["Link"] = f'<{address}>; rel="next"'
        return Response(data, headers=headers)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A bare array."""
        return schema

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """What drf-spectacular writes of it."""
        return [
            _parameter("limit", {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT}, "Rows a page."),
            _parameter("cursor", {"type": "string"}, "From the Link header of the page before."),
        ]


def _parameter(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": text}


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not 1 <= int(text) <= MOST:
        raise Invalid(f"limit must be a number from 1 to {MOST}", errors=[("limit", f"from 1 to {MOST}")])
    return int(text)


def encoded(values: Sequence[Any]) -> str:
    """A cursor of the last row's values."""
    plain = [value.isoformat() if isinstance(value, datetime) else str(value) for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def _decoded(queryset: QuerySet[Any], columns: Sequence[str], text: str | None) -> Q | None:
    """What comes after a cursor. Raises Invalid."""
    if text is None:
        return None
    try:
        plain = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if not isinstance(plain, list) or len(plain) != len(columns):
            raise ValueError("another list's cursor")
        values = [queryset.model._meta.get_field(c).to_python(v) for c, v in zip(columns, plain, strict=True)]
    except Exception as error:
        raise Invalid("cursor is none of ours: take it from the Link header", errors=[("cursor", "unknown")]) from error
    first, last = columns[0], columns[-1]
    if first == last:
        return Q(**{f"{first}__lt": values[0]})
    # The first condition is implied by the rest and lets PostgreSQL use the index as a range.
    tie = Q(**{first: values[0], f"{last}__lt": values[-1]})
    return Q(**{f"{first}__lte": values[0]}) & (Q(**{f"{first}__lt": values[0]}) | tie)
