"""A TCP proxy that can leave connections half-open: still there for the kernel, and nobody at the other end."""

from __future__ import annotations

import contextlib
import socket
import threading


class Link:
    """One connection with its two directions."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far
        self.dead = threading.Event()
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        """A dead link goes on reading, so that acknowledgements flow, and sends neither FIN nor RST."""
        with contextlib.suppress(OSError):
            while said := source.recv(65536):
                if not self.dead.is_set():
                    sink.sendall(said)
        if not self.dead.is_set():
            self.close()

    def close(self) -> None:
        for end in (self.near, self.far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Listens on a loopback port of its own and passes everything on to another."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._server.getsockname()[1])
        self._links: list[Link] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
                except OSError:
                    near.close()
                    continue
                for end in (near, far):
                    end.settimeout(None)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._links = [link for link in self._links if link.near.fileno() >= 0]
                    self._links.append(Link(near, far))

    def half_open(self) -> int:
        """Every present connection dies without a word; new ones are passed on. How many died."""
        with self._lock:
            living = [link for link in self._links if link.near.fileno() >= 0 and not link.dead.is_set()]
            for link in living:
                link.dead.set()
        return len(living)

    def close(self) -> None:
        self._server.close()
        with self._lock:
            for link in self._links:
                link.close()
