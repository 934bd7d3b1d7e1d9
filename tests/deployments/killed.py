"""A worker process that is killed for good, and an outside that outlives it."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from django.db import connections

from deployments import execution, leases, outside
from deployments.drivers import HostError
from deployments.effects import Boundary
from tests.deployments.conftest import Fleet

PATIENCE = 30
"""Seconds without a word after which a worker counts as hung."""


class Line:
    """A worker's way to the objects of the process that made it, safe to use from several threads."""

    def __init__(self, end: Connection) -> None:
        self.end, self.lock = end, threading.Lock()

    def ask(self, name: str, verb: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        with self.lock:
            self.end.send((name, verb, args, named))
            good, said = self.end.recv()
        if good:
            return said
        kind, sentence, code, retry, detail = said
        raise kind(sentence, code=code, retry=retry, detail=detail)

    def to(self, name: str) -> Any:
        """The object of that name as it is used from here."""
        line = self

        class Far:
            lossless = moves = True

            def __getattr__(self, verb: str) -> Callable[..., Any]:
                return lambda *args, **named: line.ask(name, verb, args, named)

        return Far()


def _serve(end: Connection, objects: dict[str, Any]) -> None:
    """Carry out what the worker asks for until it is gone; an answer that nobody takes is no loss."""
    try:
        while end.poll(PATIENCE):
            name, verb, args, named = end.recv()
            try:
                answer = (True, getattr(objects[name], verb)(*args, **named))
            except HostError as error:
                answer = (False, (type(error), error.sentence, error.code, error.retry, error.detail))
            end.send(answer)
    except (EOFError, OSError):
        return
    raise AssertionError("the worker says nothing any more")


def exit_code(work: Callable[[Line], object], objects: dict[str, Any]) -> int:
    """Let `work` happen in a process of its own; how that ended (-9: killed)."""
    connections.close_all()
    here, there = Pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            here.close()
            work(Line(there))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    there.close()
    try:
        _serve(here, objects)
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(pid, 0)
        here.close()
    return os.waitstatus_to_exitcode(status)


def killed_at(fleet: Fleet, kind: str, boundary: Boundary) -> bool:
    """Play in a process of its own until a step of that kind comes to that boundary; whether it was killed there."""

    def reached(at: Boundary, of: str) -> None:
        if (at, of) == (boundary, kind):
            os.kill(os.getpid(), signal.SIGKILL)

    def play(line: Line) -> None:
        far = outside.Outside(
            line.to("hosts"),
            lambda node, installation: line.to("traffic"),
            None,  # type: ignore[arg-type]
            line.to("fleet").ask,
            looks_for=0,
        )
        for _ in range(100):
            woken = leases.sweep() + fleet.hints
            fleet.hints = []
            for deployment_id, lane in woken:
                execution.work_on(deployment_id, lane, far, fleet.hint, reached=reached)
            if not woken and not fleet.hurry():
                return

    code = exit_code(play, {"hosts": fleet.hosts, "traffic": fleet.traffic, "fleet": fleet})
    fleet.hints = []  # what had been hinted went to workers that found nothing to do
    return code == -signal.SIGKILL
