"""Variables of an installation: what may be declared, their digest, and the file in which a host has them.

The file is read by systemd (EnvironmentFile=) and by a shell (`. shared/.env`), and both must read the same values:
tests/engine/test_variables.py says how each of them reads.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

NAME = re.compile(r"\A[A-Z_][A-Z0-9_]{0,99}\Z")
REFERENCE = re.compile(r"\A(env:[A-Za-z_][0-9A-Za-z_]{0,199}|file:(/[^/\0-\x1f\x7f]+)+)\Z")
MOST = 200
LARGEST_VALUE = 32_768
"""Bytes of UTF-8. Linux takes 128 KiB for one variable of a process."""
LARGEST = 262_144
"""Bytes of all variables as canonical JSON. Linux takes 2 MiB for arguments and environment together."""
TAKEN = frozenset({"_", "BASHOPTS", "BASH_VERSINFO", "EUID", "IFS", "PPID", "SHELLOPTS", "UID"})
"""A shell does not let them be set, or reads everything after them in another way."""
OWN = "AUREUS_"
_PLAIN = re.compile(r"[^'\\]+|['\\]+")

Variables = dict[str, dict[str, str]]


class VariablesInvalid(ValueError):
    """Every mistake as (path, message). No message holds a value."""

    def __init__(self, errors: Iterable[tuple[str, str]]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(f"{path}: {message}" for path, message in self.errors))


def parse(declared: Any) -> Variables:
    """The variables as they are kept: {"value": text} or {"secret": reference} by name. Raises VariablesInvalid."""
    if not isinstance(declared, dict):
        raise VariablesInvalid([("variables", 'must be an object such as {"LOG_LEVEL": {"value": "info"}}')])
    if len(declared) > MOST:
        raise VariablesInvalid([("variables", f"are {len(declared)}; at most {MOST} are kept")])
    errors = [error for name, said in declared.items() for error in _wrong(name, said)]
    if not errors and (size := len(_canonical(declared, 0))) > LARGEST:
        errors = [("variables", f"have {size} bytes; at most {LARGEST} are kept: put large things into a file")]
    if errors:
        raise VariablesInvalid(errors[:20])
    return {name: dict(declared[name]) for name in sorted(declared)}


def _wrong(name: object, said: object) -> Iterator[tuple[str, str]]:
    shown = f"variables.{str(name)[:100]}"
    if not isinstance(name, str) or not NAME.match(name):
        yield shown, "a name has capital letters, digits and _, begins with no digit and has at most 100 characters"
    elif name in TAKEN or name.startswith(OWN):
        yield shown, f"the name is taken: a shell's own, or one that begins with {OWN}"
    if not isinstance(said, dict) or set(said) not in ({"value"}, {"secret"}):
        yield shown, 'must be {"value": text} or {"secret": "env:NAME" or "file:/path"}'
    elif "secret" in said:
        if not isinstance(said["secret"], str) or not REFERENCE.match(said["secret"]):
            yield shown, "a secret is env:NAME or file:/path, as the workers of Aureus find it; never the secret itself"
        elif ".." in said["secret"].split("/"):
            yield shown, "the path of a secret must not lead upwards"
    elif why := unfit(said["value"]):
        yield shown, why


def unfit(value: object) -> str:
    """Why systemd and a shell would not both read this value as it is; "" where they would."""
    if not isinstance(value, str):
        return "a value is text: put numbers and true or false into quotes"
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return "the value is not Unicode: half of a character stands alone"
    if size > LARGEST_VALUE:
        return f"the value has {size} bytes; at most {LARGEST_VALUE} are kept: put large things into a file"
    if any(unicodedata.category(letter) == "Cc" and letter != "\t" for letter in value):
        return "the value has a line break or another control character, which systemd and a shell read differently"
    if any(_is_no_letter(ord(letter)) for letter in value):
        return "the value has a code point that is no character, which systemd refuses"
    return ""


def _is_no_letter(point: int) -> bool:
    return 0xFDD0 <= point <= 0xFDEF or point & 0xFFFE == 0xFFFE


def changed(before: Mapping[str, Mapping[str, str]], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The variables with some set and, where a change is null, some taken away."""
    after: dict[str, Any] = {**before, **changes}
    return {name: said for name, said in after.items() if said is not None}


def digest(variables: Mapping[str, Mapping[str, str]], again: int = 0) -> str:
    """The sha256 of names, plain values and references; never of a secret. again: tells a forced revision apart."""
    return hashlib.sha256(_canonical(variables, again)).hexdigest()


def _canonical(variables: Mapping[str, Any], again: int) -> bytes:
    said = {"variables": variables, **({"again": again} if again else {})}
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def rendered(content: str, values: Mapping[str, str]) -> bytes:
    """The file of a content. AUREUS_CONTENT tells the application what it runs as, for its health answer."""
    lines = [f"{name}={_quoted(value)}" for name, value in {"AUREUS_CONTENT": content, **values}.items()]
    return ("\n".join(lines) + "\n").encode()


def _quoted(value: str) -> str:
    """Single quotes, in which both read everything as it is, but for a quote and a backslash: those in double quotes.

    A backslash in single quotes is an escape to systemd before 241 (src/basic/env-file.c), and after a closing quote
    systemd takes only another quote: the usual '\\'' of shells is read wrong.
    """
    parts = _PLAIN.findall(value) or [""]
    return "".join('"' + part.replace("\\", "\\\\") + '"' if part[:1] in "'\\" else f"'{part}'" for part in parts)
