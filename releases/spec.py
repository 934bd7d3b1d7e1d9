"""The workflow spec of a version: checked, put in one canonical form, and digested. Pure."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_BYTES = 1_048_576
MAX_DEPTH = 32
MAX_TASKS = 500
MAX_DEPENDENCIES = 5_000
MAX_ATTEMPTS = 10
MAX_BACKOFF_MS = 60_000
MAX_TIMEOUT_MS = 600_000
DEFAULT_TIMEOUT_MS = 10_000
# Beyond this a JSON number is no longer the same number in every reader (RFC 8259, 6).
LARGEST_NUMBER = 2**53 - 1
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CONTENT = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,127}-[0-9a-f]{12}")


class SpecInvalid(ValueError):
    """The spec cannot be used; `errors` names each path and what is wrong there."""

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(f"{path}: {message}" for path, message in self.errors))


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a workflow. Times are milliseconds; `attempts` counts the first one too."""

    id: str
    tool: str
    params: Mapping[str, Any] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    attempts: int = 1
    backoff_ms: int = 0
    timeout_ms: int = DEFAULT_TIMEOUT_MS


@dataclass(frozen=True, slots=True)
class Workflow:
    """A checked spec: task ids are unique, every dependency exists, and there is no cycle."""

    id: str
    name: str
    version: str
    tasks: tuple[Task, ...]


def parse(spec: object) -> Workflow:
    """Check a spec and answer its workflow. Unknown fields are allowed, wrong types are not. Raises SpecInvalid."""
    canonical(spec)
    if not isinstance(spec, Mapping):
        raise SpecInvalid([("", "the workflow spec must be an object")])
    reading = _Reading()
    workflow = reading.workflow(spec)
    if not reading.errors:
        reading.errors.extend(_broken_dependencies(workflow.tasks))
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


def version_digest(spec: object, number: str, artifact_sha256: str | None) -> str:
    """Digest what makes a version what it is: spec, number, artifact. Metadata is no part of it."""
    return digest({"spec": digest(spec), "version": number, "artifact": artifact_sha256 or ""})


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
    waiting = {task.id: set(task.depends_on) for task in tasks}
    layers: list[tuple[str, ...]] = []
    while waiting:
        ready = tuple(name for name, needs in waiting.items() if not needs)
        if not ready:
            raise SpecInvalid([("tasks", "these tasks wait for each other in a circle: " + ", ".join(sorted(waiting)))])
        layers.append(ready)
        waiting = {name: needs - set(ready) for name, needs in waiting.items() if name not in ready}
    return tuple(layers)


class _Reading:
    """One pass over a spec that collects every error instead of stopping at the first."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, str]] = []

    def wrong(self, path: str, message: str) -> None:
        self.errors.append((path, message))

    def workflow(self, spec: Mapping[str, Any]) -> Workflow:
        name = self.identifier(spec, "id", "id")
        title = self.text(spec, "name", "name", required=True)
        version = self.text(spec, "version", "version")
        later = self.dependencies(spec)
        tasks = tuple(self.tasks(spec, later))
        return Workflow(name, title, version, tasks)

    def tasks(self, spec: Mapping[str, Any], later: Mapping[str, list[str]]) -> Iterator[Task]:
        items = spec.get("tasks")
        if not isinstance(items, list):
            return self.wrong("tasks", "must be a list of tasks")
        if len(items) > MAX_TASKS:
            return self.wrong("tasks", f"has {len(items)} tasks; at most {MAX_TASKS} are allowed")
        for position, item in enumerate(items):
            path = f"tasks[{position}]"
            if isinstance(item, Mapping):
                yield self.task(item, path, later)
            else:
                self.wrong(path, "must be an object")

    def task(self, item: Mapping[str, Any], path: str, later: Mapping[str, list[str]]) -> Task:
        name = self.identifier(item, "id", f"{path}.id")
        tool = self.text(item, "tool", f"{path}.tool", required=True)
        retry = self.mapping(item, "retry", path)
        needs = [*self.names(item, "dependsOn", path), *later.get(name, [])]
        return Task(
            name, tool, self.params(item, path), tuple(dict.fromkeys(needs)),
            attempts=self.whole(retry, "maxAttempts", f"{path}.retry", 1, 1, MAX_ATTEMPTS),
            backoff_ms=self.whole(retry, "backoffMs", f"{path}.retry", 0, 0, MAX_BACKOFF_MS),
            timeout_ms=self.whole(item, "timeoutMs", path, DEFAULT_TIMEOUT_MS, 1, MAX_TIMEOUT_MS),
        )  # fmt: skip

    def params(self, item: Mapping[str, Any], path: str) -> Mapping[str, Any]:
        if "inputs" in item and "params" in item:
            self.wrong(path, "has both inputs and params: keep one of them")
        return self.mapping(item, "params" if "params" in item else "inputs", path)

    def dependencies(self, spec: Mapping[str, Any]) -> dict[str, list[str]]:
        items = spec.get("dependencies", [])
        found: dict[str, list[str]] = {}
        if not isinstance(items, list) or len(items) > MAX_DEPENDENCIES:
            self.wrong("dependencies", f"must be a list of at most {MAX_DEPENDENCIES} {{from, to}} pairs")
            return found
        for position, item in enumerate(items):
            pair = (item.get("from"), item.get("to")) if isinstance(item, Mapping) else (None, None)
            if isinstance(pair[0], str) and isinstance(pair[1], str):
                found.setdefault(pair[1], []).append(pair[0])
            else:
                self.wrong(f"dependencies[{position}]", "must be {from, to} with two task ids")
        self.unknown_ends(spec, found)
        return found

    def unknown_ends(self, spec: Mapping[str, Any], found: Mapping[str, list[str]]) -> None:
        tasks = spec.get("tasks")
        items = tasks if isinstance(tasks, list) else []
        known = {str(item.get("id")) for item in items if isinstance(item, Mapping)}
        for name in sorted(set(found) - known):
            self.wrong("dependencies", f"names the task {name!r}, which does not exist")

    def identifier(self, item: Mapping[str, Any], key: str, path: str) -> str:
        value = item.get(key)
        if isinstance(value, str) and _ID.fullmatch(value):
            return value
        self.wrong(
            path, "must be 1 to 128 letters, digits, dots, dashes or underscores, beginning with a letter or digit"
        )
        return ""

    def text(self, item: Mapping[str, Any], key: str, path: str, *, required: bool = False) -> str:
        value = item.get(key, "")
        if not isinstance(value, str) or (required and not value.strip()) or len(value) > 200:
            self.wrong(path, f"must be text of {'1' if required else '0'} to 200 characters")
            return ""
        return value

    def mapping(self, item: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
        value = item.get(key, {})
        if isinstance(value, Mapping):
            return value
        self.wrong(f"{path}.{key}", "must be an object")
        return {}

    def names(self, item: Mapping[str, Any], key: str, path: str) -> list[str]:
        value = item.get(key, [])
        if isinstance(value, list) and len(value) <= MAX_TASKS and all(isinstance(name, str) for name in value):
            return value
        self.wrong(f"{path}.{key}", "must be a list of task ids")
        return []

    def whole(self, item: Mapping[str, Any], key: str, path: str, default: int, least: int, most: int) -> int:
        value = item.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.wrong(f"{path}.{key}", f"must be a whole number from {least} to {most}")
        return default


def _broken_dependencies(tasks: Sequence[Task]) -> Iterator[tuple[str, str]]:
    known: set[str] = set()
    for position, task in enumerate(tasks):
        if task.id in known:
            yield (f"tasks[{position}].id", f"{task.id!r} is used twice")
        known.add(task.id)
    broken = False
    for position, task in enumerate(tasks):
        for name in task.depends_on:
            if name not in known:
                broken = True
                yield (f"tasks[{position}].dependsOn", f"names the task {name!r}, which does not exist")
    if not broken:
        try:
            order(tasks)
        except SpecInvalid as circle:
            yield from circle.errors


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
