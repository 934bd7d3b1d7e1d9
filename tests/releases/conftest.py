"""A server that speaks S3, in this process."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from releases.store.s3 import Bucket, S3Store


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Its address on loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3_store(s3_server: str) -> S3Store:
    """A store in a bucket of its own."""
    store = S3Store(Bucket(f"aureus-{uuid.uuid4().hex[:12]}", "some/prefix", s3_server, None, "key", "secret"))
    store._client.create_bucket(Bucket=store.bucket.name)
    return store
