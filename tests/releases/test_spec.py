"""The workflow spec: what is taken, what is refused, and that one content has one digest."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from releases.schema import SchemaChange
from releases.spec import (
    LARGEST_NUMBER,
    MAX_BYTES,
    SpecInvalid,
    canonical,
    content,
    digest,
    number_of,
    order,
    parse,
    version_digest,
)
from releases.workflow import JITTER, MAX_TASKS, Kind, Retry, Risk, Undo

GOOD = {
    "id": "my-workflow",
    "name": "My Workflow",
    "version": "1.0.0",
    "tasks": [
        {"id": "warm", "tool": "noop"},
        {"id": "read", "tool": "http", "inputs": {"path": "/"}, "dependsOn": ["warm"], "timeoutMs": 500},
        {"id": "write", "tool": "http", "params": {"path": "/"}, "retry": {"maxAttempts": 3, "backoffMs": 10}},
    ],
    "dependencies": [{"from": "read", "to": "write"}],
    "owner": {"team": "unknown fields are allowed"},
}

WRONG: list[tuple[dict[str, object], str]] = [
    ({"type": "loop"}, ".type"),
    ({"type": 7}, ".type"),
    ({"toolName": "noop"}, ""),
    ({"retry": {"backoffMultiplier": -1}}, ".retry.backoffMultiplier"),
    ({"retry": {"backoffMultiplier": True}}, ".retry.backoffMultiplier"),
    ({"retry": {"maxBackoffMs": 60_001}}, ".retry.maxBackoffMs"),
    ({"retry": {"jitter": 1.5}}, ".retry.jitter"),
    ({"retry": {"jitter": "yes"}}, ".retry.jitter"),
    ({"idempotencyKey": 7}, ".idempotencyKey"),
    ({"riskTier": "high"}, ".riskTier"),
    ({"requiredPermissions": "deploy"}, ".requiredPermissions"),
    ({"requiredPermissions": ["deploy", " "]}, ".requiredPermissions[1]"),
    ({"requiredPermissions": [{"resource": "x"}]}, ".requiredPermissions[0].action"),
    ({"approvedFollowers": "b"}, ".approvedFollowers"),
    ({"compensation": "b"}, ".compensation"),
    ({"compensation": {}}, ".compensation"),
    ({"compensation": {"tool": ""}}, ".compensation.tool"),
    ({"compensation": {"tool": "noop", "args": {}, "params": {}}}, ".compensation"),
    ({"compensation": {"tool": "noop", "onFailure": "b"}}, ".compensation"),
    ({"compensation": {"onFailure": 7}}, ".compensation.onFailure"),
    ({"compensationAction": []}, ".compensationAction"),
    ({"compensationAction": {"params": {}}}, ".compensationAction.tool"),
    ({"compensation": {"tool": "noop"}, "compensationAction": {"tool": "noop"}}, ""),
    ({"type": "decision", "branches": {}}, ".branches"),
    ({"type": "decision", "branches": [{"then": []}]}, ".branches[0]"),
    ({"type": "decision", "branches": [{"when": {}, "then": []}]}, ".branches[0].when"),
    ({"type": "decision", "branches": [{"when": {"in": 7}, "then": []}]}, ".branches[0].when.in"),
    ({"type": "decision", "branches": [{"when": {"atLeast": "7"}, "then": []}]}, ".branches[0].when.atLeast"),
    ({"type": "decision", "branches": [{"when": {"equals": 1}, "then": "b"}]}, ".branches[0].then"),
    ({"type": "decision", "otherwise": "b"}, ".otherwise"),
]

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


def paths(spec) -> list[str]:
    with pytest.raises(SpecInvalid) as refusal:
        parse(spec)
    return [path for path, _ in refusal.value.errors]


def test_a_good_spec_is_read_with_both_kinds_of_dependency():
    workflow = parse(GOOD)
    assert (workflow.id, workflow.name, workflow.version) == ("my-workflow", "My Workflow", "1.0.0")
    assert [task.depends_on for task in workflow.tasks] == [(), ("warm",), ("read",)]
    assert workflow.tasks[1].params == {"path": "/"}
    assert (workflow.tasks[1].timeout_ms, workflow.tasks[2].retry) == (500, Retry(attempts=3, backoff_ms=10))
    assert order(workflow.tasks) == (("warm",), ("read",), ("write",))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"id": None}, "id"),
        ({"id": "a b"}, "id"),
        ({"id": "../x"}, "id"),
        ({"id": "x" * 129}, "id"),
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"version": 1}, "version"),
        ({"tasks": None, "dependencies": []}, "tasks"),
        ({"tasks": "noop", "dependencies": []}, "tasks"),
        ({"tasks": ["noop"], "dependencies": []}, "tasks[0]"),
        ({"tasks": [{"id": "a"}], "dependencies": []}, "tasks[0].tool"),
        ({"tasks": [{"id": ["a"], "tool": "noop"}], "dependencies": []}, "tasks[0].id"),
        ({"tasks": [{"id": "a", "tool": "noop", "inputs": []}], "dependencies": []}, "tasks[0].inputs"),
        ({"tasks": [{"id": "a", "tool": "noop", "inputs": {}, "params": {}}], "dependencies": []}, "tasks[0]"),
        ({"tasks": [{"id": "a", "tool": "noop", "dependsOn": "b"}], "dependencies": []}, "tasks[0].dependsOn"),
        ({"tasks": [{"id": "a", "tool": "noop", "dependsOn": ["b"]}], "dependencies": []}, "tasks[0].dependsOn"),
        ({"tasks": [{"id": "a", "tool": "noop", "retry": 3}], "dependencies": []}, "tasks[0].retry"),
        (
            {"tasks": [{"id": "a", "tool": "noop", "retry": {"maxAttempts": 11}}], "dependencies": []},
            "tasks[0].retry.maxAttempts",
        ),
        ({"tasks": [{"id": "a", "tool": "noop", "timeoutMs": True}], "dependencies": []}, "tasks[0].timeoutMs"),
        ({"tasks": [{"id": "a", "tool": "noop", "timeoutMs": 0}], "dependencies": []}, "tasks[0].timeoutMs"),
        ({"dependencies": "read"}, "dependencies"),
        ({"dependencies": {"read": "warm"}}, "dependencies.read"),
        ({"dependencies": {"nobody": ["warm"]}}, "dependencies"),
        ({"dependencies": {"read": ["nobody"]}}, "tasks[1].dependsOn"),
        *(
            ({"tasks": [{"id": "a", "tool": "noop", **field}], "dependencies": []}, f"tasks[0]{path}")
            for field, path in WRONG
        ),
        ({"dependencies": [{"from": "read"}]}, "dependencies[0]"),
        ({"dependencies": [{"from": "read", "to": "nobody"}]}, "dependencies"),
        ({"dependencies": [{"from": "nobody", "to": "read"}]}, "tasks[1].dependsOn"),
        ({"dependencies": [{"from": "write", "to": "warm"}, {"from": "read", "to": "write"}]}, "tasks"),
    ],
)
def test_a_wrong_field_is_refused_and_named(change, path):
    assert paths({**GOOD, **change}) == [path]


def test_every_field_of_a_task_is_read_in_both_spellings():
    full = {
        "id": "pay", "type": "action", "toolName": "http", "inputs": {"path": "/pay"}, "riskTier": "CRITICAL",
        "retry": {"maxAttempts": 4, "backoffMs": 100, "backoffMultiplier": 2, "maxBackoffMs": 300, "jitter": True},
        "idempotencyKey": "order-7", "requiredPermissions": ["pay", {"action": "execute", "resource": "till"}],
        "compensationAction": {"tool": "http", "args": {"path": "/refund"}}, "approvedFollowers": ["tell"],
    }  # fmt: skip
    either = {"id": "ask", "type": "decision", "otherwise": ["tell"]}
    tell = {"id": "tell", "tool": "noop", "compensation": {"onFailure": "sorry", "onTimeout": "late"}}
    apart = [{"id": name, "tool": "noop"} for name in ("sorry", "late")]
    spec = {**GOOD, "tasks": [full, either, {"id": "both", "type": "parallel"}, tell, *apart]}
    workflow = parse({**spec, "dependencies": {"tell": ["ask", "pay"]}})
    pay, ask, both, told, *_ = workflow.tasks
    assert pay.undo == Undo("http", {"path": "/refund"})
    assert (pay.risk, pay.permissions, pay.idempotency_key) == (Risk.CRITICAL, ("pay", "execute:till"), "order-7")
    assert pay.retry == Retry(4, 100, 2, 300, JITTER)
    assert [round(pay.retry.pause(failures, 1), 3) for failures in (1, 2, 3, 9)] == [0.05, 0.1, 0.15, 0.15]
    assert (ask.kind, ask.tool, both.kind, both.tool) == (Kind.DECISION, "noop", Kind.PARALLEL, "noop")
    assert told.depends_on == ("ask", "pay")
    assert (told.on_failure, told.on_timeout) == ("sorry", "late")
    assert [task.id for task in workflow.forward] == ["pay", "ask", "both", "tell"]


def test_the_digest_of_a_spec_is_what_it_was_before_its_fields_had_a_meaning():
    """Versions that are registered keep their content's name: computed by the first release that had specs."""
    assert version_digest(GOOD, "1.0.0", None) == "94b130f7c9bdc167c4454caa797a8223b3cf7dc0775c8b802544ae96f5199938"


def test_a_chain_of_as_many_tasks_as_may_be_is_put_in_order():
    tasks = [{"id": f"t{n}", "tool": "noop", "dependsOn": [f"t{n - 1}"] if n else []} for n in range(MAX_TASKS)]
    assert len(order(parse({**GOOD, "tasks": tasks, "dependencies": []}).tasks)) == MAX_TASKS


@pytest.mark.parametrize("spec", [None, [], "x", 7])
def test_what_is_no_object_is_refused(spec):
    assert paths(spec) == [""]


def test_a_task_id_used_twice_is_refused():
    twin = {"id": "a", "tool": "noop"}
    assert paths({**GOOD, "tasks": [twin, twin], "dependencies": []}) == ["tasks[1].id"]


def test_a_task_that_waits_for_itself_is_refused():
    assert paths({**GOOD, "tasks": [{"id": "a", "tool": "noop", "dependsOn": ["a"]}], "dependencies": []}) == ["tasks"]


def test_all_errors_are_told_at_once():
    assert paths({"id": "", "name": "", "tasks": [{"id": "a"}, 3]}) == ["id", "name", "tasks[0].tool", "tasks[1]"]


def test_too_many_tasks_too_many_bytes_and_too_deep_a_nest_are_refused():
    many = [{"id": f"t{number}", "tool": "noop"} for number in range(MAX_TASKS + 1)]
    assert paths({**GOOD, "tasks": many, "dependencies": []}) == ["tasks"]
    assert paths({**GOOD, "note": "x" * MAX_BYTES}) == [""]
    nest: object = 0
    for _ in range(5_000):
        nest = [nest]
    assert paths({**GOOD, "note": nest})[0].startswith("note[0]")


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, LARGEST_NUMBER + 1, -(10**400), 1e300, "a\x00b", "\ud800", {1: 2}]
)
def test_what_a_json_column_would_change_is_refused(value):
    with pytest.raises(SpecInvalid):
        canonical({"value": value})


def test_the_order_of_keys_and_the_way_a_number_is_written_do_not_change_the_digest():
    assert digest(json.loads('{"a": 1, "b": [1e2, -0.0]}')) == digest(json.loads('{"b": [100, 0], "a": 1.0}'))
    assert digest({"a": [1, 2]}) != digest({"a": [2, 1]})
    assert digest({"a": True}) != digest({"a": 1})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-LARGEST_NUMBER, LARGEST_NUMBER) | st.floats(-1e9, 1e9)
        | TEXT,
        lambda inner: st.lists(inner, max_size=4)
        | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=12,
    )
)  # fmt: skip
def test_the_canonical_form_reads_back_to_the_same_canonical_form(value):
    assert canonical(json.loads(canonical(value))) == canonical(value)


def test_a_version_is_spec_number_and_artifact():
    base = version_digest(GOOD, "1.0.0", None)
    assert base == version_digest({**GOOD}, "1.0.0", None)
    changed = {
        version_digest({**GOOD, "name": "Other"}, "1.0.0", None),
        version_digest(GOOD, "1.0.1", None),
        version_digest(GOOD, "1.0.0", "a" * 64),
    }
    assert len(changed | {base}) == 4


def test_what_a_version_does_to_its_data_is_part_of_it_and_nothing_declared_is_the_digest_of_before():
    digests = {change: version_digest(GOOD, "1.0.0", None, change) for change in SchemaChange}
    assert len(set(digests.values())) == len(SchemaChange)
    assert digests[SchemaChange.NONE] == version_digest(GOOD, "1.0.0", None)


def test_a_content_names_its_version_number():
    name = content("1.2.3-rc.1+b", "0123456789abcdef")
    assert name == "1.2.3-rc.1+b-0123456789ab"
    assert number_of(name) == "1.2.3-rc.1+b"
    assert number_of("1.2.3") == "1.2.3"
