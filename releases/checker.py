"""Judging a workflow before it may be registered: named rules, each finding as data. Pure.

Three policies say how grave a broken rule is. What makes a workflow impossible to run is an error under each of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from releases.workflow import Risk, Task, Workflow, followers

MOST_CYCLES = 10
"""Cycles that are named in one answer; the rest shows once these are gone."""
MOST_STEPS = 1_000_000
"""Steps along dependencies that one check may take (about half a second): a bound on what a spec can cost."""


class Severity(StrEnum):
    """An error keeps a version out; a warning is told."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule. `path` is where in the spec, `tasks` who takes part in it."""

    rule: str
    severity: Severity
    message: str
    tasks: tuple[str, ...]
    path: str


Told = Iterator[tuple[str, tuple[str, ...], str]]
"""Message, tasks, path."""


def duplicate_id(workflow: Workflow) -> Told:
    """Each task has an id of its own."""
    known: set[str] = set()
    for position, task in enumerate(workflow.tasks):
        if task.id in known:
            yield f"{task.id!r} is used twice", (task.id,), f"tasks[{position}].id"
        known.add(task.id)


def unknown_dependency(workflow: Workflow) -> Told:
    """What a task names is there, and what a decision picks follows it."""
    known = {task.id for task in workflow.tasks}
    after = {name: set(names) for name, names in followers(workflow.tasks).items()}
    for position, task in enumerate(workflow.tasks):
        path = f"tasks[{position}]"
        named = (
            *((name, f"{path}.dependsOn") for name in task.depends_on),
            (task.on_failure, f"{path}.compensation.onFailure"),
            (task.on_timeout, f"{path}.compensation.onTimeout"),
            *((name, f"{path}.approvedFollowers") for name in task.approved_followers),
        )
        for name, where in named:
            if name and name not in known:
                yield f"names the task {name!r}, which does not exist", (task.id, name), where
        for name in sorted(task.picks - after.get(task.id, set())):
            yield f"picks the task {name!r}, which does not depend on it", (task.id, name), f"{path}.branches"


def depends_on_compensation(workflow: Workflow) -> Told:
    """A task that takes back what another did has no place in the way forward."""
    apart = workflow.compensations
    for position, task in enumerate(workflow.tasks):
        path = f"tasks[{position}]"
        if task.id in (task.on_failure, task.on_timeout):
            yield "is its own compensation: name another task", (task.id,), f"{path}.compensation"
        for name in task.depends_on:
            if name in apart and task.id not in apart:
                message = f"depends on {name!r}, which runs only as a compensation"
                yield message, (task.id, name), f"{path}.dependsOn"


def no_cycles(workflow: Workflow) -> Told:
    """No task waits for itself, by whatever way."""
    for cycle in _cycles(workflow.tasks):
        shown = cycle if len(cycle) <= 12 else (*cycle[:6], "…", *cycle[-5:])
        yield f"these tasks wait for each other in a circle: {' -> '.join(shown)}", cycle[:-1], "tasks"


def require_permissions_for_high_risk(workflow: Workflow) -> Told:
    """A HIGH or CRITICAL task says which permissions it takes."""
    for position, task in enumerate(workflow.tasks):
        if task.risk in (Risk.HIGH, Risk.CRITICAL) and not task.permissions:
            message = f"{task.id!r} is {task.risk} and names no permission: add requiredPermissions"
            yield message, (task.id,), f"tasks[{position}].requiredPermissions"


def require_compensation_for_critical(workflow: Workflow) -> Told:
    """What a CRITICAL task does can be taken back."""
    for position, task in enumerate(workflow.tasks):
        if task.risk is Risk.CRITICAL and not task.undoable:
            message = f"{task.id!r} is CRITICAL and cannot be taken back: add compensationAction or compensation"
            yield message, (task.id,), f"tasks[{position}].compensation"


def no_action_after_critical_without_approval(workflow: Workflow) -> Told:
    """After a CRITICAL task nothing acts that was neither approved for it nor can itself be taken back.

    Followed are all who come after it, directly or not. A way ends at the first task that is among its
    `approvedFollowers` or has a compensation of its own. Decisions and parallel tasks without a tool do nothing:
    they are passed through.
    """
    tasks = {task.id: task for task in workflow.forward}
    after, left = followers(workflow.forward), MOST_STEPS
    for position, task in enumerate(workflow.tasks):
        if task.risk is not Risk.CRITICAL or task.id not in tasks:
            continue
        found, steps = _uncovered(task, tasks, after, left)
        left -= steps
        if left < 0:
            yield "has too many tasks after CRITICAL ones to be checked: split the workflow", (task.id,), "tasks"
            return
        if found:
            message = (
                f"after {task.id!r}, which is CRITICAL, {_listed(found)} would act: name them in its "
                "approvedFollowers, or give each a compensation"
            )
            yield message, (task.id, *found), f"tasks[{position}].approvedFollowers"


Rule = Callable[[Workflow], Told]
STRUCTURE: tuple[Rule, ...] = (duplicate_id, unknown_dependency, depends_on_compensation, no_cycles)
"""Without these a workflow cannot be run at all."""
SAFETY: tuple[Rule, ...] = (
    require_permissions_for_high_risk,
    require_compensation_for_critical,
    no_action_after_critical_without_approval,
)
POLICIES: Mapping[str, Mapping[Rule, Severity]] = {
    "permissive": {},
    "default": {
        require_permissions_for_high_risk: Severity.ERROR,
        require_compensation_for_critical: Severity.WARNING,
        no_action_after_critical_without_approval: Severity.ERROR,
    },
    "strict": dict.fromkeys(SAFETY, Severity.ERROR),
}


def check(workflow: Workflow, policy: str) -> tuple[Finding, ...]:
    """Every finding of a policy, what cannot run first. Raises KeyError for a policy that is none of POLICIES."""
    grave = POLICIES[policy]
    return (
        *structure(workflow),
        *(one for rule in SAFETY if rule in grave for one in _told(rule, grave[rule], workflow)),
    )


def structure(workflow: Workflow) -> tuple[Finding, ...]:
    """What keeps the workflow from being run."""
    return tuple(one for rule in STRUCTURE for one in _told(rule, Severity.ERROR, workflow))


def _told(rule: Rule, severity: Severity, workflow: Workflow) -> Iterator[Finding]:
    for message, tasks, path in rule(workflow):
        yield Finding(rule.__name__, severity, message, tasks, path)


def _uncovered(
    critical: Task, tasks: Mapping[str, Task], after: Mapping[str, Sequence[str]], most: int
) -> tuple[list[str], int]:
    """The tasks that would act after this one, and how many steps it took to find them."""
    approved, seen, found, steps = set(critical.approved_followers), {critical.id}, [], 0
    waiting = [critical.id]
    while waiting and steps <= most:
        for name in after.get(waiting.pop(), ()):
            steps += 1
            if name in seen or name in approved or tasks[name].undoable:
                continue
            seen.add(name)
            waiting.append(name)
            if tasks[name].acts:
                found.append(name)
    return sorted(found), steps


def _cycles(tasks: Sequence[Task]) -> Iterator[tuple[str, ...]]:
    """Cycles as ids, the first one again at the end. Three colours: unseen, on the way, done."""
    needs = {task.id: task.depends_on for task in tasks}
    done: set[str] = set()
    count = 0
    for start in needs:
        way: dict[str, Iterator[str]] = {}
        if start not in done:
            way[start] = iter(needs[start])
        while way and count < MOST_CYCLES:
            here = next(reversed(way))
            name = next(way[here], None)
            if name is None:
                done.add(here)
                del way[here]
            elif name in way:
                names = list(way)
                # What a task needs comes before it: read backwards, the arrow says what runs first.
                yield (name, *reversed(names[names.index(name) :]))
                count += 1
            elif name in needs and name not in done:
                way[name] = iter(needs[name])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
