"""How a deployment ends and how a rollback begins, as `deployments.lifecycle.ending` plays it."""

from __future__ import annotations

from collections.abc import Iterable

from deployments.engine import decide as core
from deployments.engine.facts import Target
from deployments.engine.status import Outcome, Status, StepStatus, TargetState, may_move
from deployments.engine.way_back import way_back
from tests.engine.simulator import planning, windows
from tests.engine.simulator.rows import NO_START, Row, replace
from tests.engine.simulator.wakes import due, hint
from tests.engine.simulator.world import Violation, World


def move(world: World, row: Row, status: Status) -> None:
    """The one writer of a status; the event is written with it."""
    if not may_move(row.status, status):
        raise Violation(f"9: {row.id}: {row.status} -> {status}")
    world.news.moves.append((row, row.status, status))
    row.status = status
    if "event with its status" in world.defences or not world.strikes("worker died before the effect"):
        world.memory.said[row.id] = status
    world.say(row, status.value)
    if status is Status.IN_PROGRESS:
        if world.active is not None:
            raise Violation(f"two active deployments: {world.active.id}, {row.id}")
        world.active = row
    elif world.active is row:
        world.active = None


def finish(world: World, row: Row, action: core.Finish) -> Row | None:
    """End it as decided; the rollback that this begins, where one does."""
    undone = action.roll_back and not over_schema(world, row) and may_go_back(world, row)
    if not undone:
        owe(world, row, core.left_behind(row.facts(NO_START)), action.why)
    for step in list(row.steps.values()):
        if step.status is not StepStatus.FAILED:
            row.past[step.id] = replace(row.steps.pop(step.id), status=StepStatus.SKIPPED, lease_until=None, held=False)
    row.paused, row.wake_at, row.outcome, row.reason = "", None, action.outcome, action.why
    if action.status is Status.DEPLOYED:
        world.deployed += 1
        row.deployed = world.deployed
    move(world, row, action.status)
    for other in world.waiting():
        due(world, other, world.now)
        hint(world, other)
    _record(world, row)
    if action.status is Status.DEPLOYED:
        if row.reverts is not None and row.reverts.status is Status.DEPLOYED:
            move(world, row.reverts, Status.ROLLED_BACK)
        windows.open_after(world, row)
    return begin_rollback(world, row) if undone else None


def owe(world: World, row: Row, names: Iterable[str], why: str) -> None:
    """Hosts that could not be brought where they belong: they serve nothing until they were converged."""
    chosen = set(names)
    for name, target in row.targets.items():
        if name in chosen:
            row.targets[name] = replace(target, state=TargetState.OWED, serving=False)
            world.endpoints[name].owed = why or "it was changed and not proven"
            world.say(row, f"{name} owed")


def _record(world: World, row: Row) -> None:
    """What every host of it runs by what was proven; what the undone attempts say of their hosts."""
    for target in row.claimed():
        if target.state is TargetState.ON_TO:
            endpoint = world.endpoints[target.endpoint]
            endpoint.recorded, endpoint.owed = target.to_content, ""
    if row.reverts is None:
        return
    for attempt in world.rows.values():
        if attempt is row.reverts or (attempt.reverts is None and attempt.number >= row.reverts.number):
            _undone(attempt, row)


def _undone(attempt: Row, rollback: Row) -> None:
    for name, target in attempt.targets.items():
        back = rollback.targets.get(name)
        if not target.claimed or back is None or not back.claimed:
            continue
        if back.state is TargetState.ON_TO:
            attempt.targets[name] = replace(target, state=TargetState.ON_BACK)
        elif back.state is TargetState.OWED:
            attempt.targets[name] = replace(target, state=TargetState.OWED)


def covered(world: World, row: Row, also: Row | None = None) -> list[Target]:
    """Every target that was ever claimed, by it, the one beside it, or what completed it later."""
    found: dict[str, Target] = {}
    completed = [r for r in world.rows.values() if r.completes is row]
    for origin in [r for r in (also, row, *completed) if r is not None]:
        for target in origin.claimed():
            if not world.endpoints[target.endpoint].retired and _remembers(world, target):
                found[target.endpoint] = target
    return list(found.values())


def _remembers(world: World, target: Target) -> bool:
    return "every claimed target" in world.defences or target.state is not TargetState.UNTOUCHED


def ways_back(world: World, row: Row, hosts: list[Target], also: Row | None) -> dict[str, str | None]:
    """Where each goes: as planned, unless that was undone or withdrawn since."""
    proven, activated = world.goods(), activations(world, row, also)
    found: dict[str, str | None] = {}
    relieved = planning.left_by(world, row)
    if not relieved <= {t.endpoint for t in hosts}:
        relieved = set()
    for target in hosts:
        own = row.targets.get(target.endpoint)
        back = (own.back_content if own else None) or target.back_content
        good = back if back in proven else way_back(proven, from_content=None, to_content=target.to_content)
        name = target.endpoint
        keeps = name not in activated and (name not in relieved or target.from_content in proven)
        found[target.endpoint] = (target.from_content if keeps else None) or good
    return found


def activations(world: World, row: Row, also: Row | None) -> set[str]:
    """Hosts on which an activation was ever claimed by these."""
    found = set(row.activated) | (also.activated if also else set())
    for other in world.rows.values():
        if other.completes is row:
            found |= other.activated
    return found


def may_go_back(world: World, row: Row) -> bool:
    """Whether some host that it changed has a place to go back to that is good still."""
    return any(ways_back(world, row, covered(world, row), None).values())


def over_schema(world: World, row: Row, also: Row | None = None, to: str | None = None) -> bool:
    """Whether undoing it takes code back over a schema change, on hosts that changed or lost their traffic."""
    if not world.one_way:
        return False
    hosts = covered(world, row, also)
    moved = planning.left_by(world, row) | activations(world, row, also)
    owed = {e.name for e in world.living() if e.owed}
    moved |= {t.endpoint for t in hosts if t.endpoint in owed or (to and t.from_content != to)}
    backs = ways_back(world, row, hosts, also)
    return bool(world.crossed({to or back for name, back in backs.items() if name in moved}))


def begin_rollback(world: World, origin: Row, also: Row | None = None, to: str | None = None) -> Row:
    """A deployment of its own that undoes another, begun at once."""
    hosts = covered(world, origin, also)
    backs = ways_back(world, origin, hosts, also)
    chosen = {name: to or back for name, back in backs.items()}
    named = [content for content in _serving_then(world, origin, chosen) if content]
    version = max(named, key=named.count) if named else origin.version
    row = Row(f"r{len(world.rows)}", version, "rollback", len(world.rows), lane="rollback", reverts=origin)
    world.rows[row.id] = row
    planning.undoing(world, row, hosts, chosen, activations(world, origin, also))
    windows.close_for(world, origin)
    world.memory.said[row.id] = Status.PENDING
    world.news.rollbacks.append(row)
    world.news.undoes.append((row, [r for r in (origin, also) if r is not None]))
    if "rollback begun at once" in world.defences or not world.freezes:
        move(world, row, Status.IN_PROGRESS)
    due(world, row, world.now)
    hint(world, row)
    return row


def _serving_then(world: World, origin: Row, to: dict[str, str | None]) -> list[str | None]:
    if not world.sides:
        return list(to.values())
    left = planning.served_by(world, origin)
    return [to.get(e.name, e.recorded) for e in world.living() if e.name not in left]


def make_room(world: World, row: Row, why: str) -> None:
    """End what is under way: a rollback takes its place."""
    finish(world, row, core.Finish(Status.FAILED, why, Outcome.SUPERSEDED))


def undo(world: World, row: Row, why: str) -> Row | None:
    """The automatic rollback of what was deployed; None where it has no way back."""
    beside = world.active
    if over_schema(world, row, beside) or not may_go_back(world, row) or (beside is not None and beside.is_rollback):
        return None
    if beside is not None:
        make_room(world, beside, why)
    return begin_rollback(world, row, beside)
