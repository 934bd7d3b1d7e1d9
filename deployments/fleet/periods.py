"""The freezes of a declaration. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployments.engine import calendar
from deployments.fleet.fields import Fields


def freezes(row: Fields) -> tuple[Mapping[str, Any], ...]:
    """Those at one place, each a period with its reason. What is wrong is reported on the fields."""
    found = []
    for one in row.rows("freezes"):
        declared = {name: one.values.get(name) for name in calendar.FIELDS}
        reason = one.text("reason", most=500)
        one.end(calendar.FIELDS)
        try:
            calendar.read(declared)
        except calendar.Unreadable as unreadable:
            for name, message in unreadable.errors if one.usable else ():
                one.wrong(name, message)
        found.append({**declared, "reason": reason})
    return tuple(found)
