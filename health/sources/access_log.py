"""New lines of an access log on a host, read by inode and byte offset, through rotation and within bounds."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from health.measured import ABSENT, COUNTS, DOWN, FIRST
from health.sources.log_lines import Tally, tally
from health.sources.shell import CannotRun, Run, told

MOST = 4_000_000
"""Bytes of one reading. What is more is not read at all: half a log is no measurement."""
TIMEOUT = 4.0
READABLE = 0.5
"""Share of the lines that must have the declared format; anybody may provoke some that do not."""

# inode and size now; then, packed, the rest of the file that was rotated away, and the new bytes of this one. One byte
# more than asked for is read in front: it must be a line's end, or the file is not the one that was read before.
_SCRIPT = r"""
LC_ALL=C; export LC_ALL
f=$1 inode=$2 from=$3 most=$4 old= rest=0 how=on
[ -e "$f" ] || { echo missing; exit 0; }
if [ ! -f "$f" ] || [ ! -r "$f" ]; then echo unreadable; exit 0; fi
set -- $(stat -L -c '%i %s' -- "$f"); now=$1 size=$2
if [ "$inode" = 0 ]; then
    how=first from=$size
elif [ "$inode" != "$now" ]; then
    old=$(find "$(dirname -- "$f")/" -maxdepth 1 -type f -inum "$inode" 2>/dev/null | head -n 1)
    [ -n "$old" ] || { echo "gone $now"; exit 0; }
    [ -r "$old" ] || { echo "gone $now"; exit 0; }
    rest=$(($(stat -c %s -- "$old") - from + (from > 0)))
    how=rotated oldfrom=$from from=0
elif [ "$size" -lt "$from" ]; then
    how=truncated from=0
fi
new=$((size - from + (from > 0)))
if [ $((rest + new)) -gt "$most" ]; then echo "much $now $size"; exit 0; fi
echo "$how $now $from $rest $new"
piece() { if [ "$3" -gt 0 ]; then tail -c "+$(($2 > 0 ? $2 : 1))" -- "$1" | head -c "$3"; fi; }
{ [ -z "$old" ] || piece "$old" "$oldfrom" "$rest"; piece "$f" "$from" "$new"; } | gzip -1 -c
"""

_REASONS = {
    "missing": "The log {path} is not there.",
    "unreadable": "The log {path} cannot be read by our user.",
    "gone": "The log {path} was rotated and the old one is gone before it was read to its end.",
    "much": "The log {path} grew by more than {most} bytes since it was read last.",
}


@dataclass(frozen=True, slots=True)
class LogRead:
    """One reading: what each endpoint answered since the last, and where the next one begins (None: as before)."""

    kind: str
    why: str = ""
    of: Mapping[str, Tally] = field(default_factory=dict)
    state: dict[str, Any] | None = None


class Unreadable(Exception):
    """What came back is not what the script sends."""


def read_log(
    run: Run, path: str, kind: str, state: Mapping[str, Any] | None, names: Mapping[str, str], *,
    everything: str = "", timeout: float = TIMEOUT, most: int = MOST,
) -> LogRead:  # fmt: skip
    """Read what is new. Never raises for what the host does; `names` and `everything` as `tally` takes them."""
    state = state or {}
    inode, offset = int(state.get("inode", 0)), int(state.get("offset", 0))
    words = ["sh", "-c", _SCRIPT, "log", path, str(inode), str(offset), str(most)]
    try:
        code, out, err = run(words, b"", timeout)
    except CannotRun as error:
        return LogRead(DOWN, error.sentence)
    if code != 0:
        return LogRead(DOWN, f"The log {path} cannot be read: {told(err)}")
    head, _, packed = out.partition(b"\n")
    try:
        return _read(head.split(), packed, path, kind, state, names, everything, most)
    except (Unreadable, ValueError, IndexError, zlib.error):
        return LogRead(DOWN, f"The host did not answer as asked about {path}: {told(head)}")


def _read(
    head: list[bytes], packed: bytes, path: str, kind: str, state: Mapping[str, Any], names: Mapping[str, str],
    everything: str, most: int,
) -> LogRead:  # fmt: skip
    how = head[0].decode("ascii", "replace")
    if how in _REASONS:
        return LogRead(ABSENT, _REASONS[how].format(path=path, most=most), state=_after(how, head))
    inode, start, rest, new = (int(word) for word in head[1:5])
    octets = _unpacked(packed, most)
    if how not in ("on", "first", "rotated", "truncated") or len(octets) != rest + new:
        raise Unreadable
    if how == "first":
        return LogRead(FIRST, state=_state(inode, start, skip=new > 0 and octets[-1:] != b"\n"))
    old, fresh = octets[:rest], octets[rest:]
    skip = bool(state.get("skip"))
    # The first piece begins one byte before its lines, with the end of the line before.
    pieces = [old, fresh] if how == "rotated" else [fresh]
    if how != "truncated" and int(state.get("offset", 0)) > 0:
        if not skip and pieces[0][:1] != b"\n":
            why = f"The log {path} is another file than before, in the same place."
            return LogRead(ABSENT, why, state=_state(inode, start + max(new - 1, 0), skip=True))
        skip = pieces[0][:1] != b"\n"
        pieces[0] = pieces[0][1:]
    if skip and how != "truncated":
        cut = pieces[0].find(b"\n") + 1
        if not cut and how == "on":
            return LogRead(COUNTS, state=dict(state))  # still in the line that was half written at the first look
        pieces[0] = pieces[0][cut:]
    whole = pieces[-1].rfind(b"\n") + 1
    left = len(pieces[-1]) - whole
    lines = [line for piece in (*pieces[:-1], pieces[-1][:whole]) for line in piece.split(b"\n") if line]
    offset = start + new - (start > 0) - left
    found = tally(kind, lines, names, everything=everything)
    if found.unread > found.read * (1 - READABLE) / READABLE:
        why = f"{found.unread} of {len(lines)} new lines of {path} are not in the format {kind}."
        return LogRead(ABSENT, why, state=_state(inode, offset))
    return LogRead(COUNTS, "" if how == "on" else f"The log {path} was {how}.", found.of, _state(inode, offset))


def _after(how: str, head: list[bytes]) -> dict[str, Any] | None:
    """Where to go on after a hole: at the new file's beginning, or, where there was too much, at its end."""
    if how == "gone":
        return _state(int(head[1]), 0)
    return _state(int(head[1]), int(head[2]), skip=True) if how == "much" else None


def _state(inode: int, offset: int, *, skip: bool = False) -> dict[str, Any]:
    """`skip`: the offset may lie within a line, which is left out."""
    return {"inode": inode, "offset": offset, "skip": skip}


def _unpacked(packed: bytes, most: int) -> bytes:
    reader = zlib.decompressobj(wbits=31)
    octets = reader.decompress(packed, most + 1)
    if len(octets) > most or not reader.eof:
        raise Unreadable
    return octets
