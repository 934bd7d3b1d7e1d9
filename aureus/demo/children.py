"""Processes that the demo starts: each writes to a log, is tied to the demo's life, and is ended by its own id."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aureus.up.tie import tied

CODE = Path(__file__).resolve().parent.parent.parent


class NotReady(Exception):
    """Something did not come up in time; the sentence names its log."""


def environment(**given: str) -> dict[str, str]:
    """What any program needs, and nothing else of the shell that started the demo."""
    known = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in known if name in os.environ} | given


def start(words: Sequence[str | Path], log: Path, **given: str) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that Ctrl-C reaches the demo alone, which ends it in order."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=CODE,
            env=environment(**given),
            start_new_session=True,
            preexec_fn=tied(signal.SIGTERM),
        )


def python(module: str, *words: str | Path) -> list[str]:
    """The words that run one of our modules."""
    return [sys.executable, "-m", module, *map(str, words)]


def end(process: subprocess.Popen[bytes] | None, seconds: float = 15) -> int | None:
    """Ask a process to end, and kill it if it has not within `seconds`; its exit code."""
    if process is None:
        return None
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(10)


def is_gone(pid: int) -> bool:
    """Whether nothing runs under this number any more; a zombie runs no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def end_pid(pid: int, seconds: float = 12) -> None:
    """The same for a process that is not our child."""
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5.0)):
        if is_gone(pid):
            return
        os.kill(pid, number)
        ends = time.monotonic() + patience
        while not is_gone(pid) and time.monotonic() < ends:
            time.sleep(0.05)


def wait_until(holds: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Poll until something holds. Raises NotReady."""
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            raise NotReady(f"{what} did not come about within {seconds:g} s")
        time.sleep(0.05)
