"""Errors that a unit wrote to its host's journal, counted from where the last look ended."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from health.measured import ABSENT, DOWN, VALUE
from health.quiet import JOURNAL
from health.sources.shell import CannotRun, Run, told

SOURCE = JOURNAL
TIMEOUT = 4.0
MOST = 1000
"""Entries of one look; more are counted as so many."""
UNIT = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:@-]{0,199}")
_CURSOR = re.compile(r"[0-9A-Za-z=;]{1,300}")

_SCRIPT = r"""
LC_ALL=C; export LC_ALL
echo "unit $(systemctl show -p LoadState --value -- "$1" 2>/dev/null)"
if [ -n "$3" ]; then set -- "$1" "--after-cursor=$3" "$4"; else set -- "$1" "--since=-$2s" "$4"; fi
exec journalctl -u "$1" "$2" -p err -n "$3" -o json --output-fields=PRIORITY --no-pager
"""


@dataclass(frozen=True, slots=True)
class Errors:
    """How many were written since the last look; `state` is where the next one begins (None: as before)."""

    kind: str
    why: str = ""
    count: int = 0
    state: dict[str, Any] | None = None


def count_errors(
    run: Run, unit: str, state: Mapping[str, Any] | None, since: float, *, timeout: float = TIMEOUT
) -> Errors:
    """Count the unit's entries of priority err and worse. `since`: seconds that the first look goes back.

    Never raises for what the host does.
    """
    if not UNIT.fullmatch(unit):
        return Errors(ABSENT, "The installation has no systemd unit whose journal could be read.")
    cursor = str((state or {}).get("cursor", ""))
    words = ["sh", "-c", _SCRIPT, "journal", unit, f"{max(since, 0):.0f}", cursor, str(MOST)]
    try:
        code, out, err = run(words, b"", timeout)
    except CannotRun as error:
        return Errors(DOWN, error.sentence)
    head, _, entries = out.partition(b"\n")
    if not head.startswith(b"unit "):
        return Errors(DOWN, f"The journal of {unit} cannot be read: {told(err or out)}")
    if head != b"unit loaded":
        return Errors(ABSENT, f"systemd knows no unit {unit} there ({told(head[5:])}).")
    if b"insufficient permissions" in err or b"not seeing messages" in err:
        return Errors(ABSENT, f"Our user may not read the journal of {unit}: add it to the group systemd-journal.")
    if code != 0:
        return Errors(DOWN, f"The journal of {unit} cannot be read: {told(err)}")
    return _counted(entries, unit, state)


def _counted(entries: bytes, unit: str, state: Mapping[str, Any] | None) -> Errors:
    count, cursor = 0, str((state or {}).get("cursor", ""))
    for line in entries.splitlines():
        if not line.strip() or line.startswith(b"-- "):
            continue
        try:
            cursor = str(json.loads(line)["__CURSOR"])
        except (ValueError, RecursionError, KeyError, TypeError):
            return Errors(ABSENT, f"The journal of {unit} does not answer in JSON: {told(line)}")
        count += 1
    if cursor and not _CURSOR.fullmatch(cursor):
        return Errors(ABSENT, f"The journal of {unit} has a cursor that cannot be kept.")
    return Errors(VALUE, "", count, {"cursor": cursor})
