"""How well a deployment is, as the newest decision of its newest window has it."""

from __future__ import annotations

import math
from typing import Any, TypedDict

from health.models import Window


class HealthShape(TypedDict):
    """errorRate is a share from 0 to 1, responseTime the p95 in milliseconds; null where nothing was measured."""

    status: str
    errorRate: float | None
    responseTime: int | None
    lastChecked: str | None


class WindowShape(TypedDict):
    """status: open, held, or how it ended."""

    status: str
    kind: str
    closesAt: str
    closedAt: str | None
    cause: str
    reason: str
    flagged: bool


def health_of(window: Window | None) -> HealthShape:
    """Never a guess: what was not measured is unknown."""
    figures = window.record.get("figures") if window else None
    if window is None or not figures:
        return {"status": "unknown", "errorRate": None, "responseTime": None, "lastChecked": None}
    rate = figures.get("error_rate")
    if rate is None and figures.get("probes"):
        rate = figures["probe_failures"] / figures["probes"]
    seconds = figures.get("p95") if figures.get("p95") is not None else figures.get("probe_p95")
    return {
        "status": _status(window),
        "errorRate": rate,
        "responseTime": round(seconds * 1000) if seconds is not None else None,
        "lastChecked": iso(window.record.get("at")),
    }


def _status(window: Window) -> str:
    outcomes = {finding.get("outcome") for finding in window.record.get("rules", ())}
    if window.verdict == Window.Verdict.FAIL or "fail" in outcomes:
        return "unhealthy"
    if window.held_since or window.flagged or outcomes & {"degraded", "common cause"}:
        return "degraded"
    figures = window.record["figures"]
    return "healthy" if figures.get("requests") or figures.get("probes") else "unknown"


def window_of(window: Window | None) -> WindowShape | None:
    """The newest window; None where there never was one."""
    if window is None:
        return None
    return {
        "status": window.verdict or ("held" if window.held_since else "open"),
        "kind": window.kind,
        "closesAt": iso(window.closes_at) or "",
        "closedAt": iso(window.closed_at),
        "cause": window.cause,
        "reason": window.record.get("sentence", ""),
        "flagged": window.flagged,
    }


def finite(seconds: float | None) -> float | None:
    """JSON has no word for what lies above every bound."""
    return seconds if seconds is not None and math.isfinite(seconds) else None


def iso(at: Any) -> str | None:
    """ISO 8601 in UTC with Z; a text of a record already is ISO."""
    text = at if isinstance(at, str) or at is None else at.isoformat()
    return text.removesuffix("+00:00") + "Z" if text and text.endswith("+00:00") else text
