"""Our own keys, by reference: file:/path, env:NAME, agent. Web processes get the resolver that refuses."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

import paramiko

from deployments.drivers.errors import AuthRefused

# None means: ask the agent.
KeyResolver = Callable[[str], paramiko.PKey | None]

_KINDS: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


def local_keys(ref: str) -> paramiko.PKey | None:
    """The key behind a reference. Raises AuthRefused, which never shows any part of the key."""
    kind, _, rest = ref.partition(":")
    if kind == "agent":
        return None
    if kind == "file":
        try:
            with open(rest, encoding="utf-8") as stream:
                return _parse(stream.read(), ref)
        except (OSError, UnicodeDecodeError) as error:
            raise AuthRefused(f"the SSH key {ref} cannot be read: {type(error).__name__}", code="no_key") from None
    if kind == "env" and os.environ.get(rest):
        return _parse(os.environ[rest], ref)
    raise AuthRefused(f"the SSH key {ref} is not set", code="no_key")


def no_keys(ref: str) -> paramiko.PKey | None:
    """For processes that must not reach hosts."""
    raise AuthRefused("this process may not use SSH keys: hosts are reached by workers", code="no_key")


def _parse(text: str, ref: str) -> paramiko.PKey:
    for kind in _KINDS:
        try:
            return kind.from_private_key(io.StringIO(text))
        except paramiko.PasswordRequiredException:
            raise AuthRefused(
                f"the SSH key {ref} has a passphrase: give one without, or the agent", code="no_key"
            ) from None
        except (paramiko.SSHException, ValueError):
            continue
    raise AuthRefused(f"the SSH key {ref} is not an ed25519, ECDSA or RSA private key", code="no_key")
