"""Commands run on this machine as a host would run them, and hosts that do not."""

import subprocess
from collections.abc import Sequence

from health.sources.shell import CannotRun


def local(words: Sequence[str], stdin: bytes, timeout: float) -> tuple[int, bytes, bytes]:
    done = subprocess.run(list(words), input=stdin, capture_output=True, timeout=timeout, check=False)
    return done.returncode, done.stdout, done.stderr


def unreachable(words: Sequence[str], stdin: bytes, timeout: float) -> tuple[int, bytes, bytes]:
    raise CannotRun("host h1 could not be reached: no route to host.")


def saying(out: bytes = b"", err: bytes = b"", code: int = 0):
    """A host that answers this to whatever it is asked, and remembers the words."""

    def run(words: Sequence[str], stdin: bytes, timeout: float) -> tuple[int, bytes, bytes]:
        run.asked.append(list(words))  # type: ignore[attr-defined]
        return code, out, err

    run.asked = []  # type: ignore[attr-defined]
    return run
