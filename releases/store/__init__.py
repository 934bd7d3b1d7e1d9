"""Where the bytes of artifacts are kept, each under the address that its contents give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Protocol


class StoreRefused(Exception):
    """The bytes were not kept: too many, or not the ones announced. `code` is too_large, sha256 or bad_key."""

    def __init__(self, sentence: str, *, code: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code


@dataclass(frozen=True)
class StoredArtifact:
    """What was kept: `key` opens it again, `size` is in bytes."""

    key: str
    sha256: str
    size: int


class ArtifactStore(Protocol):
    """A directory or an S3 bucket. Keeping the same bytes twice gives the same key and keeps them once."""

    def put(self, stream: BinaryIO, sha256: str, max_size: int) -> StoredArtifact:
        """Keep the stream's bytes. Raises StoreRefused; then nothing was kept."""
        ...

    def open(self, key: str) -> BinaryIO:
        """The bytes under a key. Raises FileNotFoundError."""
        ...

    def exists(self, key: str) -> bool: ...

    def delete(self, key: str) -> None:
        """Forget a key; one that is not there is forgotten already."""
        ...
