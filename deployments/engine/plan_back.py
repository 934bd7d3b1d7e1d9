"""The way back as stages: what a rollback and a convergence do. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from deployments.engine.facts import OnFailure
from deployments.engine.stages import PATIENCE, PlannedStage, PlannedStep, Site, each, like, part_stages
from deployments.engine.strategies import Part

LOOK = "look at every changed host"
"""The name of the stages before which nothing is done to a changed host."""


def plan_rollback(
    site: Site,
    claimed: Sequence[str],
    *,
    untouched_serve: bool,
    keep: int = 1,
    kept: Sequence[str] = (),
    resting: Collection[str] = (),
    never_changed: Sequence[str] = (),
) -> tuple[PlannedStage, ...]:
    """The stages that undo a deployment on every host whose activation was ever claimed.

    Traffic moves first, to the side that is proven healthy at that moment. Where hosts of the other side serve, all
    changed hosts go back together; where none does, one host leads, so that somebody always serves, and the others
    follow in two halves, so that they get back even where the first did not. Those that serve nothing come first.

    kept: claimed hosts that were only taken out of the balancer and run what they ran. Traffic may have moved to just
    them: they are proven and put back in, and not taken out again. resting: of two sides the one that is to have no
    traffic, claimed or not; the other is started where it rested too long, and all traffic is switched to it.

    never_changed: hosts on which no activation was ever claimed, so that nothing has to be ended there before they are
    believed. Those of them that prove healthy get all traffic before any changed host is looked at: one that answers
    errors and cannot be reached by us must not go on serving for as long as we try.
    """
    guard = PlannedStage(
        "", (), lane="rollback", max_failures=len(claimed), on_failure=OnFailure.GO_ON, patience=PATIENCE
    )
    stages = []
    if site.balanced and never_changed:
        at_once = PlannedStep("shift", input={"endpoints": list(never_changed)})
        # What cannot be moved now is tried again with all patience, once the hosts were looked at.
        stages.append(replace(guard, name="traffic away from what changed", steps=(at_once,), patience=0.0))
    looks = [each("look", names, guard, 2 * PATIENCE) for names in _one_per_host(site, claimed)]
    stages += [like(stage, LOOK, stage.steps) for stage in looks]
    if site.balanced:
        shift = PlannedStep("shift", within=2 * PATIENCE)
        stages.append(like(guard, "traffic to the healthy side", (shift,)))
    if kept:
        part = Part(tuple(kept))
        if resting:
            part = replace(part, resting=True, arrived=tuple(kept), replaces=tuple(sorted(resting)))
        stages += part_stages(site, part, "never changed", guard, within=2 * PATIENCE, out=True)
    changed = tuple(name for name in claimed if name not in kept)
    floor = 0 if len(site.endpoints) == 1 else keep
    for label, group in _groups(tuple(name for name in changed if name not in resting), untouched_serve):
        stages += part_stages(site, Part(group, floor), label, guard, within=2 * PATIENCE)
    if rests := tuple(name for name in changed if name in resting):
        stages += part_stages(site, Part(rests, floor, retires=True), "back to rest", guard, within=2 * PATIENCE)
    return tuple(stages)


def _one_per_host(site: Site, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Two sides may share their hosts, and a host has one fence: they are looked at one after the other."""
    sides = dict.fromkeys(site.sides.get(name, "") for name in names)
    return [tuple(name for name in names if site.sides.get(name, "") == side) for side in sides]


def _groups(claimed: tuple[str, ...], untouched_serve: bool) -> list[tuple[str, tuple[str, ...]]]:
    if untouched_serve or len(claimed) == 1:
        return [("back", claimed)] if claimed else []
    half = 1 + len(claimed) // 2
    parts = (("the first host back", claimed[:1]), ("half back", claimed[1:half]), ("the others back", claimed[half:]))
    return [(label, group) for label, group in parts if group]
