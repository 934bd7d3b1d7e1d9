"""Reading a workflow spec: every field that has a meaning is checked, every error kept as path and message. Pure."""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from releases.workflow import (
    DEFAULT_TIMEOUT_MS,
    JITTER,
    MAX_ATTEMPTS,
    MAX_BACKOFF_MS,
    MAX_DEPENDENCIES,
    MAX_MULTIPLIER,
    MAX_TASKS,
    MAX_TIMEOUT_MS,
    Branch,
    Kind,
    Retry,
    Risk,
    Task,
    Undo,
    Workflow,
)

TESTS = ("equals", "notEquals", "atLeast", "atMost", "in", "exists")
"""What a decision may ask of a field of its result."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PARAMS = ("inputs", "params")
_ARGUMENTS = ("params", "args", "inputs")


class Reading:
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
        if (count := sum(len(task.depends_on) for task in tasks)) > MAX_DEPENDENCIES:
            self.wrong("dependencies", f"are {count} in all; at most {MAX_DEPENDENCIES} are allowed")
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
        kind = self.one_of(item, "type", path, Kind) or Kind.ACTION
        tool = self.tool(item, path, "" if kind is Kind.ACTION else "noop")
        needs = [*self.names(item, "dependsOn", path), *later.get(name, [])]
        undo, on_failure, on_timeout = self.compensation(item, path)
        branches, otherwise = self.choices(item, path, kind)
        return Task(
            name, tool, self.params(item, path, _PARAMS), tuple(dict.fromkeys(needs)), kind, self.retry(item, path),
            timeout_ms=self.whole(item, "timeoutMs", path, DEFAULT_TIMEOUT_MS, 1, MAX_TIMEOUT_MS),
            idempotency_key=self.text(item, "idempotencyKey", f"{path}.idempotencyKey"),
            undo=undo, on_failure=on_failure, on_timeout=on_timeout,
            risk=self.one_of(item, "riskTier", path, Risk),
            permissions=self.permissions(item, path),
            approved_followers=tuple(self.names(item, "approvedFollowers", path)),
            branches=branches, otherwise=otherwise,
        )  # fmt: skip

    def tool(self, item: Mapping[str, Any], path: str, default: str) -> str:
        """`tool`, or `toolName` as upstream writes it."""
        if "tool" in item and "toolName" in item:
            self.wrong(path, "has both tool and toolName: keep one of them")
        key = "toolName" if "toolName" in item else "tool"
        if key not in item and default:
            return default
        return self.text(item, key, f"{path}.{key}", required=True)

    def retry(self, item: Mapping[str, Any], path: str) -> Retry:
        retry, here = self.mapping(item, "retry", path), f"{path}.retry"
        return Retry(
            self.whole(retry, "maxAttempts", here, 1, 1, MAX_ATTEMPTS),
            self.whole(retry, "backoffMs", here, 0, 0, MAX_BACKOFF_MS),
            self.number(retry, "backoffMultiplier", here, 1, 0, MAX_MULTIPLIER),
            self.whole(retry, "maxBackoffMs", here, MAX_BACKOFF_MS, 0, MAX_BACKOFF_MS),
            self.jitter(retry, here),
        )

    def jitter(self, retry: Mapping[str, Any], path: str) -> float:
        value = retry.get("jitter", False)
        if isinstance(value, bool):
            return JITTER if value else 0
        return self.number(retry, "jitter", path, 0, 0, 1)

    def compensation(self, item: Mapping[str, Any], path: str) -> tuple[Undo | None, str, str]:
        """`compensationAction {tool, params}`, or `compensation` of the same form or as {onFailure, onTimeout}."""
        told, here = self.mapping(item, "compensation", path), f"{path}.compensation"
        by_call, by_task = "tool" in told or "toolName" in told, "onFailure" in told or "onTimeout" in told
        if by_call and by_task:
            self.wrong(here, "has both a tool and tasks (onFailure, onTimeout): keep one of the forms")
        if by_call and "compensationAction" in item:
            self.wrong(path, "has both compensation and compensationAction: keep one of them")
        if "compensation" in item and not by_call and not by_task and isinstance(item["compensation"], Mapping):
            self.wrong(here, "needs a tool, or the id of a task as onFailure or onTimeout")
        undo = self.undo(told, here) if by_call else None
        if "compensationAction" in item:
            undo = self.undo(item["compensationAction"], f"{path}.compensationAction")
        tasks = [
            self.identifier(told, key, f"{here}.{key}") if key in told else "" for key in ("onFailure", "onTimeout")
        ]
        return undo, tasks[0], tasks[1]

    def undo(self, item: object, path: str) -> Undo | None:
        if not isinstance(item, Mapping):
            self.wrong(path, "must be an object with a tool and its params")
            return None
        return Undo(self.tool(item, path, ""), self.params(item, path, _ARGUMENTS))

    def choices(self, item: Mapping[str, Any], path: str, kind: Kind) -> tuple[tuple[Branch, ...], tuple[str, ...]]:
        if kind is not Kind.DECISION:
            # Before decisions were run these were unknown fields, which are allowed.
            return (), ()
        items = item.get("branches", [])
        otherwise = tuple(self.names(item, "otherwise", path))
        if not isinstance(items, list) or len(items) > MAX_TASKS:
            self.wrong(f"{path}.branches", "must be a list of {when, then}")
            return (), otherwise
        read = (self.branch(inner, f"{path}.branches[{place}]") for place, inner in enumerate(items))
        return tuple(branch for branch in read if branch is not None), otherwise

    def branch(self, item: object, path: str) -> Branch | None:
        when = item.get("when") if isinstance(item, Mapping) else None
        if not isinstance(item, Mapping) or not isinstance(when, Mapping):
            self.wrong(path, "must be {when: {field, …}, then: [task ids]}")
            return None
        tests = [name for name in TESTS if name in when]
        if len(tests) != 1:
            self.wrong(f"{path}.when", f"needs exactly one of {', '.join(TESTS)}")
            return None
        value = when[tests[0]]
        if not _fits(tests[0], value):
            self.wrong(f"{path}.when.{tests[0]}", "must be a number, for `in` a list, for `exists` true or false")
        field = self.text(when, "field", f"{path}.when.field")
        return Branch(field, tests[0], value, tuple(self.names(item, "then", path)))

    def permissions(self, item: Mapping[str, Any], path: str) -> tuple[str, ...]:
        """Texts, or upstream's {action, resource}, which is kept as `action:resource`."""
        value = item.get("requiredPermissions", [])
        if not isinstance(value, list) or len(value) > 100:
            self.wrong(f"{path}.requiredPermissions", "must be a list of at most 100 permissions")
            return ()
        return tuple(self.permission(one, f"{path}.requiredPermissions[{at}]") for at, one in enumerate(value))

    def permission(self, item: object, path: str) -> str:
        if isinstance(item, Mapping):
            return f"{self.text(item, 'action', f'{path}.action', required=True)}:{self.text(item, 'resource', path)}"
        if not isinstance(item, str) or not item.strip() or len(item) > 200:
            self.wrong(path, "must be text of 1 to 200 characters, or {action, resource}")
        return str(item)

    def params(self, item: Mapping[str, Any], path: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
        given = [key for key in keys if key in item]
        if len(given) > 1:
            self.wrong(path, f"has both {given[0]} and {given[1]}: keep one of them")
        return self.mapping(item, given[-1] if given else keys[0], path)

    def dependencies(self, spec: Mapping[str, Any]) -> dict[str, list[str]]:
        """Upstream's map {task: [what it depends on]}, or a list of {from, to} pairs."""
        items = spec.get("dependencies", [])
        found = self.mapped(items) if isinstance(items, Mapping) else self.paired(items)
        self.unknown_ends(spec, found)
        return found

    def mapped(self, items: Mapping[str, Any]) -> dict[str, list[str]]:
        if len(items) > MAX_TASKS:
            self.wrong("dependencies", f"names {len(items)} tasks; at most {MAX_TASKS} are allowed")
            return {}
        return {name: list(self.names(items, name, "dependencies")) for name in items}

    def paired(self, items: object) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        if not isinstance(items, list) or len(items) > MAX_DEPENDENCIES:
            what = f"must be {{task: [task ids]}}, or a list of at most {MAX_DEPENDENCIES} {{from, to}} pairs"
            self.wrong("dependencies", what)
            return found
        for position, item in enumerate(items):
            pair = (item.get("from"), item.get("to")) if isinstance(item, Mapping) else (None, None)
            if isinstance(pair[0], str) and isinstance(pair[1], str):
                found.setdefault(pair[1], []).append(pair[0])
            else:
                self.wrong(f"dependencies[{position}]", "must be {from, to} with two task ids")
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

    def one_of[Word: StrEnum](self, item: Mapping[str, Any], key: str, path: str, words: type[Word]) -> Word | None:
        if key not in item:
            return None
        for word in words:
            if item[key] == word.value:
                return word
        self.wrong(f"{path}.{key}", f"must be one of {', '.join(words)}")
        return None

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

    def number(self, item: Mapping[str, Any], key: str, path: str, default: float, least: float, most: float) -> float:
        value = item.get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.wrong(f"{path}.{key}", f"must be a number from {least:g} to {most:g}")
        return default


def _fits(test: str, value: object) -> bool:
    match test:
        case "in":
            return isinstance(value, list)
        case "exists":
            return isinstance(value, bool)
        case "atLeast" | "atMost":
            return isinstance(value, int | float) and not isinstance(value, bool)
    return True
