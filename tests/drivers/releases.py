"""Small releases for tests of hosts."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import replace

from deployments.drivers import Base, ReleaseFiles
from releases.difference import entries, manifest, pack, unchanged


def packed(files: Mapping[str, bytes], *extra: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    """An archive of these files and these further members."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as tar:  # type: ignore[call-overload]
        for name, contents in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
        for member in extra:
            tar.addfile(member)
    return sink.getvalue()


def release(content: str, archive: bytes | None = None, **changed: object) -> ReleaseFiles:
    """A release of that content; `archive` None gives it one small file."""
    held = packed({"bin/app": content.encode()}) if archive is None else archive
    made = ReleaseFiles(
        content=content,
        archive=lambda: io.BytesIO(held),
        sha256=hashlib.sha256(held).hexdigest(),
        size=len(held),
        unpacked_size=1000,
        files=1,
        workflow=b'{"id":"app"}',
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def content(number: int) -> str:
    """The content of version NUMBER.0.0."""
    return f"{number}.0.0-{number:012x}"


def made_from(new: str, archive: bytes, base: str, held: bytes, sums: str = "") -> ReleaseFiles:
    """A release that is sent as what differs from the archive of another."""
    whole = release(new, archive)
    listed = list(entries(io.BytesIO(archive)))
    same = unchanged(entries(io.BytesIO(held)), listed)
    out = io.BytesIO()
    pack(io.BytesIO(archive), frozenset(same), out)
    right = hashlib.sha256(manifest(listed, {"workflow.json": whole.workflow})).hexdigest()
    made = Base(base, "".join(f"./{path}\n" for path in same).encode(), sums or right)
    return replace(release(new, out.getvalue()), base=made)
