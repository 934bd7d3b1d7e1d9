"""Archives that attack who unpacks them: for each its name, its bytes, and words of the refusal."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator

Row = tuple[str, bytes, str]
Member = tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]


def member(name: str, **changed: object) -> tarfile.TarInfo:
    """A tar member as the standard library writes it."""
    made = tarfile.TarInfo(name)
    for field, value in changed.items():
        setattr(made, field, value)
    return made


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    return member(name, type=kind, linkname=target)


def tar(*members: Member, form: int = tarfile.GNU_FORMAT, **how: object) -> bytes:
    """A tar of these members; contents come with a member as a pair."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form, **how) as made:  # type: ignore[call-overload]
        for each in members:
            info, contents = each if isinstance(each, tuple) else (each, b"")
            if contents:
                info.size = len(contents)
            made.addfile(info, io.BytesIO(contents))
    return sink.getvalue()


def pax(**records: str) -> bytes:
    """A tar of one member with an extended header of these records."""
    return tar(member("x", pax_headers=records), form=tarfile.PAX_FORMAT)


def header(name: str, **raw: bytes) -> bytes:
    """One header with fields as nobody would write them, and a checksum that is right."""
    made = bytearray(member(name).tobuf(tarfile.USTAR_FORMAT))
    places = {"size": (124, 136), "mode": (100, 108), "kind": (156, 157)}
    for field, value in raw.items():
        start, end = places[field]
        made[start:end] = value.ljust(end - start, b"\0")
    made[148:156] = b" " * 8
    made[148:156] = f"{sum(made):06o}\0 ".encode()
    return bytes(made)


GOOD = (member("app.py"), b"print()")
END = bytes(1024)
PLAIN = tar(GOOD)


def rows() -> Iterator[Row]:
    """All of them; each attacks in a way of its own."""
    yield from _names()
    yield from _links()
    yield from _kinds()
    yield from _readers()
    yield from _sizes()


def _names() -> Iterator[Row]:
    yield "absolute", tar(GOOD, member("/etc/cron.d/x")), "absolute"
    yield "parent", tar(GOOD, member("../x")), "leads out"
    yield "parent in the middle", tar(GOOD, member("a/./../../x")), "leads out"
    yield "backslash", tar(GOOD, member("..\\..\\x")), "backslash"
    yield "line feed", tar(GOOD, member("a\nb")), "control character"
    yield "NUL in an extended name", pax(path="a\0b"), "control"
    yield "5,000 bytes", tar(GOOD, member("/".join(["d" * 99] * 50))), "too long"
    yield "one long part", tar(GOOD, member("x" * 256)), "too long"
    yield "not UTF-8", tar(GOOD, member("caf\udce9")), "UTF-8"
    yield "our manifest", tar(GOOD, member(".manifest")), "Aureus writes itself"
    yield "our links", tar(GOOD, member("./.links")), "Aureus writes itself"
    yield "twice", tar(GOOD, (member("app.py"), b"evil()")), "twice"
    yield "twice by capitals", tar(GOOD, (member("APP.py"), b"evil()")), "twice"
    yield "twice by Unicode", tar(member("\u00e9"), member("e\u0301")), "twice"
    yield "renamed by pax", pax(path="../x"), "leads out"
    yield "renamed for all", tar(GOOD, form=tarfile.PAX_FORMAT, pax_headers={"path": "x"}), "global header"


def _links() -> Iterator[Row]:
    yield "link to an absolute path", tar(link("x", "/etc/shadow")), "plain relative"
    yield "link out", tar(link("x", "../../etc/shadow")), "out of the archive"
    yield "links out together", tar(link("a/b/top", "../.."), link("x", "a/b/top/../..")), "out of the archive"
    yield "written through a link", tar(link("conf", "etc"), (member("conf/x"), b"1")), "below"
    yield "link over a folder", tar((member("conf/x"), b"1"), link("conf", "etc")), "below"
    yield "circle", tar(link("a", "b"), link("b", "a")), "circles"
    yield "link to itself", tar(link("a", "a")), "circles"
    yield "link target by pax", tar(link("x", "fine"), _pax_link(), form=tarfile.PAX_FORMAT), "plain relative"
    # The published attack on extraction filters: a path that is too long to be resolved, and a link through it.
    deep = ["d" * 240] * 4
    steps = [link("/".join([*deep[:n], "s"]), deep[0]) for n in range(4)]
    upwards = (link("/".join([*deep, "up"]), "../" * 40), link("x", "s/s/s/s/up"))
    yield "too deep to resolve", tar(*steps, *upwards), "out of the archive"
    yield "hard link", tar(GOOD, link("x", "app.py", tarfile.LNKTYPE)), "hard link"


def _pax_link() -> tarfile.TarInfo:
    made = link("y", "fine")
    made.pax_headers = {"linkpath": "/etc/shadow"}
    return made


def _kinds() -> Iterator[Row]:
    for word, kind in (
        ("character device", tarfile.CHRTYPE),
        ("block device", tarfile.BLKTYPE),
        ("FIFO", tarfile.FIFOTYPE),
        ("contiguous", tarfile.CONTTYPE),
        ("sparse", tarfile.GNUTYPE_SPARSE),
        ("unknown kind", b"V"),
    ):
        yield word, tar(GOOD, member("x", type=kind)), word
    yield "setuid", tar(member("x", mode=0o4755)), "setuid"
    yield "setgid", tar(member("x", mode=0o2755)), "setgid"
    yield "capability", pax(**{"SCHILY.xattr.security.capability": "1"}), "attributes"
    yield "sparse by pax", tar(member("x", pax_headers={"GNU.sparse.major": "1"}), form=tarfile.PAX_FORMAT), "sparse"


def _readers() -> Iterator[Row]:
    """Two readers would see two archives."""
    yield "bytes after the end", PLAIN + b"more", "after the end"
    yield "a second archive", PLAIN + PLAIN, "after the end"
    yield "bytes after the gzip stream", gzip.compress(PLAIN) + b"more", "after the end"
    yield "a second gzip stream", gzip.compress(PLAIN) + gzip.compress(PLAIN), "after the end"
    yield "no end", header("x"), "breaks off"
    yield "cut gzip", gzip.compress(PLAIN)[:-9], "breaks off"
    yield "damaged gzip", gzip.compress(PLAIN)[:10] + b"\xff" * 40, "damaged"
    yield "wrong checksum", b"\xff" + PLAIN[1:], "checksum"
    yield "negative size", header("x", size=b"-1") + END, "not a number"
    yield "negative size, binary", header("x", size=b"\xff" * 12) + END, "not a number"
    yield "folder with contents", header("x/", size=b"00000001000", kind=b"5") + END, "has contents"
    yield "zip", b"PK\x03\x04" + bytes(600), "is zip"
    yield "a web page", b"<!doctype html>" + b" " * 600, "checksum"


def _sizes() -> Iterator[Row]:
    yield "bomb", gzip.compress(tar((member("zeros"), bytes(70 * 2**20))), 9), "times its size"
    yield "endless header", header("x", size=b"\x80" + (10**12).to_bytes(11, "big"), kind=b"x") + END, "too long"
    yield "petabyte", header("x", size=b"\x80" + (2**50).to_bytes(11, "big")) + END, "unpacks to more"
    # A million members without contents would be 512 MB of headers; the bound on them is tried in test_archive.py.
