"""Programs of the system: each with a time limit, and its last words in the error."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATHS, "LC_ALL": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
PROXIES = ("http_proxy", "https_proxy", "no_proxy")


class BedError(Exception):
    """Something of the bed cannot be made or done; the sentence holds what the program said."""


def run(*words: str | Path, seconds: float = 30, fed: str = "") -> str:
    """What the program said on stdout. Raises BedError with what it said on stderr."""
    said = [str(word) for word in words]
    environment = ENVIRONMENT | {name: os.environ[name] for name in PROXIES if name in os.environ}
    try:
        ended = subprocess.run(said, input=fed, capture_output=True, text=True, timeout=seconds, env=environment)
    except subprocess.TimeoutExpired:
        raise BedError(f"{' '.join(said)} did not end within {seconds:g} s") from None
    if ended.returncode != 0:
        raise BedError(f"{' '.join(said)} ended with {ended.returncode}: {ended.stderr.strip()[-2000:]}")
    return ended.stdout


def try_to(*words: str | Path, seconds: float = 30) -> bool:
    """The same where a failure is an answer: taking down what may be half there."""
    try:
        run(*words, seconds=seconds)
    except BedError:
        return False
    return True
