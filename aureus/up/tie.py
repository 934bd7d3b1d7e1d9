"""Ties a process to the one that started it: when that one is gone, by kill -9 too, the kernel signals this one."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1

# Loaded before any fork: between fork and exec only a system call is safe.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def tied(on_parent_death: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn` for subprocess. It runs after the change of user, which would undo it."""
    parent = os.getpid()

    def tie() -> None:
        if _prctl is not None:
            _prctl(PR_SET_PDEATHSIG, int(on_parent_death), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return tie


def tie_to_parent(parent: int | None, on_parent_death: signal.Signals = signal.SIGKILL) -> None:
    """The same for a process that has started already; `parent` is who it should be, None when not known."""
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, int(on_parent_death), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)
