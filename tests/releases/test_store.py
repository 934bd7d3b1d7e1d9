"""Every artifact store keeps exactly the announced bytes, or nothing."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest

from releases.store import StoreRefused
from releases.store.directory import DirectoryStore

BYTES = b"artifact" * 1000
SHA256 = hashlib.sha256(BYTES).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "artifacts")


def files(store: DirectoryStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_bytes_come_back_by_their_key(store: DirectoryStore) -> None:
    kept = store.put(io.BytesIO(BYTES), SHA256, len(BYTES))
    assert (kept.sha256, kept.size) == (SHA256, len(BYTES))
    assert store.exists(kept.key)
    with store.open(kept.key) as stream:
        assert stream.read() == BYTES


def test_the_same_bytes_twice_are_kept_once(store: DirectoryStore) -> None:
    first = store.put(io.BytesIO(BYTES), SHA256, len(BYTES))
    assert store.put(io.BytesIO(BYTES), SHA256, len(BYTES)) == first
    assert len(files(store)) == 1


def test_other_bytes_than_announced_leave_nothing(store: DirectoryStore) -> None:
    with pytest.raises(StoreRefused, match="arrived as sha256") as caught:
        store.put(io.BytesIO(BYTES + b"!"), SHA256, 10**6)
    assert caught.value.code == "sha256"
    assert files(store) == []


def test_a_byte_too_many_leaves_nothing(store: DirectoryStore) -> None:
    with pytest.raises(StoreRefused) as caught:
        store.put(io.BytesIO(BYTES), SHA256, len(BYTES) - 1)
    assert caught.value.code == "too_large"
    assert files(store) == []


def test_a_stream_that_breaks_off_leaves_nothing(store: DirectoryStore) -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.put(Broken(), SHA256, 100)  # type: ignore[arg-type]
    assert files(store) == []


def test_nobody_else_may_read(store: DirectoryStore) -> None:
    store.put(io.BytesIO(BYTES), SHA256, len(BYTES))
    for path in [store.root, *store.root.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_deleted_key_is_gone_and_may_be_deleted_again(store: DirectoryStore) -> None:
    key = store.put(io.BytesIO(BYTES), SHA256, len(BYTES)).key
    store.delete(key)
    store.delete(key)
    assert not store.exists(key)
    with pytest.raises(FileNotFoundError):
        store.open(key)


@pytest.mark.parametrize("key", ["../../etc/passwd", "sha256/aa/../x", "", "sha256/zz/" + "0" * 64, f"sha256/{SHA256}"])
def test_what_is_no_key_opens_nothing(store: DirectoryStore, key: str) -> None:
    for ask in (store.open, store.exists, store.delete):
        with pytest.raises(StoreRefused):
            ask(key)
