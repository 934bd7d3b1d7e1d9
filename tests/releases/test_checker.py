"""The checker: each rule has a spec that trips it, and one beside it that does not."""

import time

import pytest

from releases.checker import POLICIES, SAFETY, STRUCTURE, Severity, check
from releases.spec import read
from releases.workflow import MAX_TASKS


def task(name, *needs, **fields):
    return {"id": name, "tool": "noop", "dependsOn": list(needs), **fields}


def critical(name, *needs, **fields):
    return task(name, *needs, riskTier="CRITICAL", requiredPermissions=["p"], **fields)


UNDO = {"compensationAction": {"tool": "noop"}}


def found(policy, *tasks):
    return [(f.rule, f.severity, f.tasks) for f in check(read({"id": "w", "name": "W", "tasks": list(tasks)}), policy)]


TRIPS = {
    "duplicate_id": ((task("a"), task("a")), ("a",)),
    "unknown_dependency": ((task("a", "gone"),), ("a", "gone")),
    "depends_on_compensation": (
        (task("a", compensation={"onFailure": "b"}), task("b"), task("c", "b")),
        ("c", "b"),
    ),
    "no_cycles": ((task("a", "c"), task("b", "a"), task("c", "b"), task("d")), ("a", "b", "c")),
    "require_permissions_for_high_risk": ((task("a", riskTier="HIGH"),), ("a",)),
    "require_compensation_for_critical": ((critical("a"),), ("a",)),
    "no_action_after_critical_without_approval": ((critical("a", **UNDO), task("b", "a")), ("a", "b")),
}
STRUCTURAL = [rule.__name__ for rule in STRUCTURE]


def test_every_rule_is_tripped_by_a_spec_of_the_table():
    assert list(TRIPS) == [rule.__name__ for rule in (*STRUCTURE, *SAFETY)]


@pytest.mark.parametrize("rule", TRIPS)
def test_a_rule_is_tripped_with_the_tasks_that_take_part(rule):
    tasks, who = TRIPS[rule]
    assert found("strict", *tasks) == [(rule, Severity.ERROR, who)]


@pytest.mark.parametrize("rule", TRIPS)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_decides_how_grave_a_rule_is(policy, rule):
    told = {name: severity for name, severity, _ in found(policy, *TRIPS[rule][0])}
    if rule in STRUCTURAL or policy == "strict":
        assert told == {rule: Severity.ERROR}
    elif policy == "permissive":
        assert told == {}
    else:
        mild = rule == "require_compensation_for_critical"
        assert told == {rule: Severity.WARNING if mild else Severity.ERROR}


@pytest.mark.parametrize(
    ("tasks", "who"),
    [
        ([critical("a", approvedFollowers=["b"], **UNDO), task("b", "a")], None),
        ([critical("a", **UNDO), task("b", "a", **UNDO)], None),
        ([critical("a", compensation={"onFailure": "u"}), task("u", "a")], None),
        ([critical("a", **UNDO), task("b", "a", **UNDO), task("c", "b")], None),
        ([critical("a", **UNDO), {"id": "b", "type": "parallel", "dependsOn": ["a"]}], None),
        ([critical("a", **UNDO), {"id": "b", "type": "parallel", "dependsOn": ["a"]}, task("c", "b")], ("a", "c")),
        ([critical("a", **UNDO), task("b", "a"), task("c", "b")], ("a", "b", "c")),
        ([critical("a", approvedFollowers=["b"], **UNDO), task("b", "a"), task("c", "a")], ("a", "c")),
        ([task("a", **UNDO, riskTier="HIGH", requiredPermissions=["p"]), task("b", "a")], None),
    ],
    ids=["approved", "undoable", "its own compensation", "behind an undoable one", "what does nothing",
         "behind nothing", "direct and indirect", "another one", "only after CRITICAL"],
)  # fmt: skip
def test_a_way_after_a_critical_task_ends_at_what_is_approved_or_can_be_taken_back(tasks, who):
    rule = "no_action_after_critical_without_approval"
    assert found("default", *tasks) == ([(rule, Severity.ERROR, who)] if who else [])


def test_a_cycle_is_told_with_its_path_in_the_order_in_which_it_would_run():
    [finding] = check(read({"id": "w", "name": "W", "tasks": list(TRIPS["no_cycles"][0])}), "permissive")
    assert finding.message.endswith("a -> b -> c -> a")


def test_two_cycles_are_both_told():
    pairs = [task("a", "b"), task("b", "a"), task("c", "d"), task("d", "c")]
    assert [who for _, _, who in found("permissive", *pairs)] == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize(
    ("tasks", "path"),
    [
        ([{"id": "a", "type": "decision", "otherwise": ["b"]}, task("b")], "tasks[0].branches"),
        ([task("a", approvedFollowers=["b"])], "tasks[0].approvedFollowers"),
        ([task("a", compensation={"onTimeout": "b"})], "tasks[0].compensation.onTimeout"),
        ([task("a", compensation={"onFailure": "a"})], "tasks[0].compensation"),
    ],
)
def test_whatever_a_task_names_must_be_there_and_fit(tasks, path):
    assert [f.path for f in check(read({"id": "w", "name": "W", "tasks": tasks}), "permissive")] == [path]


def test_the_dearest_spec_is_checked_in_seconds():
    """As many CRITICAL tasks as may be, each before as many others as fit: refused, and not thought about for long."""
    half = MAX_TASKS // 2
    first = [critical(f"c{n}", f"c{n - 1}" if n else "x", **({} if n else UNDO)) for n in range(half)]
    rest = [task(f"t{n}", *(f"c{half - 1 - k}" for k in range(19))) for n in range(half - 1)]
    workflow = read({"id": "w", "name": "W", "tasks": [task("x"), *first, *rest]})
    began = time.process_time()
    told = check(workflow, "strict")
    assert time.process_time() - began < 5
    assert any("too many tasks after CRITICAL" in finding.message for finding in told)
