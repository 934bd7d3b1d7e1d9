"""How a content gets to a host with few bytes: where the host holds another one, as what differs from that.

What was worked out is kept in a folder of this machine, since many hosts are sent the same. Nothing in it is trusted:
the host compares every file with a manifest before the content has a name, and is sent the whole where that is wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import structlog

from deployments.drivers import Base, ReleaseFiles
from releases.difference import Entry, entries, manifest, pack, unchanged
from releases.store import ArtifactStore

if TYPE_CHECKING:
    from deployments.contents import Brought
    from releases.models import Artifact

log = structlog.get_logger(__name__)

LEAST = 262_144
"""Bytes of an archive below which the whole is sent: two more looks cost as much."""
MOST_FILES = 50_000
"""Of an archive with more members the whole is sent: their list would be held in memory."""
MOST_SHARE = 0.5
"""Of the whole archive's size. A larger difference is not worth the copying on the host."""
KEPT = 7 * 86_400
"""Seconds for which nobody has used it, after which something kept is removed."""
NOT_THE_BASE = frozenset({"no_base", "base_differs"})
"""What a host says that cannot make the content of what it holds."""


class Differences:
    """What was worked out between artifacts. `folder` is made when it is needed; several processes may share it."""

    def __init__(self, folder: Path, store: ArtifactStore) -> None:
        self._folder = folder
        self._store = store
        self._lock = threading.Lock()

    def smaller(self, whole: ReleaseFiles, parts: Brought, base: Brought) -> ReleaseFiles | None:
        """A content as its difference to another one; None where the whole is better or nothing can be worked out."""
        new, old = parts.version.artifact, base.version.artifact
        if new is None or old is None or new.size < LEAST or max(new.files, old.files) > MOST_FILES:
            return None
        try:
            return self._smaller(whole, new, old, base.content)
        except OSError as error:
            log.warning("the whole is sent, since its difference cannot be kept", error=str(error))
            return None

    def _smaller(self, whole: ReleaseFiles, new: Artifact, old: Artifact, base: str) -> ReleaseFiles | None:
        # Sixteen hosts ask at once: one works it out, the others find it.
        with self._lock:
            listed = self._entries(new)
            same = unchanged(self._entries(old), listed)
            packed = self._kept(f"{old.sha256[:32]}-{new.sha256[:32]}.tar.gz", lambda out: self._pack(new, same, out))
        size = packed.stat().st_size
        if size > new.size * MOST_SHARE:
            return None
        beside = {"workflow.json": whole.workflow, **({".aureus-env": b""} if whole.configured else {})}
        copies = "".join(f"./{path}\n" for path in same).encode()
        made = Base(base, copies, hashlib.sha256(manifest(listed, beside)).hexdigest())
        with packed.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        return replace(whole, archive=lambda: packed.open("rb"), sha256=found, size=size, base=made)

    def _entries(self, artifact: Artifact) -> list[Entry]:
        def write(out: IO[bytes]) -> None:
            with self._store.open(artifact.store_key) as archive:
                for entry in entries(archive):
                    out.write(json.dumps(astuple(entry)).encode() + b"\n")

        with self._kept(f"{artifact.sha256}.entries", write).open("rb") as lines:
            return [Entry(*json.loads(line)) for line in lines]

    def _pack(self, artifact: Artifact, without: tuple[str, ...], out: IO[bytes]) -> None:
        with self._store.open(artifact.store_key) as archive:
            pack(archive, frozenset(without), out)

    def _kept(self, name: str, write: Callable[[IO[bytes]], None]) -> Path:
        """The file of that name, written whole or not at all the first time."""
        file = self._folder / name
        with suppress(FileNotFoundError):
            os.utime(file)
            return file
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._forget()
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".new-", delete_on_close=False) as new:
            write(new)
            new.close()
            os.replace(new.name, file)
        return file

    def _forget(self) -> None:
        for file in self._folder.iterdir():
            with suppress(OSError):
                if time.time() - file.stat().st_mtime > KEPT:
                    file.unlink()
