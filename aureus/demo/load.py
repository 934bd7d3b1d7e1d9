"""The demo's load tool: keep-alive clients that never retry, and count what became of each request.

Run as `python load.py URL [--clients N] [--rate N] [--seconds N] [--posts SHARE]`. It writes one JSON line each second
and a last one with `"final": true`; SIGTERM or SIGINT ends it. A request is lost when no answer came or the answer was
made by the balancer: an answer of the app carries its version in a header, whatever its status.
"""

import argparse
import contextlib
import http.client
import json
import random
import select
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

MARK = "X-Demo-Version"
TIMEOUT = 30.0


class Tally:
    """What became of the requests; times are seconds since the epoch."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.sent = self.lost = self.errors = 0
        self.versions: Counter[str] = Counter()
        self.errors_by_version: Counter[str] = Counter()
        self.first_error_at: float | None = None
        self.last_error_at: float | None = None
        self.first_lost_at: float | None = None
        self.why_lost: Counter[str] = Counter()

    def answered(self, version: str, status: int) -> None:
        with self._lock:
            self.sent += 1
            self.versions[version] += 1
            if status >= 500:
                self.errors += 1
                self.errors_by_version[version] += 1
                self.last_error_at = time.time()
                self.first_error_at = self.first_error_at or self.last_error_at

    def lose(self, why: str) -> None:
        with self._lock:
            self.sent += 1
            self.lost += 1
            self.why_lost[why] += 1
            self.first_lost_at = self.first_lost_at or time.time()

    def snapshot(self) -> dict[str, object]:
        with self._lock:
            return {
                "at": time.time(), "sent": self.sent, "lost": self.lost, "errors": self.errors,
                "versions": dict(self.versions), "errors_by_version": dict(self.errors_by_version),
                "first_error_at": self.first_error_at, "last_error_at": self.last_error_at,
                "first_lost_at": self.first_lost_at, "why_lost": dict(self.why_lost),
            }  # fmt: skip


class Client:
    """One keep-alive connection. One that the server closed while it was idle is opened anew, and costs nothing."""

    def __init__(self, url: str, tally: Tally, posts: float) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT)
        self._path = parts.path or "/"
        self._tally, self._posts = tally, posts

    def ask(self) -> None:
        """Send one request and count it."""
        self._close_if_ended()
        posting = random.random() < self._posts  # noqa: S311
        try:
            self._connection.request("POST" if posting else "GET", self._path, body=b"x" * 64 if posting else None)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._tally.lose(f"{'POST' if posting else 'GET'}: {type(error).__name__}")
            return
        version = answer.headers.get(MARK)
        if version is None:
            self._tally.lose(f"{'POST' if posting else 'GET'}: answered {answer.status} by the balancer")
        else:
            self._tally.answered(version, answer.status)

    def close(self) -> None:
        self._connection.close()

    def _close_if_ended(self) -> None:
        sock = self._connection.sock
        if sock is not None and select.select([sock], [], [], 0)[0]:
            self._connection.close()


def keep_asking(client: Client, pause: float, over: threading.Event) -> None:
    """Ask until it is over, each time so many seconds after the last began; behind schedule, at once."""
    due = time.monotonic() + random.random() * pause  # noqa: S311
    while not over.wait(max(due - time.monotonic(), 0)):
        client.ask()
        due = max(due + pause, time.monotonic() - pause)
    client.close()


def run(
    url: str, *, clients: int, rate: float, over: threading.Event, posts: float = 0.2,
    tell: Callable[[dict[str, object]], None], each: float = 1.0,
) -> Tally:  # fmt: skip
    """Load `url` at `rate` requests a second (0: as fast as it goes) until `over` is set; tell how it goes."""
    tally = Tally()
    pause = clients / rate if rate else 0.0
    askers = [
        threading.Thread(target=keep_asking, args=(Client(url, tally, posts), pause, over)) for _ in range(clients)
    ]
    for asker in askers:
        asker.start()
    while not over.wait(each):
        tell(tally.snapshot())
    for asker in askers:
        asker.join()
    return tally


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="load.py", description="Load a web address and count what becomes of it.")
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rate", type=float, default=100, help="requests a second; 0 is as fast as it goes")
    parser.add_argument("--seconds", type=float, default=0, help="end by itself after so long; 0 never")
    parser.add_argument("--posts", type=float, default=0.2, help="share of POST requests")
    asked = parser.parse_args(words)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    if asked.seconds:
        timer = threading.Timer(asked.seconds, over.set)
        timer.daemon = True
        timer.start()
    with contextlib.suppress(BrokenPipeError):
        tally = run(asked.url, clients=asked.clients, rate=asked.rate, over=over, posts=asked.posts, tell=_tell)
        _tell({"final": True, **tally.snapshot()})
    over.set()
    return 0


def _tell(said: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
