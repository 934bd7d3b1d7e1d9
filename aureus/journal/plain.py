"""Words from outside as the database can keep them."""

from __future__ import annotations

import re
from typing import Any

_UNKEPT = re.compile("[\x00\ud800-\udfff]")
"""PostgreSQL keeps no NUL, and UTF-8 no half of a character."""


def plain(value: Any) -> Any:
    """The same text, list or mapping with � for each character that cannot be kept."""
    if isinstance(value, str):
        return _UNKEPT.sub("�", value)
    if isinstance(value, dict):
        return {plain(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value
