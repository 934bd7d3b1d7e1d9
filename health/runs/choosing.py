"""Which followers a decision picks by its result. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from releases.workflow import Branch, Task

MISSING = object()


def chosen(task: Task, output: Mapping[str, Any]) -> tuple[str, ...]:
    """The followers of the first branch that holds; of `otherwise` where none does."""
    for branch in task.branches:
        if holds(branch, output):
            return tuple(sorted(set(branch.then)))
    return tuple(sorted(set(task.otherwise)))


def holds(branch: Branch, output: Mapping[str, Any]) -> bool:
    """Whether a result stands the branch's test. A field that is not there stands none but `exists: false`."""
    found = at(output, branch.field)
    if branch.test == "exists":
        return bool((found is not MISSING) == branch.value)
    if found is MISSING:
        return False
    match branch.test:
        case "equals":
            return same(found, branch.value)
        case "notEquals":
            return not same(found, branch.value)
        case "in":
            return any(same(found, one) for one in branch.value)
    if not isinstance(found, int | float) or isinstance(found, bool):
        return False
    return bool(found >= branch.value if branch.test == "atLeast" else found <= branch.value)


def at(value: Any, path: str) -> Any:
    """What lies at a dotted path of keys and list places; MISSING where nothing does."""
    for step in path.split(".") if path else ():
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isascii() and step.isdigit() and int(step[:9]) < len(value):
            value = value[int(step[:9])]
        else:
            return MISSING
    return value


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
