"""What can go wrong between us and a host: one sentence for people, one code for programs, and whether to try again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class HostError(Exception):
    """A host did not do what it was asked. `retry` says whether the same act may succeed later without a person."""

    retry = False

    def __init__(
        self, sentence: str, *, code: str, retry: bool | None = None, detail: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code
        self.detail = dict(detail or {})
        if retry is not None:
            self.retry = retry


class Unreachable(HostError):
    """No connection, or it broke off. What the act did meanwhile is not known: look before acting again."""

    retry = True


class KeyRefused(HostError):
    """The host shows no pinned key, or another one. Nothing was sent, no authentication was tried."""


class AuthRefused(HostError):
    """The host does not accept our key, or our key cannot be read."""


class SecretRefused(HostError):
    """A secret that an application shall have cannot be had. Nothing was sent; `retry` is for whoever gives it."""


class ActRefused(HostError):
    """The host looked and said no: stale_fence, cas, no_space, no_inodes, sha256, unsafe_archive, missing_tool, …"""


class ActFailed(HostError):
    """The act was begun and failed; `detail` may hold service state, log lines and the port's owner."""

    retry = True


class ActTimedOut(HostError):
    """The act did not end within its deadline; what was left of it has been ended on the host."""

    retry = True
