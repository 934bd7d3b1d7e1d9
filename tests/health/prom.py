"""What a Prometheus server answers to the one query of an endpoint's counters: its parts, as series."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from health.sources import promql
from health.sources.declared import QUERIES
from tests.health.web import Asked, Route

Series = tuple[dict[str, str], object]
VALUES = {"address": "127.0.0.1", "port": "8000"}
FILLED = {name: promql.filled(query, VALUES) for name, query in QUERIES.items()}


def parts(
    ok: int = 100, failed: int = 0, fast: int | None = None, *, start: float = 1000.0, age: float = 1.0,
    at: float | None = None, status: str = "status",
) -> dict[str, list[Series]]:  # fmt: skip
    """A healthy answer: so many requests so far, scraped `age` seconds ago."""
    at, fast = time.time() if at is None else at, ok + failed if fast is None else fast
    name: dict[str, str] = {"__name__": "http_requests_total", "instance": "127.0.0.1:8000"}
    bucket: dict[str, str] = {**name, "__name__": "http_request_duration_seconds_bucket"}
    errors: list[Series] = [({**name, status: "500"}, failed)] if failed else []
    return {
        "up": [({"__name__": "up"}, 1)],
        "seen": [({}, at - age)],
        "read": [({}, at - age)],
        "start": [({"__name__": "process_start_time_seconds"}, start)],
        "requests": [({**name, status: "200"}, ok), *errors],
        "errors": errors,
        "buckets": [({**bucket, "le": "0.1"}, fast), ({**bucket, "le": "+Inf"}, ok + failed)],
    }


def vector(parts: Mapping[str, Sequence[Series]], *, endpoints: int = 1, **more: Any) -> dict[str, Any]:
    """The same parts for each endpoint, as the server's JSON."""
    now = time.time()
    result = [
        {"metric": labels | {"aureus_part": part, "aureus_endpoint": str(n)}, "value": [now, _text(value)]}
        for n in range(endpoints)
        for part, series in parts.items()
        for labels, value in series
    ]
    return {"status": "success", "data": {"resultType": "vector", "result": result}, **more}


def _text(value: object) -> object:
    return repr(value) if isinstance(value, float) else str(value) if isinstance(value, int | str) else value


def answering(said: Callable[[], object], status: int = 200) -> dict[str, Route]:
    """The routes of such a server; `said` is asked anew each time."""

    def answer(_: Asked) -> tuple[int, Any]:
        value = said()
        return status, value if isinstance(value, str) else json.dumps(value)

    return {"/api/v1/query": answer}
