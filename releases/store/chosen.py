"""The store that the configuration names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from releases.store import ArtifactStore
from releases.store.directory import DirectoryStore
from releases.store.s3 import Bucket, S3Store


def store_from(configuration: Any) -> ArtifactStore:
    """Where versions' bytes are kept; configuration: what `aureus.conf` read."""
    if configuration.ARTIFACT_STORE == "directory":
        return DirectoryStore(Path(configuration.ARTIFACT_DIR))
    name, _, prefix = configuration.ARTIFACT_STORE.removeprefix("s3://").partition("/")
    return S3Store(
        Bucket(
            name,
            prefix,
            configuration.S3_ENDPOINT_URL,
            configuration.AWS_REGION,
            configuration.AWS_ACCESS_KEY_ID,
            configuration.AWS_SECRET_ACCESS_KEY,
            configuration.AWS_SESSION_TOKEN,
        )
    )
