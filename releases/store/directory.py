"""Artifacts as files of one directory, for one machine or a shared file system."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

from releases.store import StoredArtifact, StoreRefused, checked_key, key_of

PIECE = 2**20
LEFT_AFTER = 86_400.0
"""Seconds after which a temporary file is one that a killed process left: no upload takes longer."""


class DirectoryStore:
    """Files named by their sha256, readable by this user alone."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, stream: BinaryIO, sha256: str, max_size: int) -> StoredArtifact:
        """Stream to a temporary file, compare, and only then give it its name. Raises StoreRefused."""
        key = key_of(sha256)
        folder = (self.root / key).parent
        for each in (self.root, folder.parent, folder):  # `parents=True` would leave the upper ones open to others
            each.mkdir(mode=0o700, exist_ok=True)
        self._forget_left_over()
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".put-")
        try:
            with os.fdopen(handle, "wb") as sink:
                size = _copy(stream, sink, sha256, max_size)
                sink.flush()
                os.fsync(sink.fileno())
            os.rename(temporary, self.root / key)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        _sync(folder)
        return StoredArtifact(key, sha256, size)

    def open(self, key: str) -> BinaryIO:
        """The file's bytes. Raises FileNotFoundError, or StoreRefused for what is no key."""
        return self._path(key).open("rb")

    def exists(self, key: str) -> bool:
        """Whether these bytes are kept."""
        return self._path(key).is_file()

    def delete(self, key: str) -> None:
        """Forget the bytes."""
        self._path(key).unlink(missing_ok=True)

    def _forget_left_over(self) -> None:
        for left in self.root.glob("sha256/*/.put-*"):
            with contextlib.suppress(FileNotFoundError):
                if left.stat().st_mtime < time.time() - LEFT_AFTER:
                    left.unlink()

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key)


def _copy(stream: BinaryIO, sink: BinaryIO, sha256: str, max_size: int) -> int:
    digest, size = hashlib.sha256(), 0
    while piece := stream.read(PIECE):
        size += len(piece)
        if size > max_size:
            raise StoreRefused(f"the artifact is larger than {max_size} bytes", code="too_large")
        digest.update(piece)
        sink.write(piece)
    if digest.hexdigest() != sha256:
        raise StoreRefused(f"the artifact arrived as sha256 {digest.hexdigest()}, not as {sha256}", code="sha256")
    return size


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
