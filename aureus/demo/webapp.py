"""The demo's small web app: it reads its version and its faults from `app.json` in its release folder.

Run as `python webapp.py RELEASE_FOLDER PORT [ADDRESS]`. SIGTERM ends it after the requests in flight were answered.
"""

import json
import os
import random
import signal
import socket
import socketserver
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, fields
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
MARK = "X-Demo-Version"
LONGEST_BODY = 1_048_576
LONGEST_WAIT_MS = 10_000
DRAIN_SECONDS = 10.0


@dataclass(frozen=True)
class Behaviour:
    """What `app.json` may say. Faults touch `/` alone, so health and smoke tests stay fine.

    `error_rate` is the share of requests answered with 500, after the first `error_after` requests; `latency_ms` is
    added to each. `ready_after_ms` is how long `/health` answers 503 after the start; `healthy` False means always.
    `database` is a file without which neither of them works, as an application whose database is down.
    """

    version: str
    error_rate: float = 0.0
    error_after: int = 0
    latency_ms: float = 0.0
    ready_after_ms: float = 0.0
    healthy: bool = True
    database: str = ""

    @property
    def misses_its_database(self) -> bool:
        return bool(self.database) and not Path(self.database).exists()


def read_behaviour(release: Path) -> Behaviour:
    """Read `app.json`; unknown fields are left alone."""
    said = json.loads((release / "app.json").read_text())
    return Behaviour(**{field.name: said[field.name] for field in fields(Behaviour) if field.name in said})


class Figures:
    """Counters in the text format of Prometheus."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: Counter[int] = Counter()
        self._buckets = [0] * len(BOUNDS)
        self._seconds = 0.0
        self.started_at = time.time()

    def count(self, status: int, seconds: float) -> None:
        with self._lock:
            self._statuses[status] += 1
            self._seconds += seconds
            for position, upper in enumerate(BOUNDS):
                self._buckets[position] += seconds <= upper

    def text(self, version: str) -> str:
        name = "http_request_duration_seconds"
        with self._lock:
            total = sum(self._statuses.values())
            lines = ["# TYPE http_requests_total counter"]
            lines += [f'http_requests_total{{status="{code}"}} {n}' for code, n in sorted(self._statuses.items())]
            lines += [] if total else ['http_requests_total{status="200"} 0']
            lines += [f"# TYPE {name} histogram"]
            lines += [f'{name}_bucket{{le="{upper}"}} {n}' for upper, n in zip(BOUNDS, self._buckets, strict=True)]
            lines += [f'{name}_bucket{{le="+Inf"}} {total}', f"{name}_sum {self._seconds}", f"{name}_count {total}"]
        lines += ["# TYPE app_info gauge", f'app_info{{version="{version}"}} 1']
        lines += ["# TYPE process_start_time_seconds gauge", f"process_start_time_seconds {self.started_at}"]
        return "\n".join(lines) + "\n"


class WebApp(ThreadingHTTPServer):
    """The server; it knows which connections wait for a request, so that draining can close those."""

    request_queue_size = 512
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.figures = Figures()
        self.draining = threading.Event()
        self.started = time.monotonic()
        self.answered = 0
        self._lock = threading.Condition()
        self._open: set[Answering] = set()
        super().__init__(address, Answering)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a peer that went away is no news."""

    def server_bind(self) -> None:
        # HTTPServer would look its own name up in the DNS here.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def opened(self, connection: "Answering") -> None:
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: "Answering") -> None:
        with self._lock:
            self._open.discard(connection)
            self._lock.notify_all()

    def next_number(self) -> int:
        with self._lock:
            self.answered += 1
            return self.answered

    def drain(self) -> None:
        """Stop accepting, close what waits, and wait for what is being answered, for a limited time."""
        self.draining.set()
        self.shutdown()
        self.socket.close()
        ends = time.monotonic() + DRAIN_SECONDS
        with self._lock:
            while self._open and time.monotonic() < ends:
                for connection in self._open:
                    connection.close_if_idle()
                self._lock.wait(0.02)


class Answering(BaseHTTPRequestHandler):
    """One connection."""

    server: WebApp
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 75

    def setup(self) -> None:
        super().setup()
        self.busy = False
        self.server.opened(self)

    def finish(self) -> None:
        self.server.closed(self)
        super().finish()

    def close_if_idle(self) -> None:
        if not self.busy:
            # The reading side alone: should a request have arrived just now, its answer still goes out.
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RD)

    def do_GET(self) -> None:
        self.busy = True
        began = time.monotonic()
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(max(0, min(length, LONGEST_BODY)))
        parts = urlsplit(self.path)
        page = PAGES.get(parts.path, missing)
        status, kind, octets = page(self.server, parse_qs(parts.query), body)
        if parts.path not in QUIET:
            self.server.figures.count(status, time.monotonic() - began)
        self.answer(status, kind, octets)
        self.busy = False

    do_POST = do_HEAD = do_GET

    def answer(self, status: int, kind: str, octets: bytes) -> None:
        if self.server.draining.is_set():
            self.close_connection = True
        head = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Type: {kind}", f"Content-Length: {len(octets)}",
            f"{MARK}: {self.server.behaviour.version}", *(["Connection: close"] if self.close_connection else []),
        ]  # fmt: skip
        body = b"" if self.command == "HEAD" else octets
        # Head and body in one write: two would wait for each other's acknowledgement.
        self.wfile.write("\r\n".join([*head, "", ""]).encode("latin-1") + body)

    def log_message(self, format: str, *args: object) -> None:
        """Write no access log."""


Page = tuple[int, str, bytes]


def front(app: WebApp, query: dict[str, list[str]], body: bytes) -> Page:
    """The page with the release's faults; POST gives its body back."""
    behaviour, number = app.behaviour, app.next_number()
    if behaviour.latency_ms:
        threading.Event().wait(behaviour.latency_ms / 1000)
    if behaviour.misses_its_database:
        return as_json(500, {"error": "no database", "version": behaviour.version})
    if number > behaviour.error_after and random.random() < behaviour.error_rate:  # noqa: S311
        return as_json(500, {"error": "the demo's fault", "version": behaviour.version})
    return as_json(200, {"version": behaviour.version, "pid": os.getpid(), "got": body.decode("utf-8", "replace")})


def slow(app: WebApp, query: dict[str, list[str]], body: bytes) -> Page:
    """Answer after `?ms=`; for looking at requests in flight."""
    text = query.get("ms", ["300"])[0]
    threading.Event().wait(min(int(text), LONGEST_WAIT_MS) / 1000 if text.isdigit() else 0)
    return as_json(200, {"version": app.behaviour.version})


def health(app: WebApp, query: dict[str, list[str]], body: bytes) -> Page:
    warm = time.monotonic() - app.started >= app.behaviour.ready_after_ms / 1000
    well = warm and app.behaviour.healthy and not app.behaviour.misses_its_database
    if not well or app.draining.is_set():
        return as_json(503, {"status": "unavailable", "version": app.behaviour.version})
    return as_json(200, {"status": "ok", "version": app.behaviour.version})


def version(app: WebApp, query: dict[str, list[str]], body: bytes) -> Page:
    return as_json(200, {"version": app.behaviour.version})


def metrics(app: WebApp, query: dict[str, list[str]], body: bytes) -> Page:
    return 200, "text/plain; version=0.0.4", app.figures.text(app.behaviour.version).encode()


def missing(app: WebApp, query: dict[str, list[str]], body: bytes) -> Page:
    return as_json(404, {"error": "no such page"})


def as_json(status: int, said: object) -> Page:
    return status, "application/json", json.dumps(said).encode()


PAGES = {"/": front, "/slow": slow, "/health": health, "/version": version, "/metrics": metrics}
# What is asked by machines that watch is not traffic.
QUIET = frozenset({"/health", "/metrics"})


def main(words: list[str]) -> int:
    if len(words) not in (2, 3) or not words[1].isdigit():
        sys.stderr.write("usage: webapp.py RELEASE_FOLDER PORT [ADDRESS]\n")
        return 2
    address = words[2] if len(words) == 3 else "127.0.0.1"
    # The link is resolved now: a later switch must not change what this process says it is.
    app = WebApp((address, int(words[1])), read_behaviour(Path(words[0]).resolve()))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=app.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    ended.wait()
    app.drain()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
