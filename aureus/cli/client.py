"""The API as the command speaks it: who asks, a time limit on everything, and refusals as sentences."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from aureus.cli import credentials
from aureus.cli.ends import FAILED, USAGE, Ended, with_errors

DEFAULT = "http://127.0.0.1:3000"
CONNECT, READ, UPLOAD = 5.0, 60.0, 900.0
"""Seconds. A smoke run answers within 50; after the last byte of an artifact the server still looks through it."""
TRIES = 4
AGAIN = frozenset({502, 503, 504})


class NoAnswer(Ended):
    """Nobody answered; the server may only be restarting."""


class NotThere(Ended):
    """What was asked for is not there: 404."""


def base_url() -> str:
    """Where the API is, without /api."""
    return os.environ.get("AUREUS_URL", "").strip().rstrip("/").removesuffix("/api") or DEFAULT


def from_environment() -> Api:
    """As the owner of AUREUS_TOKEN, or of what `aureus login` kept."""
    url = base_url()
    return Api(url, os.environ.get("AUREUS_TOKEN", "").strip() or credentials.token_for(url))


@dataclass
class Api:
    """Requests to one server. Everything raises Ended."""

    url: str
    token: str = ""

    def get(self, path: str, **query: Any) -> Any:
        """One answer."""
        return self._ask("GET", path, params={name: value for name, value in query.items() if value is not None})

    def pages(self, path: str, *, most: int = 10_000, **query: Any) -> Iterator[Any]:
        """The rows of a list, page after page, newest first."""
        asked = {name: value for name, value in query.items() if value is not None}
        address: str | None = f"{self.url}/api{path}"
        params: dict[str, Any] = {**asked, "limit": min(most, 200)}
        count = 0
        while address:
            response = self._send("GET", address, params=params)
            for row in self._read(response):
                yield row
                count += 1
                if count >= most:
                    return
            # Only the cursor is taken from the server: a Link never decides where the token is sent.
            following = response.links.get("next", {}).get("url")
            address, params = self._next(following, asked)

    def _next(self, following: str | None, asked: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        from urllib.parse import parse_qs, urlsplit

        if not following:
            return None, {}
        parts = urlsplit(following)
        cursor = parse_qs(parts.query).get("cursor", [""])[0]
        return f"{self.url}{parts.path}", {**asked, "limit": 200, "cursor": cursor}

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """A verb. Its key lets the server see a repeated request as the same one."""
        return self._ask("POST", path, json=dict(body), headers={"Idempotency-Key": str(uuid.uuid4())})

    def delete(self, path: str) -> None:
        """Take something away; nothing is answered."""
        self._ask("DELETE", path, tries=1)

    def send_file(self, path: str, octets: bytes) -> Any:
        """A file as the body of a POST; the same one sent again is the same."""
        headers = {"Content-Type": "application/octet-stream"}
        return self._ask("POST", path, data=octets, headers=headers, timeout=(CONNECT, UPLOAD))

    def put(self, path: str, stream: BinaryIO | bytes, headers: Mapping[str, str]) -> Any:
        """Stream bytes; `stream` knows its length."""
        return self._ask("PUT", path, data=stream, headers=dict(headers), timeout=(CONNECT, UPLOAD), tries=1)

    def _ask(self, method: str, path: str, **how: Any) -> Any:
        return self._read(self._send(method, f"{self.url}/api{path}", **how))

    def _send(
        self,
        method: str,
        address: str,
        *,
        tries: int = TRIES,
        timeout: tuple[float, float] = (CONNECT, READ),
        **how: Any,
    ) -> Any:
        import requests

        headers = {"Accept": "application/json", "User-Agent": "aureus", **how.pop("headers", {})}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        for number in range(1, tries + 1):
            try:
                response = requests.request(
                    method, address, headers=headers, timeout=timeout, allow_redirects=False, **how
                )
            except requests.exceptions.RequestException as error:
                raise NoAnswer(FAILED, self._no_answer(error)) from None
            if response.status_code not in AGAIN or number == tries:
                return response
            time.sleep(number * 0.5)
        raise AssertionError("unreachable")

    def _no_answer(self, error: Exception) -> str:
        import requests

        if isinstance(error, requests.exceptions.SSLError):
            return f"the certificate of {self.url} is not trusted: set REQUESTS_CA_BUNDLE to its authority's file"
        if isinstance(error, requests.exceptions.ReadTimeout):
            return f"{self.url} did not answer in time; what was asked may have happened: look with aureus status"
        if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.ConnectTimeout):
            return f"nobody answers at {self.url}: start Aureus with `aureus up`, or set AUREUS_URL to where it runs"
        return f"{self.url} cannot be asked: {error}"

    def _read(self, response: Any) -> Any:
        if response.status_code == 204:
            return None
        try:
            said = response.json()
        except ValueError:
            said = None
        if response.status_code < 300 and said is not None:
            return said
        raise self._refused(response, said if isinstance(said, dict) else {})

    def _refused(self, response: Any, said: Mapping[str, Any]) -> Ended:
        status = response.status_code
        if 300 <= status < 400:
            return Ended(USAGE, f"{self.url} redirects to {response.headers.get('Location')}: set AUREUS_URL to that")
        sentence = said.get("detail") or f"{self.url} answered {status} and not as Aureus does: is AUREUS_URL right?"
        if status == 401 and not said.get("type", "").endswith("wrong_login"):
            hint = "AUREUS_TOKEN is not accepted" if os.environ.get("AUREUS_TOKEN") else "run aureus login"
            sentence = f"{sentence} ({hint})"
        found = said.get("errors") or []
        lines = with_errors((str(e.get("path", "")), str(e.get("message", ""))) for e in found if isinstance(e, dict))
        lines = [line for line in lines if line not in sentence]
        if said.get("requestId") and status >= 500:
            lines.append(f"request id {said['requestId']}")
        if status == 404:
            return NotThere(FAILED, str(sentence), lines)
        return Ended(USAGE if status in (400, 411, 413, 422) else FAILED, str(sentence), lines)
