"""What embedded servers need again at the next start: ports, passwords, signing secret. One file, mode 0600."""

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "kept.json"


@dataclass(frozen=True)
class Kept:
    postgres_port: int
    postgres_password: str
    valkey_port: int
    valkey_password: str
    jwt_secret: str
    flower_password: str

    @property
    def database_url(self) -> str:
        return f"postgresql://aureus:{self.postgres_password}@127.0.0.1:{self.postgres_port}/aureus"

    @property
    def redis_url(self) -> str:
        return f"redis://:{self.valkey_password}@127.0.0.1:{self.valkey_port}/0"

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.postgres_password, self.valkey_password, self.jwt_secret, self.flower_password)


def read(home: Path) -> Kept | None:
    """What is kept under `home`; None before the first start or for a user who may not read it."""
    try:
        return Kept(**json.loads((home / FILE).read_text()))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None


def ensure(home: Path) -> Kept:
    """What is kept under `home`, made up and written at the first call."""
    found = read(home)
    if found:
        return found
    first, second = free_ports(2)
    made = Kept(
        postgres_port=first,
        valkey_port=second,
        postgres_password=secrets.token_urlsafe(24),
        valkey_password=secrets.token_urlsafe(24),
        jwt_secret=secrets.token_urlsafe(48),
        flower_password=secrets.token_urlsafe(12),
    )
    write(home, made)
    return made


def with_free_ports(home: Path, kept: Kept) -> Kept:
    """The same with another port wherever somebody else listens on the kept one."""
    taken = [name for name in ("postgres_port", "valkey_port") if not is_free(getattr(kept, name))]
    if not taken:
        return kept
    changed = Kept(**asdict(kept) | dict(zip(taken, free_ports(len(taken)), strict=True)))
    write(home, changed)
    return changed


def write(home: Path, kept: Kept) -> None:
    """Replace the file whole, so that a crash leaves the old one or the new one."""
    temporary = home / f".{FILE}.{os.getpid()}"
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(kept), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(home / FILE)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 nobody listens on now, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
