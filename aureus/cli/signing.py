"""The sha256 of an archive, and its signature: made here by ssh-keygen, so that a key never leaves its machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from aureus.cli.ends import FAILED, USAGE, Ended
from aureus.cli.output import progress

PIECE = 1 << 20
NAMESPACE = "aureus-artifact"
LARGEST = 16_384


def sha256_of(path: Path) -> str:
    """Read once, in pieces. Raises Ended."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream, progress(f"sha256 of {path.name}", os.path.getsize(path)) as tell:
            while piece := stream.read(PIECE):
                digest.update(piece)
                tell(len(piece))
    except OSError as error:
        raise Ended(USAGE, f"{path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def made(sha256: str, key: Path | None, signature: Path | None) -> bytes | None:
    """The signature to send: by a key, or read from a file; None where neither is given. Raises Ended."""
    if key is not None and signature is not None:
        raise Ended(USAGE, "give a key to sign with or a signature that was made, not both")
    if key is not None:
        return _signed(sha256, key)
    if signature is None:
        return None
    try:
        with signature.open("rb") as stream:
            return stream.read(LARGEST + 1)
    except OSError as error:
        raise Ended(USAGE, f"{signature} cannot be read: {error.strerror}") from None


def _signed(sha256: str, key: Path) -> bytes:
    """ssh-keygen asks for a passphrase at the terminal, or the agent, as it does for git."""
    if not key.is_file():
        raise Ended(USAGE, f"there is no key {key}")
    command = ["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", str(key)]
    try:
        done = subprocess.run(command, input=f"{sha256}\n".encode(), capture_output=True)
    except FileNotFoundError:
        raise Ended(FAILED, "ssh-keygen is not here: install openssh-client, or send --signature FILE") from None
    if done.returncode != 0 or not done.stdout:
        why = done.stderr.decode(errors="replace").strip().splitlines()
        raise Ended(FAILED, f"ssh-keygen has not signed with {key}: {why[-1] if why else done.returncode}")
    return done.stdout
