"""What `aureus login` keeps: one token per server, in a file that only its owner reads."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from aureus.cli.ends import FAILED, Ended


def path() -> Path:
    """~/.config/aureus/credentials, or below XDG_CONFIG_HOME."""
    folder = os.environ.get("XDG_CONFIG_HOME", "").strip() or os.path.join(os.path.expanduser("~"), ".config")
    return Path(folder) / "aureus" / "credentials"


def token_for(url: str) -> str:
    """The kept token of a server; "" for none, or one that has run out."""
    kept = _read().get(url)
    if not isinstance(kept, dict) or not kept.get("expires", 0) > time.time():
        return ""
    return str(kept.get("token", ""))


def keep(url: str, token: str, seconds: int) -> Path:
    """Write it whole or not at all, mode 0600."""
    place = path()
    everything = {**_read(), url: {"token": token, "expires": int(time.time()) + seconds}}
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp's files are 0600 from their first byte on.
        descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=".credentials-")
        with os.fdopen(descriptor, "w") as out:
            json.dump(everything, out, indent=2)
        os.replace(name, place)
    except OSError as error:
        raise Ended(FAILED, f"{place} cannot be written ({error.strerror}); set AUREUS_TOKEN instead") from None
    return place


def _read() -> dict[str, Any]:
    try:
        found = json.loads(path().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
