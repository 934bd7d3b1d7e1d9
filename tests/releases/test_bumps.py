"""The guide's bump rules: what changed in a workflow says which part of the number must go up at least."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from releases import bumps, spec
from releases.bumps import Bump
from releases.workflow import Task

FETCH = {"id": "fetch", "tool": "http", "params": {"path": "/a"}, "timeoutMs": 2000, "retry": {"maxAttempts": 3},
         "requiredPermissions": [{"action": "read", "resource": "a"}], "idempotencyKey": "k"}  # fmt: skip
PICK = {"id": "pick", "type": "decision", "dependsOn": ["fetch"],
        "branches": [{"when": {"field": "n", "equals": 1}, "then": ["pay"]}], "otherwise": ["wait"]}  # fmt: skip
PAY = {"id": "pay", "tool": "http", "dependsOn": ["pick"], "compensationAction": {"tool": "http", "params": {}}}
WAIT = {"id": "wait", "tool": "wait", "dependsOn": ["pick"]}
TELL = {"id": "tell", "tool": "http", "dependsOn": ["pay"]}
TASKS = (FETCH, PICK, PAY, WAIT, TELL)


def workflow(*tasks: dict[str, Any], **more: Any) -> Any:
    return spec.parse({"id": "shop", "name": "Shop", "tasks": [*tasks], **more})


def edited(name: str, **fields: Any) -> Any:
    """The workflow with one task changed; None takes a field away."""
    tasks = [{**task, **fields} if task["id"] == name else task for task in TASKS]
    return workflow(*({key: value for key, value in task.items() if value is not None} for task in tasks))


def without(*names: str) -> list[dict[str, Any]]:
    return [task for task in TASKS if task["id"] not in names]


EXTRA = {"id": "extra", "tool": "http", "dependsOn": ["fetch"]}
ROWS = [
    (workflow(*TASKS), []),
    (workflow(*reversed(TASKS)), []),
    (workflow(*TASKS, version="9", name="Another name"), []),
    (workflow(*without("tell")), [(Bump.MAJOR, "tell was removed")]),
    (workflow(*without("tell"), {**TELL, "id": "inform"}),
     [(Bump.MAJOR, "tell was renamed to inform"), (Bump.MINOR, "inform is new")]),
    (workflow(*TASKS, EXTRA), [(Bump.MINOR, "extra is new")]),
    (workflow(*TASKS, {**EXTRA, "requiredPermissions": [{"action": "write", "resource": "b"}]}),
     [(Bump.MAJOR, "extra demands a permission that no task demanded"), (Bump.MINOR, "extra is new")]),
    (edited("tell", type="parallel", tool="noop"),
     [(Bump.MAJOR, "tell calls noop and called http"), (Bump.MAJOR, "tell is of type parallel")]),
    (edited("tell", tool="wait"), [(Bump.MAJOR, "tell calls wait and called http")]),
    (edited("tell", requiredPermissions=[{"action": "read", "resource": "a"}]),
     [(Bump.MAJOR, "tell demands the permission")]),
    (edited("fetch", requiredPermissions=None), [(Bump.MINOR, "fetch demands fewer permissions")]),
    (edited("fetch", timeoutMs=1999), [(Bump.MAJOR, "fetch has 1999 ms and had 2000 ms")]),
    (edited("fetch", timeoutMs=2001), [(Bump.MINOR, "fetch has more time")]),
    (edited("fetch", retry={"maxAttempts": 2}),
     [(Bump.MAJOR, "fetch is tried 2 times and was tried 3 times")]),
    (edited("fetch", retry={"maxAttempts": 3, "backoffMs": 9}), [(Bump.MINOR, "fetch is tried again otherwise")]),
    (edited("fetch", idempotencyKey=None),
     [(Bump.MAJOR, "fetch lost its idempotency key")]),
    (edited("fetch", params={"path": "/b"}), [(Bump.MINOR, "fetch has other parameters")]),
    (edited("fetch", riskTier="HIGH"), [(Bump.MINOR, "fetch has another risk tier")]),
    (edited("pay", compensationAction=None), [(Bump.MAJOR, "pay is not undone any more")]),
    (edited("pay", compensationAction={"tool": "wait"}), [(Bump.MINOR, "pay is undone otherwise")]),
    (edited("tell", dependsOn=["fetch"]), [(Bump.MAJOR, "tell waits no longer for pay")]),
    (edited("tell", dependsOn=["pay", "wait"]), [(Bump.MINOR, "tell waits for wait now")]),
    (workflow(*without("tell"), {"id": "between", "tool": "http", "dependsOn": ["pay"]},
              {**TELL, "dependsOn": ["between"]}), [(Bump.MINOR, "between is new")]),
    (edited("pick", branches=[{"when": {"field": "n", "equals": 2}, "then": ["pay"]}]),
     [(Bump.MAJOR, "pick decides otherwise")]),
    (edited("pick", otherwise=[]), [(Bump.MAJOR, "pick decides otherwise")]),
    (workflow(*without("pick"), {**PICK, "otherwise": ["wait", "log"]},
              {"id": "log", "tool": "http", "dependsOn": ["pick"]}),
     [(Bump.MINOR, "log is new"), (Bump.MINOR, "pick picks among new tasks too")]),
    (workflow(*without("tell"), {"id": "ask", "type": "decision", "dependsOn": ["pay"], "branches": [
        {"when": {"field": "n", "equals": 1}, "then": ["tell"]}]}, {**TELL, "dependsOn": ["pay", "ask"]}),
     [(Bump.MAJOR, "ask decides whether these run, which always ran: tell"), (Bump.MINOR, "ask is new")]),
]  # fmt: skip


@pytest.mark.parametrize(("new", "found"), ROWS)
def test_each_difference_says_what_callers_notice(new: Any, found: list[tuple[Bump, str]]) -> None:
    seen = bumps.changes(workflow(*TASKS), new)
    assert [change.bump for change in seen] == [bump for bump, _ in found], [str(change) for change in seen]
    assert all(str(change).startswith(words) for change, (_, words) in zip(seen, found, strict=True)), seen


BROKEN, GROWN = workflow(*without("tell")), workflow(*TASKS, EXTRA)


@pytest.mark.parametrize(
    ("number", "before", "new", "why"),
    [
        ("1.2.4", "1.2.3", workflow(*TASKS), ""),
        ("1.2.4", "1.2.3", GROWN, "1.2.4 is a PATCH after 1.2.3, but extra is new: that is a MINOR, so number it 1.3"),
        ("1.3.0", "1.2.3", GROWN, ""),
        ("1.2.4", "1.2.3", BROKEN, "1.2.4 is a PATCH after 1.2.3, but tell was removed: that is a MAJOR"),
        ("1.3.0", "1.2.3", BROKEN, "1.3.0 is a MINOR after 1.2.3, but tell was removed"),
        ("2.0.0", "1.2.3", BROKEN, ""),
        ("2.0.0-rc.1", "1.2.3", BROKEN, ""),
        ("1.3.0-rc.1", "1.2.3", BROKEN, "1.3.0-rc.1 is a MINOR"),
        ("1.2.3", "1.2.3", workflow(*TASKS), ""),
        ("1.2.3+b.2", "1.2.3+b.1", workflow(*TASKS), "1.2.3+b.2 is not newer than 1.2.3+b.1"),
        ("1.2.2", "1.2.3", BROKEN, "1.2.2 is not newer than 1.2.3: give it a higher one, such as 2.0.0."),
        ("1.2.3-rc.1", "1.2.3", workflow(*TASKS), "1.2.3-rc.1 is not newer"),
        ("0.1.1", "0.1.0", BROKEN, ""),
        ("0.1.0", "0.1.0-rc.1", BROKEN, ""),
        ("1.0.0", "0.9.9", BROKEN, ""),
        ("0.1.0", "0.1.1", BROKEN, "0.1.0 is not newer than 0.1.1: give it a higher one, such as 0.1.2."),
        ("1.2.0", "1.2.0-rc.2", BROKEN, ""),
        ("1.2.0-rc.3", "1.2.0-rc.2", BROKEN, ""),
        ("1.2.0-rc.1", "1.2.0-rc.2", BROKEN, "1.2.0-rc.1 is not newer than 1.2.0-rc.2"),
    ],
)  # fmt: skip
def test_a_number_goes_up_by_what_the_changes_demand(number: str, before: str, new: Any, why: str) -> None:
    said = bumps.why_not(number, before, bumps.changes(workflow(*TASKS), new))
    assert said.startswith(why) and bool(said) == bool(why), said


def test_several_breaking_changes_are_counted() -> None:
    said = bumps.why_not("1.0.1", "1.0.0", bumps.changes(workflow(*TASKS), workflow(FETCH)))
    assert "pay was removed, and 3 more such changes" in said


def test_two_thousand_tasks_are_compared() -> None:
    chain = [{"id": f"t{n}", "tool": "http", "dependsOn": [f"t{n - 1}"] if n else []} for n in range(1999)]
    longer = [*chain[:1000], {"id": "new", "tool": "http", "dependsOn": ["t999"]},
              {**chain[1000], "dependsOn": ["new"]}, *chain[1001:]]  # fmt: skip
    assert [str(change) for change in bumps.changes(workflow(*chain), workflow(*longer))] == ["new is new"]


def test_no_field_of_a_task_changes_unnoticed() -> None:
    looked_at = {*bumps.OTHER, "id", "kind", "tool", "depends_on", "branches", "otherwise"}
    assert {field.name for field in fields(Task)} == looked_at
