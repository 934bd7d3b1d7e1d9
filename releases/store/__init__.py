"""Where the bytes of artifacts are kept, each under the address that its contents give it."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import BinaryIO, Protocol

_SHA256 = re.compile(r"\A[0-9a-f]{64}\Z")
_KEY = re.compile(r"\Asha256/([0-9a-f]{2})/(\1[0-9a-f]{62})\Z")


class StoreRefused(Exception):
    """The bytes were not kept: too many, or not the ones announced. `code` is too_large, sha256 or bad_key."""

    def __init__(self, sentence: str, *, code: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code


class StoreDown(OSError):
    """The store cannot be asked now; what was asked may be asked again."""

    def __init__(self, sentence: str) -> None:
        super().__init__(errno.EIO, sentence)
        self.sentence = sentence


def key_of(sha256: str) -> str:
    """The key of the bytes with this sha256. Raises StoreRefused."""
    if not _SHA256.match(sha256):
        raise StoreRefused("an artifact's sha256 is 64 hexadecimal digits in small letters", code="sha256")
    return f"sha256/{sha256[:2]}/{sha256}"


def checked_key(key: str) -> str:
    """The key itself. Raises StoreRefused for what is none, since it becomes a path."""
    if not _KEY.match(key):
        raise StoreRefused(f"{key[:100]!r} is no key of this store", code="bad_key")
    return key


@dataclass(frozen=True)
class StoredArtifact:
    """What was kept: `key` opens it again, `size` is in bytes."""

    key: str
    sha256: str
    size: int


class ArtifactStore(Protocol):
    """A directory or an S3 bucket. Keeping the same bytes twice gives the same key and keeps them once."""

    def put(self, stream: BinaryIO, sha256: str, max_size: int) -> StoredArtifact:
        """Keep the stream's bytes. Raises StoreRefused, StoreDown; then nothing was kept."""
        ...

    def open(self, key: str) -> BinaryIO:
        """The bytes under a key, to be read and sought. Raises FileNotFoundError, StoreDown."""
        ...

    def exists(self, key: str) -> bool: ...

    def delete(self, key: str) -> None:
        """Forget a key; one that is not there is forgotten already."""
        ...
