"""What people say, refused where `deployments.lifecycle` refuses it; each word returns whether it was heard."""

from __future__ import annotations

from deployments.engine import decide as core
from deployments.engine.facts import Step
from deployments.engine.status import Outcome, Status, StepStatus, TargetState
from deployments.engine.strategies import Unfit
from tests.engine.simulator import planning
from tests.engine.simulator.ending import begin_rollback, finish, make_room, may_go_back, move, over_schema, owe
from tests.engine.simulator.rows import Row, replace
from tests.engine.simulator.wakes import due, hint
from tests.engine.simulator.world import World

PEOPLE = ("bob", "carol", "dave")
STRATEGIES = ("rolling", "rolling", "canary", "canary", "all-at-once")
BETWEEN_SIDES = ("blue-green", "blue-green", "canary")
MOST = 4
"""Forward deployments that people ask for in one world."""


def deploy(world: World) -> bool:
    """Another version, or one that there was before. Where the newest wins, older ones without a yes end here."""
    number = len(world.rows)
    asked = sum(r.reverts is None and r.completes is None for r in world.rows.values())
    if asked > MOST:
        return False
    version = f"1.{number}.0"
    if world.changes_schema and world.apart.random() < 0.5:
        world.one_way.add(version)
    row = Row(f"d{number}", version, world.rng.choice(BETWEEN_SIDES if world.sides else STRATEGIES), number)
    try:
        planning.forward(world, row)
    except Unfit:
        if world.sides:
            return False  # a side has no host left
        row.strategy = "rolling"
        planning.forward(world, row)
    world.rows[row.id] = row
    world.memory.said[row.id] = Status.PENDING
    if world.strikes("version bad under traffic"):
        world.bad.add(version)
    for host in world.hosts.values():
        if world.strikes("version unhealthy on a host"):
            host.sick.add(version)
    _woken(world, row)
    for older in world.waiting() if world.newest_wins else ():
        if older is not row and not older.is_rollback and not any(p == older.plan_hash for p, _ in older.votes):
            finish(world, older, core.Finish(Status.FAILED, f"superseded by {row.id}", Outcome.SUPERSEDED))
    return True


def _woken(world: World, row: Row) -> None:
    due(world, row, world.now)
    hint(world, row)
    world.news.touched.append(row)


def approve(world: World, row: Row, who: str) -> bool:
    """One person's yes to the plan as it is now."""
    if row.is_rollback or row not in world.waiting() or (row.plan_hash, who) in row.votes:
        return False
    row.votes.append((row.plan_hash, who))
    said = sum(plan == row.plan_hash for plan, _ in row.votes)
    if row.status is Status.AWAITING_APPROVAL and said >= world.approvals:
        move(world, row, Status.PENDING)
        _woken(world, row)
    return True


def reject(world: World, row: Row) -> bool:
    """One person's no ends it."""
    if row.is_rollback or row not in world.waiting():
        return False
    finish(world, row, core.Finish(Status.FAILED, "rejected by bob", Outcome.REJECTED))
    return True


def pause(world: World, row: Row) -> bool:
    """No new step starts until somebody resumes."""
    if not row.open or row.is_rollback or row.paused or row.aborting:
        return False
    row.paused = "bob"
    _woken(world, row)
    return True


def resume(world: World, row: Row) -> bool:
    """Go on where it was paused, or with what was held for a person."""
    held = [s for s in row.steps.values() if s.status is StepStatus.PENDING and s.held]
    if not row.open or not (row.paused or held):
        return False
    if not row.paused:
        _release(world, row, held)
    row.paused = ""
    _woken(world, row)
    return True


def retry(world: World, row: Row) -> bool:
    """Run what is held or waits to be tried again at once."""
    waiting = [s for s in row.steps.values() if s.status is StepStatus.PENDING and s.attempts > 0]
    late = [s for s in waiting if s.held or s.failures or s.not_before > world.moment]
    if not row.open or not late:
        return False
    _release(world, row, late)
    _woken(world, row)
    return True


def _release(world: World, row: Row, steps: list[Step]) -> None:
    for step in steps:
        world.memory.released[step.id] += 1
        if step.kind == "watch" and step.held and row.windows[step.id].closed == "fail":
            del row.windows[step.id]
        row.asked.add(step.id)
        row.steps[step.id] = replace(
            step, held=False, not_before=world.moment, deadline_at=None, failures=0, failing_since=None
        )


def promote_full(world: World, row: Row) -> bool:
    """Go on to the end without waiting on the way."""
    left = [
        s for s in row.steps.values() if s.kind in ("watch", "confirm", "rest") and s.status is not StepStatus.FAILED
    ]
    if row.status is not Status.IN_PROGRESS or row.aborting or not left:
        return False
    for step in left:
        if (window := row.windows.get(step.id)) is not None:
            window.closed = window.closed or "superseded"
        row.past[step.id] = replace(row.steps.pop(step.id), status=StepStatus.SKIPPED, held=False, lease_until=None)
    _woken(world, row)
    return True


def abort(world: World, row: Row) -> bool:
    """Stop, and by policy go back."""
    left = any(s.status is not StepStatus.FAILED for s in row.steps.values())
    if not row.open or row.is_rollback or row.aborting or (row.status is Status.IN_PROGRESS and not left):
        return False
    row.aborting, row.paused = "aborted by bob", ""
    _woken(world, row)
    return True


def abandon(world: World, row: Row) -> bool:
    """End anything, now."""
    if not row.open:
        return False
    finish(world, row, core.Finish(Status.FAILED, "abandoned by bob", Outcome.ABANDONED))
    return True


def exclude(world: World, row: Row) -> bool:
    """Go on without a host: it is owed, and nothing more of this deployment begins on it."""
    if row.status is not Status.IN_PROGRESS or row.aborting:
        return False
    name = world.rng.choice(list(row.targets))
    target = row.targets[name]
    others = [t for t in row.targets.values() if t is not target and t.state is not TargetState.OWED]
    if target.state is TargetState.OWED or (target.state is TargetState.ON_TO and target.serving):
        return False
    if not target.claimed and (row.is_rollback or row.completes is not None):
        return False
    if target.serving and not any(t.serving for t in others):
        return False
    if not any(t.claimed or not row.is_rollback for t in others):
        return False
    row.targets[name] = replace(target, claimed=True)
    world.memory.touched.setdefault(row.id, {})[name] = None
    owe(world, row, [name], "excluded by bob")
    for step in list(row.steps.values()):
        if step.status is StepStatus.PENDING and step.target == name:
            row.past[step.id] = replace(row.steps.pop(step.id), status=StepStatus.SKIPPED, held=False)
    row.stages = tuple(replace(s, min_serving=s.min_serving - 1) if s.min_serving > 1 else s for s in row.stages)
    guards = world.memory.guards[row.id]
    world.memory.guards[row.id] = {n: g - 1 if g > 1 else g for n, g in guards.items()}
    _woken(world, row)
    return True


def roll_back(world: World, row: Row) -> bool:
    """Undo it. Never held by gates, freezes, approvals or a queue; what is under way makes room."""
    known = [r for r in world.rows.values() if r.reverts is row and (r.open or r.status is Status.DEPLOYED)]
    if known or row.completes is not None:
        return False
    beside = world.active if world.active is not row else None
    active = row if world.active is row else beside
    if active is not None and active.is_rollback:
        return False
    if row not in (world.current(), active) or not world.living():
        return False
    to: str | None = None
    if row.status is Status.IN_PROGRESS and not row.claimed():
        return False
    if row.status is not Status.IN_PROGRESS or not may_go_back(world, row):
        to = next((c for c in world.goods() if c != row.version), None)
        if to is None:
            return False
    over = over_schema(world, row, beside, to)
    if over and world.apart.random() < 0.5:
        return False  # refused, and nobody says that it may
    if active is not None:
        make_room(world, active, "a rollback took its place")
    begun = begin_rollback(world, row, beside, to)
    if over or "one-way schema" not in world.defences:
        world.memory.accepted.add(begun.id)
    if begun.status is not Status.IN_PROGRESS:
        world.news.refused.append(f"{begun.id} was not begun at once")
    return True


def converge(world: World) -> bool:
    """Bring what is owed or astray, and was reached, where the current deployment belongs."""
    current = world.current()
    if world.held or world.active is not None or current is None or current.version in world.withdrawn:
        return False
    kept = [t for t in current.targets.values() if t.to_content and (current.is_rollback or t.resting)]
    own = {t.endpoint: t.to_content for t in kept}
    where = {e.name: own.get(e.name, current.version) for e in world.living()}
    reached = [e for e in world.living() if world.hosts[e.name].away_until <= world.now]
    astray = [e.name for e in reached if e.owed or not e.recorded == world.hosts[e.name].link == where[e.name]]
    if not astray:
        return False
    over = world.one_way and world.crossed({where[n] for n in astray if world.hosts[n].link != where[n]})
    if over and world.apart.random() < 0.5:
        return False
    number = len(world.rows)
    row = Row(f"c{number}", current.version, "converge", number, lane="rollback", completes=current)
    world.rows[row.id] = row
    if over or "one-way schema" not in world.defences:
        world.memory.accepted.add(row.id)
    planning.converging(world, row, where, astray)
    world.memory.said[row.id] = Status.PENDING
    move(world, row, Status.IN_PROGRESS)
    _woken(world, row)
    return True


def edit(world: World) -> bool:
    """The environment or the installation: its revision rises, and who waits looks again."""
    rng = world.rng
    world.revision += 1
    world.options = world.some_options()
    if rng.random() < 0.2:
        world.approvals = rng.choice((0, 1, 2))
    wake_all_waiting(world)
    return True


def wake_all_waiting(world: World) -> None:
    """What was edited may be what they wait for."""
    for row in world.waiting():
        _woken(world, row)


def withdraw(world: World) -> bool:
    """A version must not be used any more."""
    version = world.rng.choice([r.version for r in world.rows.values()])
    if version in world.withdrawn or version == "1.0.0":
        return False
    world.withdrawn.add(version)
    return True


def retire(world: World) -> bool:
    """A host leaves: not while something runs, and not the last one that serves."""
    chosen = world.rng.choice(world.living())
    left = [e for e in world.living() if e is not chosen]
    if world.active is not None or not left or not any(e.serving for e in left):
        return False
    chosen.retired, chosen.serving = True, False
    world.balancer.wanted.pop(chosen.name, None)
    world.balancer.weights[chosen.name] = 0
    world.revision += 1
    wake_all_waiting(world)
    return True


def freeze(world: World) -> bool:
    """A period in which no deployment starts."""
    world.freezes.append((world.now, world.now + world.rng.choice((2_000, 10_000, 60_000))))
    return True


def hold(world: World) -> bool:
    """Hold the installation, or let it go."""
    world.held = "" if world.held else "held by bob"
    if not world.held:
        wake_all_waiting(world)
    return True
