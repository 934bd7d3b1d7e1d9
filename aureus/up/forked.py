"""A child made by fork alone: it shares the code loaded here, so it starts at once and costs little memory."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import BinaryIO

from aureus.up.tie import tied


class Forked:
    """The part of subprocess.Popen that the tree uses, for a function instead of a command."""

    def __init__(
        self,
        function: Callable[[], int],
        environ: Mapping[str, str],
        stdout: BinaryIO | int,
        stderr: BinaryIO,
        tie: signal.Signals,
    ) -> None:
        bind = tied(tie)
        out = stdout if isinstance(stdout, int) else stdout.fileno()
        sys.stdout.flush()
        sys.stderr.flush()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _become(function, environ, out, stderr.fileno(), bind)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """After SIGKILL only, so `timeout` is not needed."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _become(
    function: Callable[[], int], environ: Mapping[str, str], out: int, err: int, bind: Callable[[], None]
) -> None:
    """The child's whole life; never returns into the parent's code."""
    code = 1
    try:
        os.setsid()
        bind()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (out, 1), (err, 2)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(environ)
        code = function()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
