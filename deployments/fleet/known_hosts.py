"""Fingerprints out of lines as OpenSSH keeps them in known_hosts. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator

PREFERRED = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
"""The order in which our client asks a server for its key, so that the one we pin is the one it will show."""


def fingerprint(lines: str, address: str, port: int = 22) -> str:
    """The SHA256 fingerprint of a host's key, the preferred kind of several; "" where no line speaks of the host."""
    name = address if port == 22 else f"[{address}]:{port}"
    found: dict[str, str] = {}
    revoked: set[str] = set()
    for marker, names, kind, blob in _entries(lines):
        if not _speaks_of(names, name):
            continue
        shown = fingerprint_of_key(blob)
        if marker == "@revoked":
            revoked.add(shown)
        elif not marker:
            found.setdefault(kind, shown)
    kinds = [kind for kind in PREFERRED if kind in found and found[kind] not in revoked]
    return found[kinds[0]] if kinds else ""


def fingerprint_of_key(blob: bytes) -> str:
    """As ssh-keygen -l shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _entries(lines: str) -> Iterator[tuple[str, str, str, bytes]]:
    for line in lines.splitlines():
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#"):
            continue
        try:
            yield marker, words[0], words[1], base64.b64decode(words[2], validate=True)
        except binascii.Error:
            continue


def _speaks_of(names: str, name: str) -> bool:
    if names.startswith("|1|"):
        return _hashed(names, name)
    return name.lower() in names.lower().split(",")


def _hashed(names: str, name: str) -> bool:
    """ssh-keygen -H hides names behind a keyed SHA-1."""
    try:
        _, _, salt, digest = names.split("|")
        made = hmac.digest(base64.b64decode(salt), name.encode(), hashlib.sha1)
        return hmac.compare_digest(made, base64.b64decode(digest))
    except (ValueError, binascii.Error):
        return False
