"""The application on the hosts: a small web app that does on this host what `shared/faults.json` says of its version.

Run as `python3 app.py` in the folder of a release. Faults: crash (on start), never (ready), slow (seconds to be ready).
Every start is one line in `shared/starts`. SIGTERM: it goes on for a second, as one that answers what is in flight.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path("/srv/app")
RELEASE = Path.cwd().resolve()
VERSION = json.loads((RELEASE / "app.json").read_text())["version"]
PORT = 8080
STARTED = time.monotonic()


def fault() -> dict[str, object]:
    """What is wrong with this version here."""
    try:
        return dict(json.loads((ROOT / "shared/faults.json").read_text()).get(VERSION, {}))
    except (OSError, ValueError):
        return {}


FAULT = fault()


def is_ready() -> bool:
    return "never" not in FAULT and time.monotonic() - STARTED >= float(str(FAULT.get("slow", 0)))


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        body = json.dumps({"version": VERSION, "ready": is_ready()}).encode()
        status = 503 if self.path == "/health" and not is_ready() else 200
        head = f"HTTP/1.0 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def tell_systemd() -> None:
    """Type=notify: this is the moment at which `systemctl restart` returns."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        while not is_ready():
            time.sleep(0.1)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.sendto(b"READY=1", address.replace("@", "\0", 1))


def main() -> int:
    with suppress(OSError), (ROOT / "shared/starts").open("a") as starts:
        starts.write(f"{VERSION}\n")
    if "crash" in FAULT:
        return 3
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ThreadingHTTPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("0.0.0.0", PORT), Answering)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    threading.Thread(target=tell_systemd, daemon=True).start()
    ended.wait()
    time.sleep(1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
