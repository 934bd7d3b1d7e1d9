"""Which part of a version's number must go up, by what those who call the workflow notice of the difference. Pure.

The guide: MAJOR for breaking changes to APIs or workflows, MINOR for what is new and compatible, PATCH for bug fixes.
A task that was changed at all is no PATCH; what a caller relied on and may miss is a MAJOR.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from releases import semver
from releases.semver import SemVer
from releases.spec import order
from releases.workflow import Branch, Task, Workflow


class Bump(IntEnum):
    """The part of a number that goes up."""

    PATCH = 1
    MINOR = 2
    MAJOR = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two specs: the task, what became of it, and the least bump that tells callers so."""

    task: str
    said: str
    bump: Bump

    def __str__(self) -> str:
        return f"{self.task} {self.said}"


def changes(old: Workflow, new: Workflow) -> tuple[Change, ...]:
    """What callers of a workflow notice, breaking changes first. Both must be sound (no cycle, known dependencies)."""
    before, now = {task.id: task for task in old.tasks}, {task.id: task for task in new.tasks}
    found = [*_gone(before, now), *_new(before, now), *_ordered(before, now)]
    for name in before.keys() & now.keys():
        found += _changed(before[name], now[name], before.keys())
    return tuple(sorted(found, key=lambda change: (-change.bump, change.task, change.said)))


def least(found: Sequence[Change]) -> Bump:
    """The least bump that is allowed for these changes."""
    return max((change.bump for change in found), default=Bump.PATCH)


def why_not(number: str, before: str, found: Sequence[Change]) -> str:
    """Why a version may not have this number after the one before; "" where it may. Raises semver.NotSemVer.

    Nothing but a newer number is demanded after 0.y.z, where anything may change (SemVer 2.0.0, 4), and after a
    pre-release, which promises nothing (9). The same number is the same version, and no bump.
    """
    new, old = semver.parse(number), semver.parse(before)
    if str(new) == str(old):
        return ""
    if new.precedence <= old.precedence:
        return f"{new} is not newer than {old}: give it a higher one, such as {_next(old, least(found))}."
    needed = least(found)
    if old.major == 0 or old.prerelease or _step(old, new) >= needed:
        return ""
    [first, *more] = [change for change in found if change.bump is needed]
    others = f", and {len(more)} more such changes" if more else ""
    return (
        f"{new} is a {_step(old, new).name} after {old}, but {first}{others}: that is a {needed.name}, so number it "
        f"{_next(old, needed)} or higher."
    )


def _step(old: SemVer, new: SemVer) -> Bump:
    if new.major > old.major:
        return Bump.MAJOR
    return Bump.MINOR if new.minor > old.minor else Bump.PATCH


def _next(old: SemVer, bump: Bump) -> SemVer:
    if old.prerelease:
        return SemVer(old.major, old.minor, old.patch)
    if bump is Bump.MAJOR and old.major:
        return SemVer(old.major + 1, 0, 0)
    if bump is Bump.MINOR and old.major:
        return SemVer(old.major, old.minor + 1, 0)
    return SemVer(old.major, old.minor, old.patch + 1)


def _gone(before: Mapping[str, Task], now: Mapping[str, Task]) -> Iterator[Change]:
    added = [task for name, task in now.items() if name not in before]
    for name, task in before.items():
        if name in now:
            continue
        same = next((one.id for one in added if _alike(task, one)), "")
        yield Change(name, f"was renamed to {same}" if same else "was removed", Bump.MAJOR)


def _alike(one: Task, other: Task) -> bool:
    """The same but for the name, and for those that it waits for, which may have new names too."""
    return replace(other, id=one.id, depends_on=one.depends_on) == one


def _new(before: Mapping[str, Task], now: Mapping[str, Task]) -> Iterator[Change]:
    demanded = {word for task in before.values() for word in task.permissions}
    for name, task in now.items():
        if name in before:
            continue
        yield Change(name, "is new", Bump.MINOR)
        if more := sorted(set(task.permissions) - demanded):
            yield Change(name, f"demands a permission that no task demanded: {', '.join(more)}", Bump.MAJOR)
        if chosen := sorted(task.picks & before.keys()):
            yield Change(name, f"decides whether these run, which always ran: {', '.join(chosen)}", Bump.MAJOR)


def _ordered(before: Mapping[str, Task], now: Mapping[str, Task]) -> Iterator[Change]:
    """What waited for another task and does not any more, not even by way of new ones; and the other way round."""
    both = before.keys() & now.keys()
    if all(before[name].depends_on == now[name].depends_on for name in both):
        return
    bits = {name: 1 << at for at, name in enumerate(both)}
    first, second = _waits(before, bits), _waits(now, bits)
    for name in both:
        for other in both.intersection(before[name].depends_on):
            if not second[name] & bits[other]:
                yield Change(name, f"waits no longer for {other}", Bump.MAJOR)
        for other in both.intersection(now[name].depends_on):
            if not first[name] & bits[other]:
                yield Change(name, f"waits for {other} now", Bump.MINOR)


def _waits(tasks: Mapping[str, Task], bits: Mapping[str, int]) -> dict[str, int]:
    """For each task all that it waits for, directly or not, as bits: sets would be as large as the square of a spec."""
    found: dict[str, int] = {}
    for layer in order(list(tasks.values())):
        for name in layer:
            found[name] = 0
            for other in tasks[name].depends_on:
                found[name] |= found[other] | bits.get(other, 0)
    return found


def _changed(old: Task, new: Task, known: Collection[str]) -> Iterator[Change]:
    broken = dict(_broken(old, new))
    said = [words for name, words in OTHER.items() if name not in broken and getattr(old, name) != getattr(new, name)]
    yield from (Change(old.id, words, Bump.MAJOR) for words in dict.fromkeys(broken.values()))
    yield from (Change(old.id, words, Bump.MINOR) for words in dict.fromkeys(said))
    if (old.branches, old.otherwise) != (new.branches, new.otherwise):
        same = _picks_of(old, known) == _picks_of(new, known)
        bump, words = (Bump.MINOR, "picks among new tasks too") if same else (Bump.MAJOR, "decides otherwise")
        yield Change(old.id, words, bump)


def _broken(old: Task, new: Task) -> Iterator[tuple[str, str]]:
    """What a caller relied on: what the task is, who may call it, that it has its time, and that it is undone."""
    if new.kind is not old.kind:
        yield "kind", f"is of type {new.kind} and was of type {old.kind}"
    if new.tool != old.tool:
        yield "tool", f"calls {new.tool} and called {old.tool}"
    if more := sorted(set(new.permissions) - set(old.permissions)):
        yield "permissions", f"demands the permission {', '.join(more)}"
    if new.timeout_ms < old.timeout_ms:
        yield "timeout_ms", f"has {new.timeout_ms} ms and had {old.timeout_ms} ms"
    if new.retry.attempts < old.retry.attempts:
        yield "retry", f"is tried {new.retry.attempts} times and was tried {old.retry.attempts} times"
    if old.undoable and not new.undoable:
        yield from ((name, "is not undone any more") for name in ("undo", "on_failure"))
    if old.on_timeout and not new.on_timeout:
        yield "on_timeout", "is not undone any more when its time is over"
    if old.idempotency_key and not new.idempotency_key:
        yield "idempotency_key", "lost its idempotency key"


OTHER = {
    "params": "has other parameters",
    "retry": "is tried again otherwise",
    "timeout_ms": "has more time",
    "undo": "is undone otherwise",
    "on_failure": "is undone otherwise",
    "on_timeout": "is undone otherwise when its time is over",
    "idempotency_key": "has another idempotency key",
    "risk": "has another risk tier",
    "permissions": "demands fewer permissions",
    "approved_followers": "has other approved followers",
}
"""Whatever else may become of a task: not broken, and not a fix that nobody notices either."""


def _picks_of(task: Task, known: Collection[str]) -> tuple[list[Branch], frozenset[str]]:
    narrowed = (replace(one, then=tuple(n for n in one.then if n in known)) for one in task.branches)
    return [one for one in narrowed if one.then], frozenset(task.otherwise).intersection(known)
