"""The act script as command lines, and its one JSON line as an answer or an error."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable
from importlib import resources
from typing import Any

from deployments.drivers.errors import ActFailed, ActRefused, ActTimedOut
from deployments.drivers.hosts import Answer, HostAddress
from deployments.drivers.quoting import quote
from deployments.drivers.ssh.channel import Result

NOT_THERE = 97
NO_SHA256SUM = 96
NO_ROOT = 94

# One line each: some login shells cannot hold a newline in quotes.
_CALL = (
    "LC_ALL=C; export LC_ALL; f=$1 d=$2; shift 2; command -v sha256sum >/dev/null || exit 96; "
    's=$({ sha256sum <"$f"; } 2>/dev/null) && [ "${s%% *}" = "$d" ] || exit 97; exec sh "$f" "$@"'
)
_PUT = (
    'umask 077; mkdir -p "$1/.aureus" || exit 94; t=$(mktemp "$1/.aureus/put.XXXXXX") || exit 94; '
    'cat >"$t" && s=$(sha256sum <"$t") && [ "${s%% *}" = "$3" ] && mv -f "$t" "$1/.aureus/$2" || '
    '{ rm -f "$t"; exit 95; }'
)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@functools.cache
def script() -> tuple[bytes, str]:
    """The script and its sha256."""
    source = resources.files("deployments").joinpath("host/act.sh").read_bytes()
    return source, hashlib.sha256(source).hexdigest()


def act_command(root: str, nonce: str, verb: str, options: Iterable[str], seconds: float | None) -> str:
    """The command line of one act; `seconds` bounds it on the host (None: the act does so itself)."""
    _, digest = script()
    words = ["sh", "-c", _CALL, "act", f"{root}/.aureus/act-{digest[:16]}", digest, root, nonce, verb, *options]
    return bounded(words, seconds) if seconds is not None else "exec " + quote(words)


def put_command(root: str) -> str:
    """The command line that takes the script on stdin."""
    _, digest = script()
    return bounded(["sh", "-c", _PUT, "put", root, f"act-{digest[:16]}", digest], 30)


def bounded(words: Iterable[str], seconds: float) -> str:
    """A command that ends within `seconds` even if nobody is there any more to end it."""
    return "exec " + quote(["timeout", "-k", "5", f"{max(seconds, 1):.0f}", *words])


def plain(text: str) -> str:
    """Text from a host, without what could move a terminal's cursor or hide a line."""
    return _CONTROL.sub("", _ESCAPES.sub("", text))


def read_answer(host: HostAddress, nonce: str, result: Result) -> Answer:
    """The answer in the output, known by its nonce. Raises ActRefused, ActFailed or ActTimedOut as it says."""
    said = _find(nonce, result.out)
    if said is None:
        raise _silence(host, result)
    sentence = f"host {host.name}: {said['sentence']}" if said["sentence"] else ""
    code, detail = str(said["code"]), said["data"]
    match said["state"]:
        case "done" | "already" | "running" as state:
            return Answer(state, sentence, detail)
        case "refused":
            raise ActRefused(sentence, code=code, detail=detail)
        case "timed_out":
            raise ActTimedOut(sentence, code=code, detail=detail)
        case _:
            raise ActFailed(sentence, code=code, detail=detail)


def _find(nonce: str, out: bytes) -> dict[str, Any] | None:
    for line in reversed(out.decode("utf-8", "replace").splitlines()):
        if nonce not in line:
            continue
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and said.get("nonce") == nonce and isinstance(said.get("data"), dict):
            return {
                "state": str(said.get("state")),
                "code": str(said.get("code")),
                "sentence": plain(str(said.get("sentence"))),
                "data": _plain_values(said["data"]),
            }
    return None


def _plain_values(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {str(name): _plain_values(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain_values(each) for each in value]
    return value


def _silence(host: HostAddress, result: Result) -> Exception:
    err = plain(result.err.decode("utf-8", "replace"))[-500:].strip()
    if result.status in (124, 137):
        return ActTimedOut(f"host {host.name}: the act did not end within its deadline", code="deadline")
    if result.status == NO_SHA256SUM:
        return ActRefused(f"host {host.name} lacks sha256sum", code="missing_tool", detail={"missing": ["sha256sum"]})
    if result.status == 127:
        return ActRefused(f"host {host.name} lacks a tool we need: {err}", code="missing_tool")
    sentence = f"host {host.name} gave no answer (exit {result.status}): {err or 'it said nothing'}"
    return ActFailed(sentence, code="no_answer")
