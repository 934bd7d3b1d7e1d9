"""What differs between two archives, and what a host must make of it."""

import hashlib
import io
import tarfile

from releases.difference import Entry, entries, manifest, pack, unchanged
from tests.drivers.releases import packed


def member(name, contents=b"", **changed):
    made = tarfile.TarInfo(name)
    made.size = len(contents)
    for field, value in changed.items():
        setattr(made, field, value)
    return made


def listed(archive):
    return list(entries(io.BytesIO(archive)))


def sha(text):
    return hashlib.sha256(text).hexdigest()


LINK = member("here", type=tarfile.SYMTYPE, linkname="a")
ARCHIVE = packed({"./a": b"1", "b//c": b"2", "workflow.json": b"x", ".links": b"x", "d/workflow.json": b"3"}, LINK)


def test_an_archives_members_are_listed_by_their_plain_paths_without_what_hosts_write_themselves():
    files = {e.path: e.what for e in listed(ARCHIVE) if e.kind == "file"}
    assert files == {"a": sha(b"1"), "b/c": sha(b"2"), "d/workflow.json": sha(b"3")}
    assert [(e.path, e.what) for e in listed(ARCHIVE) if e.kind == "link"] == [("here", "a")]
    assert listed(packed({"a": b"1"}, mode="w:")) == [Entry("a", "file", 0o644, sha(b"1"))]


def test_a_file_is_unchanged_only_with_its_path_its_bytes_and_its_mode():
    def one(path="a", contents=b"1", mode=0o644):
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w:gz") as tar:
            tar.addfile(member(path, contents, mode=mode), io.BytesIO(contents))
        return listed(sink.getvalue())

    assert unchanged(one(), one()) == ("a",)
    for other in (one("b"), one(contents=b"2"), one(mode=0o755)):
        assert unchanged(other, one()) == ()
    assert unchanged(listed(packed({"here": b"a"})), listed(packed({}, LINK))) == ()


def test_what_is_packed_is_everything_else():
    out = io.BytesIO()
    pack(io.BytesIO(ARCHIVE), {"a"}, out)
    assert {e.path for e in listed(out.getvalue())} == {"b/c", "d/workflow.json", "here"}


def test_the_manifest_names_every_file_in_the_order_of_bytes_and_the_links_by_a_list_of_their_own():
    names = {"Z": b"1", "a b": b"2", "ü": b"3", "a-b/x": b"4", "a/x": b"5"}
    text = manifest(listed(packed(names, LINK)), {"workflow.json": b"{}"}).decode()
    paths = [line.split("  ", 1)[1] for line in text.splitlines()]
    assert paths == ["./.links", "./Z", "./a b", "./a-b/x", "./a/x", "./workflow.json", "./ü"]
    assert f"{sha(b'./here' + bytes([9]) + b'a' + bytes([10]))}  ./.links" in text.splitlines()
