"""What an archive may hold, told by archives that hold something else."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import random
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aureus.journal.actor import Actor
from aureus.journal.refusals import Invalid
from releases import registry
from releases.archive import Inspection, Limits, UnsafeArchive, inspect
from releases.models import Artifact, Version
from releases.store.directory import DirectoryStore
from tests.releases import hostile_archives
from tests.releases.hostile_archives import link, member

SPEC = {"id": "shop", "name": "Shop", "tasks": [{"id": "ask", "tool": "http", "params": {"path": "/health"}}]}


def plain(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of these members; contents come with a member as a pair."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form) as tar:
        for each in members:
            info, contents = each if isinstance(each, tuple) else (each, b"")
            if contents:
                info.size = len(contents)
            tar.addfile(info, io.BytesIO(contents))
    return sink.getvalue()


def refused(archive: bytes, limits: Limits | None = None) -> UnsafeArchive:
    with pytest.raises(UnsafeArchive) as caught:
        inspect(io.BytesIO(archive), limits=limits)
    return caught.value


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["tar", "tar.gz"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_plain_archive_is_measured(pack: Callable[[bytes], bytes], form: int) -> None:
    long = "d/" * 40 + "end"
    contents: list[tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]] = [
        (member("bin/app"), b"x" * 70_000),
        (member(long), b"abc"),
        link("bin/now", "app"),
        link("up", "bin/../bin"),
    ]
    archive = pack(plain(member("bin", type=tarfile.DIRTYPE, mode=0o755), *contents, form=form))
    found = inspect(io.BytesIO(archive))
    assert found == Inspection(hashlib.sha256(archive).hexdigest(), len(archive), 70_003, 5)


def test_names_of_two_hundred_letters_are_read_in_every_format() -> None:
    name = "/".join(["ä" * 40] * 5)
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert inspect(io.BytesIO(plain((member(name), b"1"), form=form))).files == 1


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (member("/etc/passwd"), "absolute"),
        (member("../evil"), "leads out"),
        (member("a/./../../evil"), "leads out"),
        (member("a\\..\\evil"), "backslash"),
        (member("new\nline"), "control character"),
        (member("x" * 256), "too long"),
        (member("/".join(["y" * 200] * 8)), "too long"),
        (member(".manifest"), "Aureus writes itself"),
        (link("hard", "other", tarfile.LNKTYPE), "hard link"),
        (member("null", type=tarfile.CHRTYPE), "character device"),
        (member("disk", type=tarfile.BLKTYPE), "block device"),
        (member("pipe", type=tarfile.FIFOTYPE), "FIFO"),
        (member("cont", type=tarfile.CONTTYPE), "contiguous"),
        (member("sparse", type=tarfile.GNUTYPE_SPARSE), "sparse"),
        (member("odd", type=b"V"), "unknown kind"),
        (member("root", mode=0o4755), "setuid"),
        (member("group", mode=0o2755), "setuid or setgid"),
        (link("out", "/etc/shadow"), "plain relative"),
        (link("out", "../etc/shadow"), "out of the archive"),
        (link("a/out", "b/../../../x"), "out of the archive"),
        (link("empty", ""), "plain relative"),
        (link("self", "self"), "circles"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.name[:20] or "member",
)
def test_a_dangerous_member_is_refused_by_name(bad: tarfile.TarInfo, word: str) -> None:
    error = refused(plain((member("good"), b"1"), bad, form=tarfile.GNU_FORMAT))
    assert word in error.sentence
    assert error.member


def test_links_that_only_lead_out_together_are_refused() -> None:
    """Each stays inside when read as text; a kernel that follows both does not."""
    assert "out of the archive" in refused(plain(link("a/b/top", "../.."), link("exit", "a/b/top/../.."))).sentence


def test_a_name_that_is_not_utf8_is_refused() -> None:
    assert "UTF-8" in refused(plain(member("caf\udce9"), form=tarfile.GNU_FORMAT)).sentence


def test_nothing_may_lie_below_a_link_in_either_order() -> None:
    below = (member("conf/passwd"), b"1")
    assert "below" in refused(plain(link("conf", "etc"), below)).sentence
    assert "below" in refused(plain(below, link("conf", "etc"))).sentence


@pytest.mark.parametrize("second", ["app", "./app", "APP", ".//App"])
def test_a_name_that_comes_twice_is_refused(second: str) -> None:
    assert "twice" in refused(plain(member("app"), member(second))).sentence


def test_a_path_hidden_in_an_extended_header_is_the_one_that_counts() -> None:
    assert "leads out" in refused(plain(member("fine", pax_headers={"path": "../evil"}))).sentence


def test_a_global_header_may_comment_but_not_rename() -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", pax_headers={"comment": "commit"}) as tar:
        tar.addfile(member("a"))
    assert inspect(io.BytesIO(sink.getvalue())).files == 1
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", pax_headers={"path": "evil"}) as tar:
        tar.addfile(member("a"))
    assert "global header" in refused(sink.getvalue()).sentence


@pytest.mark.parametrize("name", ["SCHILY.xattr.security.capability", "GNU.sparse.major", "SCHILY.acl.access"])
def test_attributes_beyond_the_plain_ones_are_refused(name: str) -> None:
    refused(plain(member("a", pax_headers={name: "1"})))


def test_bytes_after_the_end_are_refused() -> None:
    good = plain((member("a"), b"1"))
    assert "after the end" in refused(good + b"more").sentence
    assert "after the end" in refused(gzip.compress(good) + b"more").sentence
    assert "after the end" in refused(gzip.compress(good) + gzip.compress(good)).sentence


def test_an_archive_that_breaks_off_is_refused_wherever_it_does() -> None:
    good = plain((member("a"), b"1" * 2000))
    packed = gzip.compress(good)
    for end in (0, 100, 512, 1000, 2560):
        refused(good[:end])
    for end in (1, 10, len(packed) // 2, len(packed) - 1):
        refused(packed[:end])


@pytest.mark.parametrize("magic", [b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh9", b"PK\x03\x04"])
def test_other_forms_are_named_in_the_refusal(magic: bytes) -> None:
    assert "send a tar or tar.gz" in refused(magic + bytes(600)).sentence


def test_a_bomb_is_refused_in_little_memory() -> None:
    bomb = gzip.compress(plain((member("zeros"), bytes(100 * 2**20))))
    tracemalloc.start()
    try:
        error = refused(bomb)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    assert "times its size" in error.sentence


def test_each_limit_holds() -> None:
    noise = random.Random(1).randbytes(5000)
    archive = plain((member("a"), noise), (member("b"), noise))
    assert "larger than" in refused(archive, Limits(archive_size=5000)).sentence
    assert "unpacks to more" in refused(archive, Limits(unpacked_size=9999)).sentence
    assert "more than 1 members" in refused(archive, Limits(members=1)).sentence
    assert inspect(io.BytesIO(archive), limits=Limits(unpacked_size=10_000, members=2)).files == 2


def test_an_extended_header_without_end_is_refused_before_it_is_read() -> None:
    header = member("x", type=tarfile.XHDTYPE, size=10**12).tobuf(tarfile.GNU_FORMAT)
    assert "too long" in refused(header + bytes(1024)).sentence


@given(st.binary(max_size=3000))
def test_any_bytes_end_in_a_refusal_and_nothing_else(noise: bytes) -> None:
    refused(noise if noise.strip(b"\0") else noise[:500])


@given(st.integers(0, 2047), st.integers(1, 255))
def test_a_flipped_byte_never_does_more_than_be_refused(at: int, flip: int) -> None:
    archive = bytearray(plain((member("dir/file"), b"contents"), link("dir/now", "file")))
    archive[at] ^= flip
    with contextlib.suppress(UnsafeArchive):
        inspect(io.BytesIO(bytes(archive)))


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_what_gnu_tar_writes_is_read(tmp_path: Path, form: str) -> None:
    (tmp_path / "src" / "deep").mkdir(parents=True)
    (tmp_path / "src" / "deep" / ("n" * 150)).write_bytes(b"12345")
    (tmp_path / "src" / "now").symlink_to("deep")
    subprocess.run(["tar", "-C", tmp_path / "src", f"--format={form}", "-czf", tmp_path / "a.tgz", "."], check=True)
    with (tmp_path / "a.tgz").open("rb") as stream:
        assert inspect(stream).unpacked_size == 5


def attach(version: Version, octets: bytes, store: DirectoryStore) -> Version:
    sha256 = hashlib.sha256(octets).hexdigest()
    stream = io.BytesIO(octets)
    return registry.attach(version.pk, stream, sha256=sha256, store=store, max_size=2**30, actor=Actor("ci"))


def test_no_hostile_archive_becomes_the_artifact_of_a_version(db: None, tmp_path: Path) -> None:
    """What is not attached is sent to no host: the files of a release come from its version's artifact alone."""
    attacks, store = list(hostile_archives.rows()), DirectoryStore(tmp_path)
    assert len({octets for _, octets, _ in attacks}) == len({name for name, *_ in attacks}) >= 30
    version, _ = registry.register(SPEC, "1.0.0", actor=Actor("ci"))
    for name, octets, words in attacks:
        with pytest.raises(Invalid) as refusal:
            attach(version, octets, store)
        assert refusal.value.code == "unsafe_archive", name
        assert words in refusal.value.sentence, name
        assert not [path for path in tmp_path.rglob("*") if path.is_file()], name
    version.refresh_from_db()
    assert version.artifact is None
    assert not Artifact.objects.exists()
    assert attach(version, hostile_archives.PLAIN, store).artifact is not None
