"""The folder of one installation and the lock that keeps a second `aureus up` out of it."""

import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 30.0


class HomeError(Exception):
    """The folder cannot be used; the sentence says what to do."""


@dataclass(frozen=True)
class Home:
    path: Path
    lock: int

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def run(self) -> Path:
        return self.path / "run"

    def leave(self) -> None:
        os.close(self.lock)


def enter(path: Path, say: Callable[[str, str], None]) -> Home:
    """Make the folder if it is missing and lock it. Raises HomeError."""
    try:
        # As root the user who runs PostgreSQL must pass through, though not look around.
        path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        for name in ("logs", "run", "artifacts"):
            (path / name).mkdir(mode=0o700, exist_ok=True)
        lock = os.open(path / "run" / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HomeError(
            f"AUREUS_HOME={path} cannot be used ({error.strerror}); name a folder this user can write."
        ) from None
    _take(path, lock, say)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return Home(path, lock)


def _take(path: Path, lock: int, say: Callable[[str, str], None]) -> None:
    end = time.monotonic() + PATIENCE
    said = False
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode() or "?"
        if Path(f"/proc/{holder}").exists() or time.monotonic() > end:
            raise HomeError(f"Aureus already runs in {path} (process {holder}); stop it or set another AUREUS_HOME.")
        if not said:
            say("up", "waiting for the processes of a killed start to end")
            said = True
        time.sleep(0.1)
