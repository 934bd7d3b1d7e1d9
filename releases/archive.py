"""Reads an archive from first byte to last and refuses whatever should not reach a host. Nothing is ever unpacked here.

A tar reader of our own: the standard library's forgives what other readers take differently, and that is the attack.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

BLOCK = 512
PIECE = 65536
HEADER_CAP = 65536  # bytes of one extended header
RESERVED = frozenset({".manifest", ".links"})
_OTHER_FORMS = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zX": "xz",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
}
_KINDS_REFUSED = {
    b"1": "a hard link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"7": "a contiguous file",
    b"S": "a sparse file",
}
_PAX_RECORD = re.compile(rb"(\d{1,7}) ")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_UTF8 = re.compile(r"[\udc80-\udcff]")
_ODD = re.compile(r"[\x00-\x1f\x7f\udc80-\udcff]")


class UnsafeArchive(Exception):
    """An archive that no host will see: one sentence, and the member it is about ("" for the archive itself)."""

    def __init__(self, sentence: str, member: str = "") -> None:
        super().__init__(f"{sentence}: {member[:200]!r}" if member else sentence)
        self.sentence = sentence
        self.member = member


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes. The ratio of unpacked to packed counts once `ratio_from` bytes are unpacked."""

    archive_size: int = 2**30
    unpacked_size: int = 4 * 2**30
    members: int = 200_000
    ratio: int = 200
    ratio_from: int = 64 * 2**20
    name: int = 1024
    name_part: int = 255


@dataclass(frozen=True)
class Inspection:
    """What was found: `files` counts all members, `unpacked_size` the bytes of their contents."""

    sha256: str
    size: int
    unpacked_size: int
    files: int


def inspect(fileobj: BinaryIO, *, limits: Limits | None = None) -> Inspection:
    """Read a tar or tar.gz to its end. Raises UnsafeArchive."""
    bounds = limits or Limits()
    source = _Source(fileobj, bounds)
    members = _Members(bounds)
    _walk(_Tape(source.plain()), members)
    members.check_links()
    return Inspection(source.digest.hexdigest(), source.size, members.unpacked_size, members.count)


class _Source:
    """The archive as stored: hashed, counted, and unzipped without ever holding more than a piece."""

    def __init__(self, fileobj: BinaryIO, limits: Limits) -> None:
        self._fileobj = fileobj
        self._limits = limits
        self.digest = hashlib.sha256()
        self.size = 0
        self._plain_size = 0

    def plain(self) -> Iterator[bytes]:
        """The tar's bytes, in pieces."""
        first = self._read()
        for magic, name in _OTHER_FORMS.items():
            if first.startswith(magic):
                raise UnsafeArchive(f"the archive is {name}; send a tar or tar.gz")
        if first.startswith(b"\x1f\x8b"):
            yield from self._unzipped(first)
            return
        while first:
            yield self._counted(first)
            first = self._read()

    def _unzipped(self, packed: bytes) -> Iterator[bytes]:
        unzip = zlib.decompressobj(wbits=31)
        try:
            while packed:
                piece = unzip.decompress(packed, PIECE)
                packed = unzip.unconsumed_tail
                if piece:
                    yield self._counted(piece)
                if unzip.eof:
                    break
                packed = packed or self._read()
        except zlib.error:
            raise UnsafeArchive("the gzip stream is damaged") from None
        if not unzip.eof:
            raise UnsafeArchive("the gzip stream breaks off")
        if unzip.unused_data or self._read():
            raise UnsafeArchive("there are bytes after the end of the gzip stream")

    def _read(self) -> bytes:
        piece = self._fileobj.read(PIECE)
        self.digest.update(piece)
        self.size += len(piece)
        if self.size > self._limits.archive_size:
            raise UnsafeArchive(f"the archive is larger than {self._limits.archive_size} bytes")
        return piece

    def _counted(self, piece: bytes) -> bytes:
        self._plain_size += len(piece)
        # The tar's own headers are part of this size: half as much again is generous.
        if self._plain_size > self._limits.unpacked_size + self._limits.members * 3 * BLOCK + 2**20:
            raise UnsafeArchive(f"the archive unpacks to more than {self._limits.unpacked_size} bytes")
        if self._plain_size > max(self._limits.ratio_from, self.size * self._limits.ratio):
            raise UnsafeArchive(f"the archive unpacks to more than {self._limits.ratio} times its size")
        return piece


class _Tape:
    """Exact reads from an iterator of pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._at = 0

    def take(self, size: int, *, short: bool = False) -> bytes:
        """`size` bytes, which the caller has bounded; fewer only at the end and only if `short`."""
        taken = self._piece[self._at : self._at + size]
        self._at += len(taken)
        while len(taken) < size and self._turn():
            more = self._piece[: size - len(taken)]
            self._at = len(more)
            taken += more
        if len(taken) < size and not short:
            raise UnsafeArchive("the archive breaks off inside a member")
        return taken

    def skip(self, size: int) -> None:
        """Pass over a member's contents."""
        while size > len(self._piece) - self._at:
            size -= len(self._piece) - self._at
            if not self._turn():
                raise UnsafeArchive("the archive breaks off inside a member")
        self._at += size

    def only_zeros(self) -> bool:
        """Whether nothing but zeros follows, to the very end."""
        rest = self._piece[self._at :]
        while not rest.strip(b"\0"):
            if not self._turn():
                return True
            rest = self._piece
        return False

    def _turn(self) -> bool:
        self._piece, self._at = next(self._pieces, b""), 0
        return bool(self._piece)


@dataclass
class _Members:
    """The members seen so far, as a tree that is checked while it grows."""

    limits: Limits
    count: int = 0
    unpacked_size: int = 0
    kinds: dict[str, str] = field(default_factory=dict)  # path -> "file", "folder" or "link"
    folded: set[str] = field(default_factory=set)
    parents: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, kind: str, size: int, target: str) -> None:
        """Take one member in. Raises UnsafeArchive."""
        self.count += 1
        self.unpacked_size += size
        if self.count > self.limits.members:
            raise UnsafeArchive(f"the archive has more than {self.limits.members} members")
        if self.unpacked_size > self.limits.unpacked_size:
            raise UnsafeArchive(f"the archive unpacks to more than {self.limits.unpacked_size} bytes")
        path = self._path(name, kind)
        if path == ".":
            return
        self._claim(path, kind, name)
        if kind == "link":
            if not target or target.startswith("/") or "\\" in target or _ODD.search(target):
                raise UnsafeArchive("a symbolic link has a target that is not a plain relative path", name)
            self.links[path] = target

    def _path(self, name: str, kind: str) -> str:
        if _NOT_UTF8.search(name):
            raise UnsafeArchive("a name is not UTF-8", ascii(name))
        if _CONTROL.search(name) or "\\" in name:
            raise UnsafeArchive("a name holds a backslash or a control character", name)
        if name.startswith("/"):
            raise UnsafeArchive("a name is absolute", name)
        if name.endswith("/") and kind != "folder":
            raise UnsafeArchive("a name ends in a slash and is no folder", name)
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise UnsafeArchive("a name leads out of the archive by '..'", name)
        if len(name.encode()) > self.limits.name or any(len(part.encode()) > self.limits.name_part for part in parts):
            raise UnsafeArchive("a name is too long", name)
        if not parts and kind != "folder":
            raise UnsafeArchive("a member has no name", name)
        if len(parts) == 1 and parts[0] in RESERVED:
            raise UnsafeArchive("a name is one that Aureus writes itself", name)
        return "/".join(parts) or "."

    def _claim(self, path: str, kind: str, name: str) -> None:
        folded = unicodedata.normalize("NFC", path).casefold()
        if folded in self.folded:
            raise UnsafeArchive("a name comes twice (capitals do not count)", name)
        self.folded.add(folded)
        self.kinds[path] = kind
        if kind != "folder" and path in self.parents:
            raise UnsafeArchive("something lies below what is no folder", name)
        parent = posixpath.dirname(path)
        while parent and parent not in self.parents:
            self.parents.add(parent)
            if self.kinds.get(parent, "folder") != "folder":
                raise UnsafeArchive("something lies below what is no folder", name)
            parent = posixpath.dirname(parent)

    def check_links(self) -> None:
        """Follow each link through the whole tree, as a kernel would. Raises UnsafeArchive."""
        for path, target in self.links.items():
            self._follow(path, target)

    def _follow(self, path: str, target: str) -> None:
        at = posixpath.dirname(path).split("/") if "/" in path else []
        todo = target.split("/")[::-1]
        for _ in range(4096):
            if not todo:
                return
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not at:
                    raise UnsafeArchive("a symbolic link leads out of the archive", path)
                at.pop()
                continue
            further = self.links.get("/".join([*at, part]))
            if further is None:
                at.append(part)
            else:
                todo += further.split("/")[::-1]
        raise UnsafeArchive("a symbolic link leads round in circles", path)


@dataclass
class _Header:
    """One 512 byte header, decoded."""

    name: str
    kind: bytes
    size: int
    mode: int
    target: str


def _walk(tape: _Tape, members: _Members) -> None:
    extended: dict[str, str] = {}
    while True:
        raw = tape.take(BLOCK, short=True)
        if not raw.strip(b"\0"):
            if len(raw) < BLOCK or extended:
                raise UnsafeArchive("the archive breaks off before its end mark")
            if not tape.only_zeros():
                raise UnsafeArchive("there are bytes after the end of the archive")
            return
        header = _decode(raw)
        if header.kind in (b"x", b"g", b"L", b"K"):
            _extend(extended, header, _contents(tape, header))
            continue
        _take(header, extended, members)
        tape.skip(_padded(int(extended.get("size", header.size))))
        extended = {}


def _take(header: _Header, extended: dict[str, str], members: _Members) -> None:
    name = extended.get("path", header.name)
    if header.kind not in (b"0", b"\0", b"5", b"2"):
        what = _KINDS_REFUSED.get(header.kind, f"of unknown kind {header.kind!r}")
        raise UnsafeArchive(f"a member is {what}; only files, folders and symbolic links are taken", name)
    if header.mode & 0o6000:
        raise UnsafeArchive("a member is setuid or setgid", name)
    kind = {b"5": "folder", b"2": "link"}.get(header.kind, "file")
    size = int(extended.get("size", header.size))
    if kind != "file" and size:
        raise UnsafeArchive("a folder or link has contents", name)
    members.add(name, kind, size, extended.get("linkpath", header.target) if kind == "link" else "")


def _decode(raw: bytes) -> _Header:
    if len(raw) < BLOCK:
        raise UnsafeArchive("the archive breaks off inside a header")
    stated = _octal(raw[148:156], "checksum")
    if stated != sum(raw[:148]) + 8 * 32 + sum(raw[156:]):
        raise UnsafeArchive("a header's checksum is wrong: this is no tar archive, or a damaged one")
    name = _string(raw[0:100])
    # Only POSIX headers have a prefix; GNU's own keep times there.
    if raw[257:263] == b"ustar\0" and raw[345]:
        name = f"{_string(raw[345:500])}/{name}"
    return _Header(name, raw[156:157], _number(raw[124:136]), _octal(raw[100:108], "mode"), _string(raw[157:257]))


def _string(raw: bytes) -> str:
    return _text(raw.split(b"\0", 1)[0])


def _text(raw: bytes) -> str:
    # A name cut off inside a letter is legal where an extended header carries the whole one: judged when used.
    return raw.decode("utf-8", "surrogateescape")


def _octal(raw: bytes, what: str) -> int:
    digits = raw.strip(b" \0")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise UnsafeArchive(f"a header's {what} is not a number")
    return int(digits or b"0", 8)


def _number(raw: bytes) -> int:
    if raw[0] == 0x80:  # GNU's way to write large sizes; 0xff would be a negative one
        return int.from_bytes(raw[1:], "big")
    return _octal(raw, "size")


def _padded(size: int) -> int:
    return (size + BLOCK - 1) // BLOCK * BLOCK


def _contents(tape: _Tape, header: _Header) -> bytes:
    if header.size > HEADER_CAP:
        raise UnsafeArchive("an extended header is too long")
    return tape.take(_padded(header.size))[: header.size]


def _extend(extended: dict[str, str], header: _Header, contents: bytes) -> None:
    if header.kind in (b"L", b"K"):
        name = "path" if header.kind == b"L" else "linkpath"
        records = {name: _string(contents)}
    else:
        records = _pax(contents)
    for name, value in records.items():
        if header.kind == b"g" and name in ("path", "linkpath", "size"):
            raise UnsafeArchive(f"a global header sets {name} for all members")
        if name.startswith("GNU.sparse"):
            raise UnsafeArchive("a member is a sparse file")
        if "xattr" in name or name.startswith("SCHILY.acl"):
            raise UnsafeArchive("a member has extended attributes; make the archive without them (--no-xattrs)")
        if name in ("path", "linkpath", "size"):
            if name in extended:
                raise UnsafeArchive(f"two headers set the {name} of one member")
            if name == "size" and not re.fullmatch(r"\d{1,15}", value):
                raise UnsafeArchive("a header's size is not a number")
            extended[name] = value


def _pax(contents: bytes) -> dict[str, str]:
    records: dict[str, str] = {}
    at = 0
    while at < len(contents):
        length = _PAX_RECORD.match(contents, at)
        end = at + int(length[1]) if length else 0
        if not length or end <= length.end() or end > len(contents) or contents[end - 1 : end] != b"\n":
            raise UnsafeArchive("an extended header is damaged")
        name, equals, value = contents[length.end() : end - 1].partition(b"=")
        if not equals or _text(name) in records:
            raise UnsafeArchive("an extended header is damaged")
        records[_text(name)] = _text(value) if name in (b"path", b"linkpath", b"size") else ""
        at = end
    return records
