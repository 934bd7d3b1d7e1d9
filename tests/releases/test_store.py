"""Every artifact store keeps exactly the announced bytes, or nothing."""

from __future__ import annotations

import hashlib
import io
import os
import random
import socketserver
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from releases.store import ArtifactStore, StoreDown, StoreRefused
from releases.store.chosen import store_from
from releases.store.directory import DirectoryStore
from releases.store.s3 import PART, Bucket, S3Store

BYTES = b"artifact" * 1000
SHA256 = hashlib.sha256(BYTES).hexdigest()
LARGE = random.Random(5).randbytes(2 * PART + 70_000)
"""Two parts and a piece of a third."""
LARGE_SHA256 = hashlib.sha256(LARGE).hexdigest()


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "artifacts")


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest) -> ArtifactStore:
    return request.getfixturevalue("directory" if request.param == "directory" else "s3_store")


def kept(store: ArtifactStore) -> list[str]:
    """Whatever is there, whole or in parts."""
    if isinstance(store, DirectoryStore):
        return [str(path) for path in store.root.rglob("*") if path.is_file()]
    assert isinstance(store, S3Store)
    name = store.bucket.name
    objects = store._client.list_objects_v2(Bucket=name).get("Contents", ())
    uploads = store._client.list_multipart_uploads(Bucket=name).get("Uploads", ())
    return [each["Key"] for each in (*objects, *uploads)]


def sha256_of(stream: BinaryIO) -> str:
    """Read in pieces."""
    digest = hashlib.sha256()
    while piece := stream.read(100_000):
        digest.update(piece)
    return digest.hexdigest()


class Read(io.BytesIO):
    """Knows the largest piece that was asked for, and breaks where it is told to."""

    def __init__(self, octets: bytes, breaks_at: int | None = None) -> None:
        super().__init__(octets)
        self.largest, self.breaks_at = 0, breaks_at

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None and size >= 0, "everything at once"
        self.largest = max(self.largest, size)
        if self.breaks_at is not None and self.tell() >= self.breaks_at:
            raise ConnectionResetError
        return super().read(size)


@pytest.mark.parametrize("octets", [b"", BYTES, LARGE[:PART], LARGE], ids=["none", "few", "one part", "parts"])
def test_bytes_come_back_by_their_key(store: ArtifactStore, octets: bytes) -> None:
    sha256, stream = hashlib.sha256(octets).hexdigest(), Read(octets)
    found = store.put(stream, sha256, len(octets))
    assert (found.sha256, found.size) == (sha256, len(octets))
    assert stream.largest <= 2**20
    assert store.exists(found.key)
    with store.open(found.key) as opened:
        assert opened.read() == octets


def test_an_open_artifact_is_sought_and_read_in_pieces(store: ArtifactStore) -> None:
    key = store.put(io.BytesIO(LARGE), LARGE_SHA256, len(LARGE)).key
    with store.open(key) as opened:
        assert opened.read(10) == LARGE[:10]
        assert opened.seek(PART) == PART
        assert opened.read(100) == LARGE[PART : PART + 100]
        opened.seek(-5, os.SEEK_END)
        assert opened.read(100) == LARGE[-5:]
        assert opened.read(1) == b""
        opened.seek(0)
        assert sha256_of(opened) == LARGE_SHA256


def test_the_same_bytes_twice_are_kept_once(store: ArtifactStore) -> None:
    first = store.put(io.BytesIO(BYTES), SHA256, len(BYTES))
    assert store.put(io.BytesIO(BYTES), SHA256, len(BYTES)) == first
    assert len(kept(store)) == 1


@pytest.mark.parametrize("octets", [BYTES, LARGE], ids=["few", "parts"])
def test_other_bytes_than_announced_leave_nothing(store: ArtifactStore, octets: bytes) -> None:
    with pytest.raises(StoreRefused, match="arrived as sha256") as caught:
        store.put(io.BytesIO(octets + b"!"), hashlib.sha256(octets).hexdigest(), 10**8)
    assert caught.value.code == "sha256"
    assert kept(store) == []


def test_a_hash_without_its_bytes_is_refused_though_they_are_here(store: ArtifactStore) -> None:
    store.put(io.BytesIO(BYTES), SHA256, len(BYTES))
    with pytest.raises(StoreRefused, match="arrived as sha256"):
        store.put(io.BytesIO(b""), SHA256, len(BYTES))
    assert len(kept(store)) == 1


@pytest.mark.parametrize("octets", [BYTES, LARGE], ids=["few", "parts"])
def test_a_byte_too_many_leaves_nothing(store: ArtifactStore, octets: bytes) -> None:
    with pytest.raises(StoreRefused) as caught:
        store.put(io.BytesIO(octets), hashlib.sha256(octets).hexdigest(), len(octets) - 1)
    assert caught.value.code == "too_large"
    assert kept(store) == []


@pytest.mark.parametrize("at", [0, PART, 2 * PART + 1])
def test_a_stream_that_breaks_off_leaves_nothing(store: ArtifactStore, at: int) -> None:
    with pytest.raises(ConnectionResetError):
        store.put(Read(LARGE, breaks_at=at), LARGE_SHA256, len(LARGE))
    assert kept(store) == []


def test_what_is_no_sha256_is_refused(store: ArtifactStore) -> None:
    for sha256 in ("", "A" * 64, "../" + "a" * 61, "a" * 64 + "\n"):
        with pytest.raises(StoreRefused, match="64 hexadecimal"):
            store.put(io.BytesIO(BYTES), sha256, 10**6)


def test_a_deleted_key_is_gone_and_may_be_deleted_again(store: ArtifactStore) -> None:
    key = store.put(io.BytesIO(BYTES), SHA256, len(BYTES)).key
    store.delete(key)
    store.delete(key)
    assert not store.exists(key)
    with pytest.raises(FileNotFoundError):
        store.open(key)


@pytest.mark.parametrize("key", ["../../etc/passwd", "sha256/aa/../x", "", "sha256/zz/" + "0" * 64, f"sha256/{SHA256}"])
def test_what_is_no_key_opens_nothing(store: ArtifactStore, key: str) -> None:
    for ask in (store.open, store.exists, store.delete):
        with pytest.raises(StoreRefused):
            ask(key)


def test_nobody_else_may_read(directory: DirectoryStore) -> None:
    directory.put(io.BytesIO(BYTES), SHA256, len(BYTES))
    for path in [directory.root, *directory.root.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_what_a_killed_upload_left_is_gone_a_day_later_and_no_sooner(directory: DirectoryStore) -> None:
    folder = directory.root / "sha256" / "ab"
    folder.mkdir(parents=True)
    for name, hours in ((".put-old", 25), (".put-young", 23)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - hours * 3600,) * 2)
    directory.put(io.BytesIO(BYTES), SHA256, len(BYTES))
    assert [path.name for path in folder.iterdir()] == [".put-young"]


def test_bytes_that_the_bucket_has_are_not_sent_again(s3_store: S3Store) -> None:
    s3_store.put(io.BytesIO(LARGE), LARGE_SHA256, len(LARGE))
    sent: list[str] = []
    s3_store._client.meta.events.register("before-call.s3", lambda model, **_: sent.append(model.name))
    s3_store.put(io.BytesIO(LARGE), LARGE_SHA256, len(LARGE))
    assert sent == ["HeadObject"]


@pytest.mark.parametrize(("days", "left"), [(1, {"theirs"}), (40_000, {"ours", "theirs"})])
def test_parts_that_a_killed_upload_left_are_aborted_by_a_later_one(
    s3_store: S3Store, days: int, left: set[str]
) -> None:
    """This server dates every upload to the year 2010."""
    name, client = s3_store.bucket.name, s3_store._client
    for key in (f"some/prefix/sha256/ab/{'ab' * 32}", "other/sha256/x"):
        client.create_multipart_upload(Bucket=name, Key=key)
    S3Store(s3_store.bucket, left_after=timedelta(days=days)).put(io.BytesIO(LARGE), LARGE_SHA256, len(LARGE))
    there = client.list_multipart_uploads(Bucket=name)["Uploads"]
    assert {"ours" if each["Key"].startswith("some/prefix") else "theirs" for each in there} == left


def test_a_read_that_breaks_is_taken_up_where_it_was(s3_store: S3Store) -> None:
    key = s3_store.put(io.BytesIO(LARGE), LARGE_SHA256, len(LARGE)).key
    with _Cutting(s3_store.bucket.endpoint or "", after=5 * 2**20) as address:
        bucket = s3_store.bucket
        behind = S3Store(Bucket(bucket.name, bucket.prefix, address, None, "key", "secret"))
        with behind.open(key) as opened:
            assert sha256_of(opened) == LARGE_SHA256


class _Cutting(socketserver.ThreadingTCPServer):
    """Passes requests on to a server and cuts each answer after so many bytes."""

    daemon_threads = True

    def __init__(self, to: str, after: int) -> None:
        self.to, self.after = to.removeprefix("http://"), after
        super().__init__(("127.0.0.1", 0), _Cut)

    def __enter__(self) -> Any:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Cut(socketserver.StreamRequestHandler):
    server: _Cutting

    def handle(self) -> None:
        import http.client

        words = self.rfile.readline().decode().split()
        headers = http.client.parse_headers(self.rfile)
        onward = http.client.HTTPConnection(self.server.to, timeout=10)
        # The signature is of the address that was asked; this server does not look at it.
        onward.request(
            words[0], words[1], headers={name: headers[name] for name in ("Range", "If-Match") if name in headers}
        )
        told = onward.getresponse()
        self.wfile.write(f"HTTP/1.1 {told.status} OK\r\n".encode())
        for name, value in told.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.wfile.write(f"{name}: {value}\r\n".encode())
        self.wfile.write(b"Connection: close\r\n\r\n")
        self.wfile.write(told.read(self.server.after))
        onward.close()


def test_a_bucket_that_is_not_there_or_does_not_answer_is_said_so(s3_store: S3Store) -> None:
    missing = S3Store(Bucket("no-such-bucket", "", s3_store.bucket.endpoint, None, "key", "secret"))
    with pytest.raises(StoreDown, match="no-such-bucket does not keep an artifact: NoSuchBucket"):
        missing.put(io.BytesIO(BYTES), SHA256, len(BYTES))
    assert "secret" not in repr(missing.bucket)


@pytest.mark.parametrize(
    ("location", "prefix"), [("s3://our-bucket", ""), ("s3://our-bucket/a/b", "a/b"), ("s3://our-bucket/a/", "a")]
)
def test_the_configuration_names_the_store(location: str, prefix: str) -> None:
    from aureus import conf

    read = conf.read({"AUREUS_HOME": "/somewhere", "ARTIFACT_STORE": location, "AWS_DEFAULT_REGION": "eu-central-1"})
    store = store_from(read)
    assert isinstance(store, S3Store)
    assert (store.bucket.name, store.bucket.prefix, store.bucket.region) == ("our-bucket", prefix, "eu-central-1")
    assert isinstance(store_from(conf.read({"AUREUS_HOME": "/somewhere"})), DirectoryStore)
