"""SSH keys and signatures, made by ssh-keygen itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not here")


def key(folder: Path, name: str, kind: str = "ed25519") -> Path:
    """A new key; its public half is beside it."""
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", path], check=True)
    return path


def signer(path: Path, who: str, options: str = "") -> str:
    """A line of allowed_signers."""
    kind, public = path.with_suffix(".pub").read_text().split()[:2]
    return " ".join(filter(None, (who, options, kind, public)))


def signature(path: Path, sha256: str, namespace: str = "aureus-artifact") -> bytes:
    """As docs/artifacts.md makes one."""
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(path)]
    return subprocess.run(command, input=f"{sha256}\n".encode(), capture_output=True, check=True).stdout
