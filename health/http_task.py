"""The http tool: one request as a task describes it, and whether its answer is what the task expects."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from aureus.fetch import Answer, FetchError, fetch

MAX_BYTES = 1_048_576
MAX_OUTPUT = 16_384
"""Bytes of an answer's body that later tasks may look at; a longer one is left out of the task's result."""
_NO_ANSWER = frozenset({"timeout", "protocol", "too_large"})
"""Ways to fail after which the request may have been carried out all the same."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HTTP_FIELDS = frozenset({"method", "path", "url", "body", "headers", "expectedStatus", "expect"})


class TaskFailed(Exception):
    """One attempt at a task failed; the message is a sentence. `final`: the next attempt would fail alike.

    unknown: nobody can say whether it happened, since no answer came.
    """

    def __init__(self, sentence: str, *, answered: bool = False, final: bool = False, unknown: bool = False) -> None:
        super().__init__(sentence)
        self.answered = answered
        self.final = final
        self.unknown = unknown


def ask(
    params: Mapping[str, Any],
    url: str,
    *,
    timeout: float,
    allow_private: bool,
    more: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Send the request of these params to `url` and answer its result: {status, body}. Raises TaskFailed.

    more: headers that are sent too, where the task does not write them itself.
    """
    unknown = sorted(set(params) - _HTTP_FIELDS)
    if unknown:
        raise TaskFailed(f"An http task has no field {unknown[0]!r}.", final=True)
    method, expected = str(params.get("method", "GET")).upper(), _expected(params.get("expectedStatus"))
    if method not in _METHODS:
        raise TaskFailed(f"The method {method[:20]!r} is not known.", final=True)
    headers, body = _headers(params), _body(params)
    written = {name.lower() for name in headers}
    headers |= {name: value for name, value in (more or {}).items() if name.lower() not in written}
    if body is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "text/plain" if isinstance(params.get("body"), str) else "application/json"
    try:
        answer = fetch(
            method, url, headers=headers, body=body, timeout=timeout, max_bytes=MAX_BYTES, allow_private=allow_private
        )
    except FetchError as error:
        final, unknown_end = error.kind in ("url", "request", "address"), error.kind in _NO_ANSWER
        raise TaskFailed(error.sentence, final=final, unknown=unknown_end) from None
    if (answer.status not in expected) if expected else not answer.ok:
        wanted = " or ".join(str(status) for status in sorted(expected)) or "2xx"
        raise TaskFailed(f"{method} {url} answered {answer.status} instead of {wanted}.", answered=True)
    if "expect" in params:
        _compare(answer, params["expect"], f"{method} {url}")
    return {"status": answer.status, **_seen(answer)}


def _seen(answer: Answer) -> dict[str, Any]:
    """The body as JSON, or else as text; nothing where it is too long to be kept."""
    if len(answer.body) > MAX_OUTPUT:
        return {"truncated": True}
    try:
        found = json.loads(answer.body)
        json.dumps(found, allow_nan=False)
        return {"body": found}
    except (ValueError, RecursionError):
        return {"body": answer.text()}


def target(address: str, params: Mapping[str, Any]) -> str:
    """Answer the address of an http task on this host; another host's is refused. Raises TaskFailed."""
    if ("path" in params) == ("url" in params):
        raise TaskFailed("An http task needs either a path or a url.", final=True)
    wanted = params.get("path", params.get("url"))
    if not isinstance(wanted, str) or not wanted.isascii() or "\\" in wanted or any(letter <= " " for letter in wanted):
        raise TaskFailed(f"The address {wanted!r} is not plain text without spaces.", final=True)
    home = address.rstrip("/")
    if wanted.startswith("/") and not wanted.startswith("//"):
        return home + wanted
    try:
        same = _origin(wanted) == _origin(home)
    except ValueError:
        same = False
    if not same:
        raise TaskFailed(
            f"{wanted!r} is not on the host under test: write a path that begins with one slash.", final=True
        )
    return wanted


def _origin(url: str) -> tuple[str, str | None, int | None, bool]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme), "@" in parts.netloc


def _expected(value: Any) -> frozenset[int]:
    """Answer the statuses that pass; none means any 2xx."""
    if value is None:
        return frozenset()
    statuses = value if isinstance(value, list) else [value]
    if not statuses or not all(type(status) is int and 100 <= status <= 599 for status in statuses):
        raise TaskFailed("expectedStatus must be a status from 100 to 599, or a list of them.", final=True)
    return frozenset(statuses)


def _headers(params: Mapping[str, Any]) -> dict[str, str]:
    headers = params.get("headers", {})
    if not isinstance(headers, Mapping) or not all(isinstance(value, str) for value in headers.values()):
        raise TaskFailed("headers must be an object of texts.", final=True)
    return dict(headers)


def _body(params: Mapping[str, Any]) -> bytes | None:
    body = params.get("body")
    if body is None:
        return None
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _compare(answer: Answer, expect: Any, asked: str) -> None:
    """Every field that is expected must be there and equal; more may be there. Raises TaskFailed."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise TaskFailed(f"{asked} answered what is no JSON.", answered=True) from None
    where = _differs(found, expect, "$")
    if where:
        raise TaskFailed(f"{asked} answered another {where[0]}: {where[1]}.", answered=True)


def _differs(found: Any, expect: Any, path: str) -> tuple[str, str] | None:
    if isinstance(expect, Mapping) and isinstance(found, Mapping):
        for key, value in expect.items():
            if key not in found:
                return f"{path}.{key}", "it is missing"
            inner = _differs(found[key], value, f"{path}.{key}")
            if inner:
                return inner
        return None
    # True equals 1 in Python, but not in JSON.
    if isinstance(found, bool) != isinstance(expect, bool) or found != expect:
        return path, f"{json.dumps(found)[:80]} instead of {json.dumps(expect)[:80]}"
    return None
