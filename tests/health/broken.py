"""Servers that break: what each case says in place of a good answer, as bytes on the wire."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.health.prom import parts, vector

CONTENT = "1.1.0-aaaaaaaaaaaa"
Speak = Callable[[socket.socket], object]
BOMB = gzip.compress(b"0" * 20_000_000)


def http(body: bytes | str, status: str = "200 OK", *, headers: str = "", length: int | None = None) -> Speak:
    octets = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(octets) if length is None else length}\r\n\r\n"
    return lambda peer: peer.sendall(head.encode() + octets)


def until_closed(body: bytes) -> Speak:
    """An answer whose end nobody can tell from a connection that broke."""
    return lambda peer: peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)


def hang(peer: socket.socket) -> None:
    while peer.recv(65_536):
        pass


def whole(speak: Speak, peer: socket.socket) -> None:
    """Say it, and read what is left of the question: an answer to half a question is reset on its way."""
    speak(peer)
    peer.shutdown(socket.SHUT_WR)
    hang(peer)


def drip(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        peer.sendall(b" ")
        threading.Event().wait(0.05)


def hang_up(peer: socket.socket) -> None:
    peer.close()


def said(value: object) -> Speak:
    return http(json.dumps(value))


PAGE = "<!doctype html><html><body>Sign in</body></html>"
# What any server may say instead; each of these is down, whatever was asked.
ANYWHERE: Mapping[str, Speak] = {
    "hangs": hang,
    "drips": drip,
    "hangs up": hang_up,
    "500 with a page": http(PAGE, "500 Internal Server Error"),
    "redirects": http("", "302 Found", headers="Location: /login\r\n"),
    "404": http("not found", "404 Not Found"),
    "a page": http(PAGE),
    "no HTTP": lambda peer: peer.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    "less than announced": http("{", length=4_000),
    "a bomb": http(BOMB, headers="Content-Encoding: gzip\r\n"),
    "an encoding nobody asked for": http("abc", headers="Content-Encoding: br\r\n"),
    "too much": http(b"# x\n" * 2_200_000),
}


def without(part: str) -> Callable[[dict[str, Any]], None]:
    return lambda all_parts: all_parts.pop(part)


def first(part: str, value: object, **labels: str) -> Callable[[dict[str, Any]], None]:
    """The first series of a part has another value, or other labels."""

    def change(all_parts: dict[str, Any]) -> None:
        [(known, number), *rest] = all_parts[part]
        all_parts[part] = [({**known, **labels}, number if value is None else value), *rest]

    return change


def more(part: str, value: object, **labels: str) -> Callable[[dict[str, Any]], None]:
    return lambda all_parts: all_parts[part].append((labels, value))


def age(part: str, seconds: float) -> Callable[[dict[str, Any]], None]:
    return lambda all_parts: all_parts.update({part: [({}, time.time() - seconds)]})


def bound(le: str | None) -> Callable[[dict[str, Any]], None]:
    """The histogram's last bucket has this bound, or none at all."""

    def change(all_parts: dict[str, Any]) -> None:
        labels, count = all_parts["buckets"][-1]
        rest = {name: value for name, value in labels.items() if name != "le"}
        all_parts["buckets"][-1] = (rest | ({"le": le} if le is not None else {}), count)

    return change


def parts_said(change: Callable[[dict[str, Any]], object], **counts: Any) -> Speak:
    """A good answer of Prometheus but for one change."""

    def speak(peer: socket.socket) -> None:
        known = parts(**{"ok": 5_000, "failed": 20, **counts})
        change(known)
        said(vector(known))(peer)

    return speak


def edited(change: Callable[[Any], object]) -> Speak:
    """A good answer of Prometheus but for its JSON."""

    def speak(peer: socket.socket) -> None:
        answer = vector(parts(5_000, 20))
        said(change(answer) or answer)(peer)

    return speak


def _one(name: str, value: object) -> Callable[[Any], None]:
    return lambda answer: answer["data"]["result"][-1].update({name: value})


def _data(name: str, value: object) -> Callable[[Any], None]:
    return lambda answer: answer["data"].update({name: value})


def _error(status: str, kind: str) -> Speak:
    return http(json.dumps({"status": "error", "errorType": kind, "error": f"{kind} happened"}), status)


PROMETHEUS: Mapping[str, tuple[Speak, str]] = {
    "400": (_error("400 Bad Request", "bad_data"), "source_down"),
    "422": (_error("422 Unprocessable Entity", "execution"), "source_down"),
    "503": (_error("503 Service Unavailable", "timeout"), "source_down"),
    "401": (http("Unauthorized", "401 Unauthorized"), "source_down"),
    "403": (http("Forbidden", "403 Forbidden"), "source_down"),
    "an error with 200": (_error("200 OK", "internal"), "source_down"),
    "204": (http("", "204 No Content"), "source_down"),
    "empty body": (http(""), "source_down"),
    "half of the JSON": (until_closed(b'{"status":"success","data":{"resultType":"vec'), "source_down"),
    "a list": (said([]), "source_down"),
    "nested too deep": (http("[" * 200_000), "source_down"),
    "no status": (said({"data": {"resultType": "vector", "result": []}}), "source_down"),
    "no data": (said({"status": "success"}), "no_data"),
    "a matrix": (edited(_data("resultType", "matrix")), "no_data"),
    "a string": (said({"status": "success", "data": {"resultType": "string", "result": [1, "5"]}}), "no_data"),
    "a scalar": (said({"status": "success", "data": {"resultType": "scalar", "result": [1, "5"]}}), "no_data"),
    "a result that is no list": (edited(_data("result", {"a": 1})), "no_data"),
    "a series that is no mapping": (edited(_data("result", [5])), "no_data"),
    "a series without labels": (edited(_one("metric", None)), "no_data"),
    "labels that are no text": (edited(_one("metric", {"status": 200})), "no_data"),
    "a native histogram": (edited(lambda a: a["data"]["result"][-1].pop("value") and None), "no_data"),
    "a bare number": (edited(_one("value", [time.time(), 5])), "no_data"),
    "a word for a number": (edited(_one("value", [time.time(), "many"])), "no_data"),
    "a value without its time": (edited(_one("value", ["5"])), "no_data"),
    "a warning": (edited(lambda a: a.update(warnings=["no store matched: partial response"])), "no_data"),
    "nothing at all": (said({"status": "success", "data": {"resultType": "vector", "result": []}}), "no_data"),
    "too many series": (said({"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {}, "value": [1, "5"]}] * 20_001}}), "no_data"),
    "no target": (parts_said(without("up")), "no_data"),
    "two targets": (parts_said(more("up", 1, job="other")), "no_data"),
    "target down": (parts_said(first("up", 0)), "stale"),
    "up is NaN": (parts_said(first("up", "NaN")), "no_data"),
    "old": (parts_said(age("seen", 300)), "stale"),
    "two intervals old": (parts_said(age("seen", 30)), "stale"),
    "no age": (parts_said(without("seen")), "no_data"),
    "requests older than up": (parts_said(age("read", 120)), "stale"),
    "no requests": (parts_said(without("requests")), "no_data"),
    "NaN": (parts_said(first("requests", "NaN")), "no_data"),
    "+Inf": (parts_said(first("requests", "+Inf")), "no_data"),
    "-Inf": (parts_said(first("errors", "-Inf")), "no_data"),
    "negative": (parts_said(first("requests", -5)), "no_data"),
    "a rate": (parts_said(first("requests", 16.67)), "no_data"),
    "more than a float counts": (parts_said(first("requests", "1e300")), "no_data"),
    "two metrics at once": (parts_said(more("requests", 5, __name__="aureus_api_requests_total")), "no_data"),
    "the label of errors renamed": (parts_said(without("errors"), failed=0, status="code"), "no_data"),
    "a series of requests gone": (parts_said(lambda p: p["requests"].pop(0)), "no_data"),
    "the series of errors gone": (parts_said(without("errors")), "no_data"),
    "labels relabelled": (parts_said(first("requests", None, pod="a-1")), "no_data"),
    "counters fell without a restart": (parts_said(lambda _: None, ok=100), "no_data"),
    "no histogram": (parts_said(without("buckets")), "no_data"),
    "no bucket without a bound": (parts_said(lambda p: p["buckets"].pop()), "no_data"),
    "buckets that fall": (parts_said(first("buckets", 9_999)), "no_data"),
    "a bucket without le": (parts_said(bound(None)), "no_data"),
    "a bucket whose le is no number": (parts_said(bound("slow")), "no_data"),
    "a bucket whose le is NaN": (parts_said(bound("NaN")), "no_data"),
}  # fmt: skip


def metrics(ok: int = 5_000, failed: int = 20, *, start: float = 1_000.0) -> str:
    """What a healthy host says of itself."""
    name = "http_request_duration_seconds"
    return (
        f'# TYPE http_requests_total counter\nhttp_requests_total{{status="200"}} {ok}\n'
        f'http_requests_total{{status="500"}} {failed}\n# TYPE {name} histogram\n'
        f'{name}_bucket{{le="0.1"}} {ok + failed}\n{name}_bucket{{le="+Inf"}} {ok + failed}\n'
        f"process_start_time_seconds {start}\n"
    )


def other(old: str, new: str) -> Speak:
    assert old in metrics(), old
    return http(metrics().replace(old, new))


SCRAPE: Mapping[str, tuple[Speak, str]] = {
    "503": (http(metrics(), "503 Service Unavailable"), "source_down"),
    "JSON": (said({"http_requests_total": 5}), "source_down"),
    "binary": (http(bytes(range(256)) * 9), "source_down"),
    "labels that cannot be read": (other('{status="200"}', "{status=200}"), "source_down"),
    "no value": (other('{status="200"} 5000', '{status="200"}'), "source_down"),
    "cut in a number": (until_closed(metrics().rstrip().encode()[:-2]), "source_down"),
    "too many series": (http('http_requests_total{status="200"} 5\n' * 50_001), "source_down"),
    "nothing": (http(""), "no_data"),
    "a renamed counter": (other("http_requests_total", "http_requests"), "no_data"),
    "a renamed label": (other("{status=", "{code="), "no_data"),
    "no label": (other('{status="200"} 5000', " 5000"), "no_data"),
    "a gauge": (other("http_requests_total counter", "http_requests_total gauge"), "no_data"),
    "a summary": (other("_seconds histogram", "_seconds summary"), "no_data"),
    "no histogram any more": (other("_bucket", "_boxes"), "no_data"),
    "buckets that fall": (other('le="0.1"} 5020', 'le="0.1"} 9999'), "no_data"),
    "no bucket without a bound": (other('le="+Inf"', 'le="0.5"'), "no_data"),
    "a bound that is no number": (other('le="+Inf"', 'le="slow"'), "no_data"),
    "NaN": (http(metrics(failed=0).replace(" 5000", " NaN").replace('status="500"} 0', 'status="500"} NaN')),
            "no_data"),
    "negative": (http(metrics().replace(" 5000", " -1").replace('status="500"} 20', 'status="500"} -1')), "no_data"),
    "counters fell without a restart": (http(metrics(ok=100)), "no_data"),
}  # fmt: skip


def health(version: object = CONTENT) -> str:
    return json.dumps({"status": "healthy", "version": version})


PROBE: Mapping[str, Speak] = {
    "503": http(health(), "503 Service Unavailable"),
    "another version": http(health("1.0.0-bbbbbbbbbbbb")),
    "the same number, another content": http(health("1.1.0-cccccccccccc")),
    "no version": http(json.dumps({"status": "healthy"})),
    "a version that is no text": http(health([CONTENT])),
    "the version in a page": http(f"<p>{CONTENT}</p>"),
    "half of the JSON": until_closed(health().encode()[:-4]),
}
