"""Signatures of artifacts: what `ssh-keygen -Y sign` made, looked at when it comes and judged by those who may sign.

The signed bytes are the artifact's sha256 in 64 small hexadecimal digits and a line feed, so that nobody has to read
the artifact again. The format is OpenSSH's SSHSIG (PROTOCOL.sshsig), the list of signers its allowed_signers
(ssh-keygen(1)).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

NAMESPACE = "aureus-artifact"
LARGEST = 16_384
"""Bytes of a signature file; one by an RSA key of 16,384 bits with a certificate has fewer."""
MOST_SIGNERS = 65_536
"""Bytes of a list of signers."""
PATIENCE = 3.0
"""Seconds for one call of ssh-keygen, which takes milliseconds."""
_ARMOUR = re.compile(
    rb"\A\s*-----BEGIN SSH SIGNATURE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END SSH SIGNATURE-----\s*\Z", re.ASCII
)
_OPTION = r"(?:cert-authority|(?:namespaces|valid-after|valid-before)=\"[^\"\x00-\x1f]*\")"
_SIGNER = re.compile(
    rf"[^\s#]\S{{0,499}}(?: {_OPTION}(?:,{_OPTION})*)?"
    r" [a-z0-9@.-]{1,60} [A-Za-z0-9+/]{20,12000}={0,2}(?: [^\x00-\x1f]{0,200})?"
)


class SignatureWrong(Exception):
    """No signature of this artifact; one sentence."""


class CannotVerify(Exception):
    """Whether it is one cannot be said here; one sentence with what to do."""


@dataclass(frozen=True)
class Signed:
    """A signature that holds for an artifact. `key` is the signer's fingerprint; whether they may sign is not said."""

    armoured: str
    key: str


def message(sha256: str) -> bytes:
    """What is signed."""
    return f"{sha256}\n".encode()


def read(octets: bytes, sha256: str) -> Signed:
    """A signature file, proven to be of this artifact. Raises SignatureWrong, CannotVerify."""
    key = _key_of(octets)
    armoured = octets.decode("ascii").strip().replace("\r\n", "\n") + "\n"
    with tempfile.TemporaryDirectory(prefix="aureus-signature-") as folder:
        file = Path(folder, "signature")
        file.write_text(armoured)
        said = _ssh_keygen("check-novalidate", "-n", NAMESPACE, "-s", str(file), stdin=message(sha256))
    if said.returncode != 0:
        raise SignatureWrong(
            f"the signature is not of this artifact: sign the line {sha256}, as docs/artifacts.md shows"
        )
    return Signed(armoured, key)


def _key_of(octets: bytes) -> str:
    if not octets.strip():
        raise SignatureWrong("the signature is empty")
    if len(octets) > LARGEST:
        raise SignatureWrong(f"a signature has at most {LARGEST} bytes, and this one {len(octets)}")
    found = _ARMOUR.match(octets)
    if not found:
        raise SignatureWrong("this is no SSH signature: it is made by `ssh-keygen -Y sign`, and begins with "
                             "-----BEGIN SSH SIGNATURE-----")  # fmt: skip
    try:
        blob = base64.b64decode(b"".join(found[1].split()), validate=True)
        if blob[:10] != b"SSHSIG\x00\x00\x00\x01":
            raise ValueError
        public, at = _text(blob, 10)
        namespace, _ = _text(blob, at)
    except (binascii.Error, ValueError):
        raise SignatureWrong("the SSH signature is damaged") from None
    if namespace != NAMESPACE.encode():
        shown = namespace[:60].decode("utf-8", "replace")
        raise SignatureWrong(f"it was signed for the namespace {shown!r}; sign with -n {NAMESPACE}")
    return fingerprint(public)


def _text(blob: bytes, at: int) -> tuple[bytes, int]:
    size = int.from_bytes(blob[at : at + 4], "big")
    if len(blob) < at + 4 + size:
        raise ValueError
    return blob[at + 4 : at + 4 + size], at + 4 + size


def fingerprint(public: bytes) -> str:
    """As ssh-keygen -l shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")


def wrong_signers(lines: Sequence[str]) -> str:
    """What is wrong with the signers of a declaration; "" where nothing is.

    One `file:/path`, or lines as in allowed_signers.
    """
    if len(lines) == 1 and lines[0].startswith("file:"):
        return "" if lines[0].startswith("file:/") else "file: must name an absolute path"
    if sum(map(len, lines)) > MOST_SIGNERS:
        return f"must have at most {MOST_SIGNERS} characters"
    for line in lines:
        if line.startswith("file:"):
            return "file: stands alone"
        if not _SIGNER.fullmatch(line):
            return f"{line[:80]!r} must be a line of allowed_signers: somebody@example.com ssh-ed25519 AAAA…"
    return ""


def judge(sha256: str, signatures: Sequence[str], signers: Sequence[str], now: datetime) -> str:
    """Who has signed an artifact by these signatures, of those who may; "" for nobody. Raises CannotVerify."""
    allowed = _listed(signers)
    for armoured in signatures:
        if who := _verified(sha256, armoured, allowed, now.strftime("%Y%m%d%H%M")):
            return who
    return ""


def _listed(signers: Sequence[str]) -> str:
    if len(signers) != 1 or not signers[0].startswith("file:"):
        return "\n".join(signers) + "\n"
    path = signers[0].removeprefix("file:")
    try:
        with open(path, "rb") as stream:
            text = stream.read(MOST_SIGNERS + 1)
        if len(text) > MOST_SIGNERS:
            raise CannotVerify(f"the list of signers {path} has more than {MOST_SIGNERS} bytes: make it smaller")
        return text.decode()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise CannotVerify(f"the list of signers {path} cannot be read where Aureus runs: {why}") from None


@lru_cache(maxsize=2048)
def _verified(sha256: str, armoured: str, allowed: str, minute: str) -> str:
    """Read at every look at a waiting deployment, so an answer counts for its minute (UTC)."""
    with tempfile.TemporaryDirectory(prefix="aureus-signature-") as folder:
        signature, signers = Path(folder, "signature"), Path(folder, "signers")
        signature.write_text(armoured)
        signers.write_text(allowed)
        where = ("-s", str(signature), "-f", str(signers), f"-Overify-time={minute}")
        found = _ssh_keygen("find-principals", *where, stdin=b"")
        for line in found.stdout.decode("utf-8", "replace").splitlines() if found.returncode == 0 else ():
            who = line.split(",")[0].strip()
            said = _ssh_keygen("verify", "-n", NAMESPACE, "-I", who, *where, stdin=message(sha256))
            if who and said.returncode == 0:
                return who
    return ""


def is_here() -> bool:
    """Whether signatures can be verified on this machine."""
    try:
        _ssh_keygen("find-principals", stdin=b"")
    except CannotVerify:
        return False
    return True


def _ssh_keygen(act: str, *words: str, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    # Times without a zone in a list of signers are this one's.
    environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", act, *words], input=stdin, capture_output=True, timeout=PATIENCE, env=environ
        )
    except FileNotFoundError:
        raise CannotVerify(
            "ssh-keygen is not installed where Aureus runs, so no signature can be verified: install openssh-client"
        ) from None
    except subprocess.TimeoutExpired:
        raise CannotVerify(f"ssh-keygen did not answer within {PATIENCE:.0f} s: try again") from None
