"""One process of the tree: started, looked at, started again when it dies, ended."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from aureus.up.forked import Forked
from aureus.up.processes import Process
from aureus.up.tie import tied

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
GOOD_LIFE = 60.0
LARGEST_LOG = 20 * 1024**2


class Child:
    """`lock` is inherited: it is free again only when every process of the tree has gone."""

    def __init__(self, process: Process, logs: Path, lock: int, say: Callable[[str, str], None]) -> None:
        self.process = process
        self.log = logs / f"{process.name.replace(' ', '-')}.log"
        self.deaths = 0
        self._lock = lock
        self._say = say
        self._pause = FIRST_PAUSE
        self._popen: subprocess.Popen[bytes] | Forked | None = None
        self._started_at = 0.0
        self._again_at = 0.0

    @property
    def pid(self) -> int | None:
        return self._popen.pid if self._popen else None

    @property
    def is_alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def code(self) -> int | None:
        return self._popen.poll() if self._popen else None

    def start(self, stdout: int | None = None) -> int:
        """Start it and answer its pid; its words go to its log file, or its standard output to `stdout`."""
        self.process.prepare()
        with self.log.open("ab") as log:
            self._popen = self._make(log if stdout is None else stdout, log)
        self._started_at = time.monotonic()
        return self._popen.pid

    def _make(self, out: BinaryIO | int, log: BinaryIO) -> subprocess.Popen[bytes] | Forked:
        """In a session of its own: Ctrl-C in the terminal reaches `aureus up` alone, which ends the tree in order."""
        process = self.process
        if callable(process.command):
            return Forked(process.command, process.environ, out, log, process.on_parent_death)
        return subprocess.Popen(
            process.command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            env=dict(process.environ),
            start_new_session=True,
            preexec_fn=tied(process.on_parent_death),
            pass_fds=(self._lock,),
            **process.how,
        )

    def look(self, now: float) -> None:
        """Start it again if it died, after a pause that doubles with each death and is forgotten after a good life."""
        if self.is_alive:
            if now - self._started_at > GOOD_LIFE:
                self._pause = FIRST_PAUSE
            return
        if not self._again_at:
            self.deaths += 1
            self._again_at = now + self._pause
            self._say(
                self.process.name, f"ended by itself ({_how(self.code)}), again in {self._pause:g} s; see {self.log}"
            )
            self._sweep_group()
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
        elif now >= self._again_at:
            self._again_at = 0.0
            self._say(self.process.name, f"started (process {self.start()})")

    @property
    def age(self) -> float:
        """Seconds since it was last started; 0 for one that is not alive."""
        return time.monotonic() - self._started_at if self.is_alive else 0.0

    def replace(self, why: str) -> None:
        """End it at once: who does not work does not end in order either, and every step is safe from kill -9."""
        self._say(self.process.name, f"{why}: it is replaced")
        self.kill()

    def ask_to_end(self) -> None:
        if self._popen is not None and self.is_alive:
            with suppress(ProcessLookupError):
                self._popen.send_signal(self.process.end)

    def kill(self) -> None:
        if self._popen is not None and self.is_alive:
            self._popen.kill()
            self._popen.wait(10)
        self._sweep_group()

    def _sweep_group(self) -> None:
        """What a dead process left of its own processes ends too."""
        if self._popen is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    def shorten_log(self) -> None:
        """Keep one older file; the process goes on writing to the end of the same one."""
        with suppress(OSError):
            if self.log.stat().st_size > LARGEST_LOG:
                shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
                os.truncate(self.log, 0)

    def last_words(self, lines: int = 15) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 8192))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
