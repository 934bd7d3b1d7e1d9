"""Plans as rows, as `deployments.lifecycle.rows` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from deployments.engine import plan as engine
from deployments.engine.facts import Stage, Step, Target
from deployments.engine.plan_back import LOOK, plan_rollback
from deployments.engine.stages import PlannedStage, Site
from deployments.engine.status import TargetState
from tests.engine.simulator.rows import Row
from tests.engine.simulator.world import World


def site(world: World, idle: int = 0) -> Site:
    """What of the installation a plan depends on."""
    names = tuple(e.name for e in world.living())
    owed = tuple(e.name for e in world.living() if e.owed)
    serving = tuple(e.name for e in world.living() if e.serving)
    sides = {name: world.sides[name] for name in names if name in world.sides}
    commands = (world.balanced, world.smoke, world.once, 20.0, 20.0, idle)
    return Site(names, *commands, owed=owed, sides=sides, serving=serving, hooks=world.hooks)


def write(world: World, row: Row, stages: Sequence[PlannedStage], targets: list[Target]) -> None:
    """Store a plan, in place of the one there was."""
    row.plans += 1
    guarded = "serving guard" in world.defences
    row.stages = tuple(
        Stage(n, s.name, s.lane, s.min_serving if guarded else 0, s.max_failures, s.on_failure, s.retries, s.patience)
        for n, s in enumerate(stages)
    )
    row.steps, row.planned = {}, {}
    for n, stage in enumerate(stages):
        for i, planned in enumerate(stage.steps):
            name = f"{row.id}.{row.plans}.{n}.{i}"
            row.steps[name] = Step(name, n, planned.kind, planned.target, planned.removes)
            row.planned[name] = planned
    row.targets = {t.endpoint: t for t in targets}
    world.memory.guards[row.id] = {n: s.min_serving for n, s in enumerate(stages)}


def forward(world: World, row: Row) -> None:
    """The plan of a forward deployment for the revision that holds now. Raises strategies.Unfit."""
    living = world.living()
    row.one_way = row.version in world.one_way and "one-way schema" in world.defences
    here = replace(site(world, sum(not e.serving for e in living)), one_way=row.one_way)
    stages = engine.plan(here, row.strategy, world.options)
    changing = {p.target for s in stages for p in s.steps if p.kind == "activate"}
    targets = [
        Target(
            e.name,
            row.version if e.name in changing else e.recorded or "",
            e.recorded,
            world.back_for(e.recorded, row.version),
            serving=e.serving,
            resting=e.name not in changing,
        )
        for e in living
    ]
    row.revision = world.revision
    wanted = engine.intent(
        version=row.version,
        configuration="",
        hosts=[e.name for e in living],
        strategy=row.strategy,
        options=asdict(world.options),
        tests=world.smoke,
        revision=world.revision,
        way_back={t.endpoint: t.back_content for t in targets},
        risk="low",
        one_way=row.one_way,
        if_it_fails="",
    )
    row.plan_hash = engine.plan_hash(wanted)
    write(world, row, stages, targets)


def undoing(world: World, rollback: Row, covered: list[Target], to: dict[str, str | None], activated: set[str]) -> None:
    """The plan that brings every covered host where it goes back to; hosts outside only count as serving."""
    names = [t.endpoint for t in sorted(covered, key=lambda t: t.serving)]
    by_name = {t.endpoint: t for t in covered}
    untouched = any(e.serving and e.name not in by_name for e in world.living())
    origin = rollback.reverts
    leaves = served_by(world, origin) if world.sides and origin else set()
    rests = [n for n in names if n in leaves]
    kept = [n for n in names if world.balanced and n not in (rests if world.sides else activated)]
    never = [e.name for e in world.living() if e.name not in leaves and e.name not in activated]
    plan = plan_rollback(
        site(world), names, untouched_serve=untouched, kept=kept, resting=sorted(leaves), never_changed=never
    )
    stages = plan if names else ()
    if "look before change" not in world.defences:
        stages = tuple(stage for stage in stages if stage.name != LOOK)
    targets = []
    for e in world.living():
        known = by_name.get(e.name)
        if known is None:
            rest = e.name in leaves
            targets.append(Target(e.name, e.recorded or "", e.recorded, serving=e.serving, resting=rest))
        else:
            to_content = to[e.name] or ""
            targets.append(_astray(e.name, to_content, known.from_content, None, known.serving, e.name in leaves))
    write(world, rollback, stages, targets)


def served_by(world: World, row: Row) -> set[str]:
    """Of two sides the living endpoints that a deployment gave the traffic to, or was about to."""
    return {e.name for e in world.living() if e.name in row.targets and not row.targets[e.name].resting}


def left_by(world: World, row: Row) -> set[str]:
    """Of two sides the living endpoints that a deployment left without traffic, or was about to."""
    return {e.name for e in world.living() if e.name in row.targets and row.targets[e.name].resting}


def converging(world: World, row: Row, where: dict[str, str], names: list[str]) -> None:
    """The plan that brings single hosts where the current deployment belongs."""
    living = world.living()
    assert row.completes is not None
    resting = left_by(world, row.completes)
    idle = [e.name for e in living if world.sides and not (e.serving or e.name in resting or e.name in names)]
    names = [*names, *idle]
    others = any(e.serving and e.name not in names for e in living)
    astray = [e.name for e in sorted(living, key=lambda e: e.serving) if e.name in names]
    stages = plan_rollback(site(world), astray, untouched_serve=others, kept=idle, resting=resting)
    targets = []
    for e in living:
        to, back = where[e.name], world.back_for(None, where[e.name])
        rests = e.name in resting
        fresh = Target(e.name, to, e.recorded, back, serving=e.serving, resting=rests)
        targets.append(_astray(e.name, to, e.recorded, back, e.serving, rests) if e.name in names else fresh)
    write(world, row, stages, targets)


def _astray(name: str, to: str, came: str | None, back: str | None, serving: bool, rests: bool) -> Target:
    return Target(name, to, came, back, True, serving, TargetState.CHANGED, rests)
