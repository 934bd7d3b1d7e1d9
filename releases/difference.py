"""What one archive has and another has not, so that a host which holds the other's files is sent no more than that.

Both archives were inspected when they came: what they hold is plain, and every reader takes it alike.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, BinaryIO

FILE, LINK, FOLDER = "file", "link", "folder"
OURS = frozenset({"workflow.json", ".manifest", ".links", ".aureus-env"})
"""What the host writes itself at the top of each release, whatever an archive has there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One member. what: a file's sha256, a link's target, empty for a folder."""

    path: str
    kind: str
    mode: int
    what: str = ""


def entries(archive: BinaryIO) -> Iterator[Entry]:
    """The members that a release has from its archive, in the archive's order."""
    for path, tar, member in _members(archive):
        if member.isreg():
            yield Entry(path, FILE, member.mode & 0o777, _sha256(_opened(tar, member)))
        elif member.issym():
            yield Entry(path, LINK, member.mode & 0o777, member.linkname)
        else:
            yield Entry(path, FOLDER, member.mode & 0o777)


def unchanged(old: Iterable[Entry], new: Iterable[Entry]) -> tuple[str, ...]:
    """The files that both have alike: same path, same bytes, same mode."""
    had = {entry.path: (entry.mode, entry.what) for entry in old if entry.kind == FILE}
    return tuple(e.path for e in new if e.kind == FILE and had.get(e.path) == (e.mode, e.what))


def pack(archive: BinaryIO, without: Collection[str], out: IO[bytes]) -> None:
    """Write a .tar.gz of all members but those files."""
    with tarfile.open(fileobj=out, mode="w|gz") as packed:
        for path, tar, member in _members(archive):
            if path not in without:
                packed.addfile(member, _opened(tar, member) if member.isreg() else None)
                packed.members = []  # type: ignore[attr-defined]


def manifest(release: Iterable[Entry], files: Mapping[str, bytes]) -> bytes:
    """The list of files that the host makes of a whole release: what `sha256sum` says, in the order of bytes.

    files: those that are written beside the archive's, by name.
    """
    here = list(release)
    links = sorted(f"./{entry.path}\t{entry.what}".encode() for entry in here if entry.kind == LINK)
    sums = {f"./{entry.path}".encode(): entry.what for entry in here if entry.kind == FILE}
    beside = {**files, ".links": b"".join(line + b"\n" for line in links)}
    sums |= {f"./{name}".encode(): hashlib.sha256(text).hexdigest() for name, text in beside.items()}
    return b"".join(sums[path].encode() + b"  " + path + b"\n" for path in sorted(sums))


def _members(archive: BinaryIO) -> Iterator[tuple[str, tarfile.TarFile, tarfile.TarInfo]]:
    with tarfile.open(fileobj=archive, mode="r|*") as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined] # a stream would keep every member that it has passed
            path = "/".join(part for part in member.name.split("/") if part not in ("", "."))
            if path and path.split("/", 1)[0] not in OURS:
                yield path, tar, member


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    contents = tar.extractfile(member)
    assert contents is not None  # it is a file
    return contents


def _sha256(contents: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := contents.read(65_536):
        digest.update(piece)
    return digest.hexdigest()
