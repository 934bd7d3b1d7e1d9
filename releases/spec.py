"""The workflow spec of a version: checked, put in one canonical form, and digested. Pure."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from releases.checker import structure
from releases.schema import SchemaChange
from releases.spec_reading import Reading
from releases.workflow import SpecInvalid, Task, Workflow, followers

MAX_BYTES = 1_048_576
MAX_DEPTH = 32
# Beyond this a JSON number is no longer the same number in every reader (RFC 8259, 6).
LARGEST_NUMBER = 2**53 - 1
_CONTENT = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,127}-[0-9a-f]{12}")


def parse(spec: object) -> Workflow:
    """Check a spec and answer a workflow that can be run. Unknown fields are allowed, wrong types are not.

    Raises SpecInvalid with every error.
    """
    workflow = read(spec)
    if broken := structure(workflow):
        raise SpecInvalid([(finding.path, finding.message) for finding in broken])
    return workflow


def read(spec: object) -> Workflow:
    """Check the fields of a spec alone; whether its tasks fit together is for the checker. Raises SpecInvalid."""
    canonical(spec)
    if not isinstance(spec, Mapping):
        raise SpecInvalid([("", "the workflow spec must be an object")])
    reading = Reading()
    workflow = reading.workflow(spec)
    if reading.errors:
        raise SpecInvalid(reading.errors)
    return workflow


def canonical(spec: object) -> bytes:
    """Answer the one form of a JSON value: sorted keys, no spaces, UTF-8. Raises SpecInvalid."""
    errors = list(_unstorable(spec, "", 1))
    if errors:
        raise SpecInvalid(errors[:20])
    text = json.dumps(_plain(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    octets = text.encode("utf-8")
    if len(octets) > MAX_BYTES:
        raise SpecInvalid([("", f"the spec has {len(octets)} bytes; at most {MAX_BYTES} are allowed")])
    return octets


def digest(spec: object) -> str:
    """Answer the SHA-256 of the canonical form, in hex. Raises SpecInvalid."""
    return hashlib.sha256(canonical(spec)).hexdigest()


def version_digest(
    spec: object, number: str, artifact_sha256: str | None, change: SchemaChange = SchemaChange.NONE
) -> str:
    """Digest what makes a version what it is: spec, number, artifact, schema change. Metadata is no part of it.

    One without a change has the digest that it had before there was such a declaration.
    """
    declared = {} if change == SchemaChange.NONE else {"schemaChange": str(change)}
    return digest({"spec": digest(spec), "version": number, "artifact": artifact_sha256 or "", **declared})


def content(number: str, version_sha256: str) -> str:
    """Name the folder of a version on a host: `1.2.3-` and twelve characters of the digest."""
    return f"{number}-{version_sha256[:12]}"


def configured(number: str, version_sha256: str, configuration_sha256: str) -> str:
    """Name what really runs: the version's own folder, or with a configuration one that names both digests."""
    if not configuration_sha256:
        return content(number, version_sha256)
    return content(number, hashlib.sha256(f"{version_sha256}:{configuration_sha256}".encode()).hexdigest())


def number_of(name: str) -> str:
    """Answer the version number within a content's name, or the name itself when it is none."""
    return name[:-13] if _CONTENT.fullmatch(name) else name


def order(tasks: Sequence[Task]) -> tuple[tuple[str, ...], ...]:
    """Answer the task ids in layers: each layer needs only the earlier ones. Raises SpecInvalid on a cycle."""
    needs = {task.id: len(set(task.depends_on)) for task in tasks}
    after, layers = followers(tasks), []
    ready = [name for name, count in needs.items() if not count]
    while ready:
        layers.append(tuple(ready))
        later: list[str] = []
        for name in (follower for done in ready for follower in after.get(done, ())):
            needs[name] -= 1
            if not needs[name]:
                later.append(name)
        ready = later
    if stuck := [name for name, count in needs.items() if count]:
        raise SpecInvalid([("tasks", "these tasks wait for each other in a circle: " + ", ".join(sorted(stuck)))])
    return tuple(layers)


def _unstorable(value: object, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Find what a JSON column or another reader would change or refuse."""
    if depth > MAX_DEPTH:
        yield (path, f"is nested deeper than {MAX_DEPTH} levels")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str) or not _is_text(key):
                yield (path, "has a key that is not plain text")
            else:
                yield from _unstorable(inner, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _unstorable(inner, f"{path}[{position}]", depth + 1)
    elif not _is_scalar(value):
        yield (path, "is not text, a number of at most 2^53 - 1, true, false or null")


def _is_scalar(value: object) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, str):
        return _is_text(value)
    if isinstance(value, float):
        return math.isfinite(value) and abs(value) <= LARGEST_NUMBER
    return isinstance(value, int) and abs(value) <= LARGEST_NUMBER


def _is_text(value: str) -> bool:
    return "\x00" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _plain(value: Any) -> Any:
    # A JSON column turns 1e2 into 100 and may keep 1.0: the same number must have the same digest.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


__all__ = [
    "MAX_BYTES",
    "SpecInvalid",
    "Task",
    "Workflow",
    "canonical",
    "content",
    "digest",
    "number_of",
    "order",
    "parse",
    "read",
    "version_digest",
]
