"""What the demo ships: a workflow spec, and for each version an archive with the web app and its behaviour."""

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

APPLICATION = "shop"


def spec(version: str) -> dict[str, Any]:
    """The workflow of a version: is it up, and is it what it should be? Smoke tests execute it."""
    return {
        "id": APPLICATION,
        "name": "The demo's shop",
        "tasks": [
            {"id": "health", "tool": "http", "params": {"path": "/health", "expectedStatus": 200}},
            {"id": "version", "tool": "http", "params": {"path": "/version", "expect": {"version": version}}},
        ],
        "dependencies": [{"from": "health", "to": "version"}],
    }


def archive(version: str, **behaviour: object) -> bytes:
    """A tar.gz of one version; the same words give the same bytes. `behaviour` is what `app.json` may say."""
    said = json.dumps({"version": version, **behaviour}).encode()
    files = {"app.json": said, "webapp.py": Path(__file__).with_name("webapp.py").read_bytes()}
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, octets in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(octets), 0o644
            tar.addfile(member, io.BytesIO(octets))
    return gzip.compress(plain.getvalue(), mtime=0)


SMOKE = (
    {"name": "the shop's own workflow", "workflowId": APPLICATION},
    {"name": "health", "endpoint": "/health", "expectedStatus": 200},
    {"name": "front page", "endpoint": "/", "expectedStatus": 200},
)
