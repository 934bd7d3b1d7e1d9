"""Looks at a host from outside, also while it is cut off: its links, its releases' bytes, what its app answers."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from tests.system.bed import BedHost

APP = "srv/app"
EVERY = 0.5
"""Seconds between two questions to the app."""
LINKS_EVERY = 0.02
"""Seconds between two looks at the links."""


def content_of(host: BedHost) -> str:
    """The content its slot points to; "" when a link is missing, dangles, or leads to half a release."""
    root = host.root / APP
    try:
        slot = os.readlink(root / "slots/main")
        current = os.readlink(root / "current")
    except OSError:
        return ""
    content = slot.rsplit("/", 1)[-1]
    release = root / "releases" / content
    complete = (release / ".manifest").is_file() and (release / ".links").is_file()
    return content if current == "slots/main" and slot == f"../releases/{content}" and complete else ""


def bytes_of(host: BedHost, content: str) -> str:
    """One hash of every name, mode, time and byte of a release."""
    release, digest = host.root / APP / "releases" / content, hashlib.sha256()
    for file in sorted(release.rglob("*")):
        known = file.lstat()
        digest.update(f"{file.relative_to(release)} {known.st_mode:o} {known.st_size} {known.st_mtime_ns}".encode())
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def ledger(host: BedHost) -> list[list[str]]:
    """Lines of key, fence, verb, content, result, time."""
    file = host.root / APP / ".aureus/ledger"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def acts_left(host: BedHost) -> list[str]:
    """Processes of our acts that run on it."""
    found = []
    for pid in host.cgroup.pids():
        with suppress(OSError):
            if b"AUREUS_ACT=" in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


class Witness:
    """Asks one host again and again from inside its network namespace; `answered` and `links` are what it saw."""

    def __init__(self, host: BedHost) -> None:
        self.host = host
        self.answered: list[tuple[float, str]] = []
        self.links: list[str] = []
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._look, name=f"witness-{host.name}", daemon=True)

    def start(self) -> None:
        """From now on."""
        self._thread.start()

    def stop(self) -> None:
        """No longer; what was seen stays."""
        self._left.set()
        self._thread.join(20)

    def _look(self) -> None:
        with self.host.leg.namespace.open() as namespace:
            os.setns(namespace.fileno(), os.CLONE_NEWNET)
        asked = -EVERY
        while True:
            self.links.append(content_of(self.host))
            if time.monotonic() >= asked + EVERY:
                asked = time.monotonic()
                self.answered.append((asked, answer("127.0.0.1")))
            if self._left.wait(LINKS_EVERY):
                return


def answer(address: str) -> str:
    """The version that the app there says it is, healthy; "" without such an answer."""
    door = http.client.HTTPConnection(address, 8080, timeout=2)
    try:
        door.request("GET", "/health")
        said = door.getresponse()
        return str(json.loads(said.read())["version"]) if said.status == 200 else ""
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    finally:
        door.close()
