"""Artifacts as objects of an S3 bucket, for more than one machine. boto3 is loaded where such a store is used alone.

An upload that was interrupted leaves parts that no key shows. A refused one is aborted at once; one whose process was
killed is aborted by the next upload that begins a day later, or by the bucket's own rule for incomplete uploads.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, BinaryIO, cast

from releases.store import StoredArtifact, StoreDown, StoreRefused, checked_key, key_of

PART = 8 * 2**20
MOST_PARTS = 10_000
"""S3's own limit, as is 5 MiB for the smallest part."""
PIECE = 2**20
LEFT_AFTER = timedelta(days=1)
"""No upload takes longer: the web gives up on one that stands still, and a CI job with it."""
TRIES = 5
"""Times a broken read is taken up again without a byte of progress."""


@dataclass(frozen=True)
class Bucket:
    """Where objects are; without keys those of the surroundings are used (a role of the machine, a profile)."""

    name: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)


class S3Store:
    """Objects named by their sha256. Safe to use from several threads and after a fork."""

    def __init__(self, bucket: Bucket, *, left_after: timedelta = LEFT_AFTER) -> None:
        self.bucket, self._left_after = bucket, left_after

    def put(self, stream: BinaryIO, sha256: str, max_size: int) -> StoredArtifact:
        """Send part after part, compare, and only then complete the object. Raises StoreRefused, StoreDown.

        Bytes that are here already are compared with the stream and not sent again: who names a sha256 proves that
        they have the bytes. One part is held in memory, 8 MiB unless `max_size` needs larger ones.
        """
        key = key_of(sha256)
        part = max(PART, -(-max_size // MOST_PARTS))
        pieces = _Checked(stream, sha256, max_size)
        if self.exists(key):
            for _ in pieces.parts(PIECE):
                pass
            pieces.check()
            return StoredArtifact(key, sha256, pieces.size)
        parts = pieces.parts(part)
        first = next(parts, b"")
        if len(first) < part:
            pieces.check()
            with self._asked("keep an artifact"):
                self._client.put_object(Body=first, **self._at(key))
        else:
            self._send(key, first, parts, pieces)
        return StoredArtifact(key, sha256, pieces.size)

    def open(self, key: str) -> BinaryIO:
        """The object's bytes, read as they come; a read that breaks is taken up where it was.

        Raises FileNotFoundError, StoreDown, StoreRefused for what is no key.
        """
        found = self._head(key)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, f"the artifact store has no {key}")
        raw = _Object(self, key, found["ContentLength"], found["ETag"])
        return cast(BinaryIO, io.BufferedReader(raw, PIECE))

    def exists(self, key: str) -> bool:
        """Whether these bytes are kept. Raises StoreDown."""
        return self._head(key) is not None

    def delete(self, key: str) -> None:
        """Forget the bytes. Raises StoreDown."""
        with self._asked("forget an artifact"):
            self._client.delete_object(**self._at(checked_key(key)))

    def read(self, key: str, start: int, etag: str) -> Any:
        """The rest of an object from a byte on, as long as it is still the one of this ETag. Raises StoreDown."""
        with self._asked("read an artifact"):
            return self._client.get_object(Range=f"bytes={start}-", IfMatch=etag, **self._at(key))["Body"]

    def _send(self, key: str, first: bytes, rest: Iterator[bytes], pieces: _Checked) -> None:
        self._abort_left_over()
        with self._asked("begin an upload"):
            upload = self._client.create_multipart_upload(**self._at(key))["UploadId"]
        try:
            done: list[dict[str, Any]] = []
            piece = first
            while piece:
                with self._asked("send a part"):
                    said = self._client.upload_part(
                        Body=piece, PartNumber=len(done) + 1, UploadId=upload, **self._at(key)
                    )
                done.append({"PartNumber": len(done) + 1, "ETag": said["ETag"]})
                piece = next(rest, b"")
            pieces.check()
            with self._asked("complete an upload"):
                self._client.complete_multipart_upload(
                    UploadId=upload, MultipartUpload={"Parts": done}, **self._at(key)
                )
        except BaseException:
            # Where this fails too, the parts are found a day later.
            with suppress(StoreDown):
                self._abort(key, upload)
            raise

    def _abort(self, key: str, upload: str) -> None:
        with self._asked("abort an upload", gone="NoSuchUpload"):
            self._client.abort_multipart_upload(UploadId=upload, **self._at(key))

    def _abort_left_over(self) -> None:
        """What a killed process left: listed by prefix, so that another's uploads in the bucket are left alone."""
        begun_before = datetime.now(UTC) - self._left_after  # S3 says when by its own clock
        with self._asked("list uploads"):
            found = self._client.list_multipart_uploads(Bucket=self.bucket.name, Prefix=f"{self._prefix}sha256/")
        for upload in found.get("Uploads", ()):
            if upload["Initiated"] < begun_before:
                self._abort(upload["Key"].removeprefix(self._prefix), upload["UploadId"])

    def _head(self, key: str) -> Any:
        with self._asked("look for an artifact", gone="404"):
            return self._client.head_object(**self._at(checked_key(key)))
        return None

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket.name, "Key": self._prefix + key}

    @property
    def _prefix(self) -> str:
        return f"{self.bucket.prefix}/" if self.bucket.prefix else ""

    @property
    def _client(self) -> Any:
        # A connection that was opened before a fork belongs to the parent.
        return _client_of(self.bucket, os.getpid())

    @contextmanager
    def _asked(self, what: str, *, gone: str = "") -> Iterator[None]:
        """Failures of the bucket as StoreDown; the code `gone` is none."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if not gone or code != gone:
                raise StoreDown(f"the bucket {self.bucket.name} does not {what}: {code or error}") from None
        except (BotoCoreError, Boto3Error) as error:
            raise StoreDown(f"the bucket {self.bucket.name} does not {what}: {error}") from None


@cache
def _client_of(bucket: Bucket, _process: int) -> Any:
    import boto3
    from botocore.config import Config

    session = boto3.session.Session(
        aws_access_key_id=bucket.access_key,
        aws_secret_access_key=bucket.secret_key,
        aws_session_token=bucket.session_token,
        region_name=bucket.region or ("us-east-1" if bucket.endpoint else None),
    )
    told = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 4},
        # Names of buckets are no host names on other servers than Amazon's, and those know no newer checksums either:
        # ours is the sha256 that everything is named by.
        s3={"addressing_style": "path" if bucket.endpoint else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return session.client("s3", endpoint_url=bucket.endpoint, config=told)


class _Checked:
    """A stream in parts of one size, counted and hashed on the way."""

    def __init__(self, stream: BinaryIO, sha256: str, max_size: int) -> None:
        self._stream, self._sha256, self._max_size = stream, sha256, max_size
        self._digest = hashlib.sha256()
        self.size = 0

    def parts(self, part: int) -> Iterator[bytes]:
        """Full parts and a last one. Raises StoreRefused at the first byte too many."""
        held = bytearray()
        while piece := self._stream.read(min(PIECE, part - len(held))):
            self.size += len(piece)
            if self.size > self._max_size:
                raise StoreRefused(f"the artifact is larger than {self._max_size} bytes", code="too_large")
            self._digest.update(piece)
            held += piece
            if len(held) == part:
                yield bytes(held)
                held.clear()
        if held:
            yield bytes(held)

    def check(self) -> None:
        """Whether these were the bytes announced. Raises StoreRefused."""
        found = self._digest.hexdigest()
        if found != self._sha256:
            raise StoreRefused(f"the artifact arrived as sha256 {found}, not as {self._sha256}", code="sha256")


class _Object(io.RawIOBase):
    """An object as a file that can be read and sought; a piece of it is in memory, never more."""

    def __init__(self, store: S3Store, key: str, size: int, etag: str) -> None:
        self._store, self._key, self._size, self._etag = store, key, size, etag
        self._position = 0
        self._body: Any = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("a position must not be negative")
        if start + offset != self._position:
            self._let_go()
            self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size:
            return 0
        piece = self._piece(len(buffer))
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def close(self) -> None:
        self._let_go()
        super().close()

    def _piece(self, most: int) -> bytes:
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        for _ in range(TRIES):
            try:
                if self._body is None:
                    self._body = self._store.read(self._key, self._position, self._etag)
                if piece := self._body.read(most):
                    return bytes(piece)
            except (BotoCoreError, HTTPError):
                pass
            self._let_go()
        raise StoreDown(f"the bucket {self._store.bucket.name} breaks off each time {self._key} is read")

    def _let_go(self) -> None:
        if self._body is not None:
            self._body.close()
        self._body = None
