"""The tree: starts processes, keeps them alive until told to stop, ends them in order."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import FrameType

from aureus.up.child import Child
from aureus.up.home import Home
from aureus.up.processes import Process, Turn

LOOK_EVERY = 0.2
LOGS_EVERY = 60.0
STUCK_EVERY = 5.0


class StartFailed(Exception):
    """A process that the others need did not come up."""


class Stopped(Exception):
    """Somebody asked to stop before the start was over."""


class Tree:
    def __init__(self, home: Home, say: Callable[[str, str], None]) -> None:
        self.children: list[Child] = []
        self._home = home
        self._say = say
        self._stop = threading.Event()
        self._asked = 0

    def listen(self) -> None:
        """From now on SIGINT and SIGTERM ask the tree to stop; the second one makes it hurry."""
        signal.signal(signal.SIGINT, self._hear)
        signal.signal(signal.SIGTERM, self._hear)
        # Under nohup it is ignored, and stays so.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._hear)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._asked += 1
        self._stop.set()

    def add(self, process: Process) -> Child:
        child = self._child(process)
        child.start()
        self.children.append(child)
        return child

    def wait_for(self, child: Child, is_ready: Callable[[], bool], seconds: float) -> None:
        """Until the child is ready. Raises StartFailed with its last words, or Stopped."""
        end = time.monotonic() + seconds
        while not is_ready():
            if not child.is_alive or time.monotonic() > end:
                raise StartFailed(f"{child.process.name} did not start; the end of {child.log}:\n{child.last_words()}")
            self._pause(0.05)

    def run_once(self, process: Process) -> str:
        """Run a process to its end; answers its standard output. Raises StartFailed with its last words, or Stopped."""
        child = self._child(process)
        answer, out = os.pipe()
        try:
            child.start(stdout=out)
            while child.is_alive:
                self._pause(0.05)
            if child.code:
                raise StartFailed(f"{process.name} failed; the end of {child.log}:\n{child.last_words()}")
            os.set_blocking(answer, False)
            return os.read(answer, 4096).decode()
        finally:
            child.kill()
            os.close(answer)
            os.close(out)

    def keep(
        self,
        is_ready: Callable[[], bool],
        when_ready: Callable[[], None],
        stuck: Callable[[Mapping[str, float]], Iterable[str]],
    ) -> None:
        """Watch over the children until somebody asks to stop.

        `stuck` names those to replace, by the seconds that each has run.
        """
        waiting, logs_at, stuck_at = True, 0.0, 0.0
        while not self._stop.wait(LOOK_EVERY):
            now = time.monotonic()
            for child in self.children:
                child.look(now)
            if waiting and is_ready():
                waiting = False
                when_ready()
            if not waiting and now > stuck_at:
                stuck_at = now + STUCK_EVERY
                self._replace(stuck({child.process.name: child.age for child in self.children}))
            if now > logs_at:
                logs_at = now + LOGS_EVERY
                for child in self.children:
                    child.shorten_log()

    def _replace(self, names: Iterable[str]) -> None:
        for child in self.children:
            if child.process.name in names:
                child.replace("it has not answered for too long")

    def end(self) -> None:
        """End every child, turn by turn."""
        for turn in Turn:
            group = [child for child in self.children if child.process.turn == turn]
            asked = self._asked
            for child in group:
                child.ask_to_end()
            self._wait_for_end(group, asked)
            for child in group:
                if child.is_alive:
                    self._say(child.process.name, "did not end in time and was killed")
                child.kill()

    def _wait_for_end(self, group: list[Child], asked: int) -> None:
        begun = time.monotonic()
        while any(child.is_alive and time.monotonic() < begun + child.process.patience for child in group):
            if self._asked > max(asked, 1):
                return
            time.sleep(0.05)

    def _child(self, process: Process) -> Child:
        return Child(process, self._home.logs, self._home.lock, self._say)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopped
