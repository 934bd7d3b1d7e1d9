"""One instant query to a Prometheus server: its answer as series, or why there is none."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from aureus.fetch import Answer, FetchError, fetch
from health.measured import ABSENT, DOWN
from health.sources.secret import NoSecret, read_token

TIMEOUT = 3.0
MAX_BYTES = 8_388_608
MAX_SERIES = 20_000


class NoAnswer(Exception):
    """Nothing usable came back. `kind` is down (it did not answer the question) or absent (not with numbers)."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind, self.sentence = kind, sentence


@dataclass(frozen=True, slots=True)
class Server:
    """A declared Prometheus. `interval`: seconds between two scrapes of its targets; `token`: a reference, or ""."""

    url: str
    interval: float = 15.0
    token: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One series at one time: `at` is when it was evaluated, in seconds since 1970 by the server's clock."""

    labels: Mapping[str, str]
    at: float
    value: float


def ask(server: Server, query: str, *, timeout: float = TIMEOUT) -> list[Point]:
    """Evaluate a query now. Raises NoAnswer, also for a warning: what Prometheus itself doubts is no measurement."""
    limit = f"{max(round((timeout - 0.2) * 1000), 100)}ms"
    answer = _fetched(server, urlencode({"query": query, "timeout": limit}, quote_via=quote).encode(), timeout)
    said = _json(server, answer)
    if not answer.ok or said.get("status") != "success":
        raise NoAnswer(DOWN, f"{_where(server)} refused the query ({answer.status}): {_told(said.get('error'))}")
    doubts = [one for one in _texts(said.get("warnings")) if not one.startswith("PromQL info:")]
    if doubts:
        raise NoAnswer(ABSENT, f"{_where(server)} answered with a warning: {_told(doubts[0])}")
    return _points(server, said.get("data"))


def _fetched(server: Server, body: bytes, timeout: float) -> Answer:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        if server.token:
            headers["Authorization"] = f"Bearer {read_token(server.token)}"
        return fetch(
            "POST", f"{server.url.rstrip('/')}/api/v1/query", headers=headers, body=body, timeout=timeout,
            max_bytes=MAX_BYTES, allow_private=True,
        )  # fmt: skip
    except (FetchError, NoSecret) as error:
        raise NoAnswer(DOWN, error.sentence) from None


def _json(server: Server, answer: Answer) -> dict[str, Any]:
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        remedy = {401: " Its token is missing or wrong.", 403: " Its token does not allow this."}
        told = f"{_where(server)} answered {answer.status} and no JSON.{remedy.get(answer.status, '')}"
        raise NoAnswer(DOWN, told)
    return said


def _points(server: Server, data: Any) -> list[Point]:
    kind = data.get("resultType") if isinstance(data, dict) else None
    result = data.get("result") if isinstance(data, dict) else None
    if kind == "scalar":
        return [Point({}, *_sample(result))]
    if kind != "vector" or not isinstance(result, list):
        raise NoAnswer(ABSENT, f"{_where(server)} answered with {_told(kind)} instead of an instant vector.")
    if len(result) > MAX_SERIES:
        raise NoAnswer(ABSENT, f"{_where(server)} answered with more than {MAX_SERIES} series.")
    return [_point(one) for one in result]


def _point(one: Any) -> Point:
    labels = one.get("metric") if isinstance(one, dict) else None
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise NoAnswer(ABSENT, "A series of the answer has no labels.")
    if "value" not in one:
        raise NoAnswer(ABSENT, "A series of the answer is no number; native histograms cannot be read.")
    return Point(labels, *_sample(one["value"]))


def _sample(pair: Any) -> tuple[float, float]:
    if not isinstance(pair, Sequence) or len(pair) != 2 or not isinstance(pair[1], str):
        raise NoAnswer(ABSENT, "A value of the answer is no number.")
    try:
        at, value = float(pair[0]), float(pair[1])
    except (TypeError, ValueError, OverflowError):
        raise NoAnswer(ABSENT, "A value of the answer is no number.") from None
    if not (math.isfinite(value) and math.isfinite(at)):
        raise NoAnswer(ABSENT, f"A value of the answer is {pair[1][:10]}.")
    return at, value


def _where(server: Server) -> str:
    return f"Prometheus at {urlsplit(server.url).netloc}"


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _told(value: Any) -> str:
    """What the server said, as one short line without control characters."""
    return " ".join("".join(c for c in str(value) if c.isprintable() or c == " ").split())[:160] or "nothing"
