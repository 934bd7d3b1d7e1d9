"""Stages and steps as they are planned, and what a part of a deployment comes to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deployments.engine.facts import OnFailure
from deployments.engine.strategies import Fleet, Part

PATIENCE = 600.0
"""Seconds after which a host that stays out of reach is owed and a rollback ends without it (design section 4)."""

QUICK, HEALTHY_WITHIN, DRAIN_WITHIN, TRANSFER_WITHIN = 120.0, 120.0, 60.0, 1800.0
HOOK_WITHIN = 300.0
"""Seconds that a hook may take; in a rollback no longer than a restart."""
DAY = 86_400.0
FOR_PEOPLE = 365 * DAY
"""Seconds that a step waits for a person: it is for people to end it, and it is watched meanwhile."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step. `within` is seconds from its first claim to its deadline."""

    kind: str
    target: str | None = None
    removes: tuple[str, ...] = ()
    within: float = QUICK
    input: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """Steps side by side, with the guards of facts.Stage."""

    name: str
    steps: tuple[PlannedStep, ...]
    lane: str = "deploy"
    min_serving: int = 0
    max_failures: int = 0
    on_failure: OnFailure = OnFailure.ROLL_BACK
    retries: int = 2
    patience: float = 0.0


@dataclass(frozen=True, slots=True)
class Site:
    """What of an installation the plan depends on.

    balanced: a balancer stands in front. smoke: the declared tests run on production after the last batch.
    once: commands run once on one host between prepare and activate, by kind (backup, migrate).
    idle: hosts that serve nothing yet: they cannot be counted on while others are out. zones, sick, owed: what a
    strategy orders hosts by. sides, serving: the slot of each endpoint where there are two sides, and who has traffic.
    hooks: those of HOOKS that are declared. one_way: what `migrate` does leaves no way back to the code of before.
    """

    endpoints: tuple[str, ...]
    balanced: bool = False
    smoke: bool = False
    once: tuple[str, ...] = ()
    healthy_within: float = HEALTHY_WITHIN
    drain_within: float = DRAIN_WITHIN
    idle: int = 0
    zones: Mapping[str, str] = field(default_factory=dict)
    sick: tuple[str, ...] = ()
    owed: tuple[str, ...] = ()
    sides: Mapping[str, str] = field(default_factory=dict)
    serving: tuple[str, ...] = ()
    hooks: Collection[str] = ()
    one_way: bool = False

    @property
    def fleet(self) -> Fleet:
        """What a strategy has to know."""
        return Fleet(self.endpoints, self.zones, self.sick, self.owed, self.balanced, self.sides, self.serving)


def like(guard: PlannedStage, name: str, steps: tuple[PlannedStep, ...] = (), *, min_serving: int = 0) -> PlannedStage:
    """A stage with the guards of another."""
    return PlannedStage(
        name, steps, guard.lane, min_serving, guard.max_failures, guard.on_failure, guard.retries, guard.patience
    )


def each(kind: str, endpoints: Sequence[str], stage: PlannedStage, within: float = QUICK) -> PlannedStage:
    """The same step for each of them, side by side."""
    return like(stage, stage.name, tuple(PlannedStep(kind, name, within=within) for name in endpoints))


HOOKS = tuple(f"{when}_{what}" for what in ("deployment", "prepare", "activate") for when in ("before", "after"))
"""Commands of an installation around a step of each host, and once around the whole."""


def hook_stages(site: Site, hook: str, names: Sequence[str], guard: PlannedStage) -> list[PlannedStage]:
    """The hook on each of these hosts; its failure is the host's. In a rollback it keeps nobody from going back."""
    if hook not in site.hooks or not names:
        return []
    title = hook.replace("_", " ")
    if guard.lane == "rollback":
        # No host of its own, so that its failure makes none owed.
        steps = (PlannedStep("hook", input={"hook": hook, "endpoint": name}) for name in names)
        return [replace(like(guard, title, tuple(steps)), patience=0.0)]
    steps = (PlannedStep("hook", name, within=HOOK_WITHIN, input={"hook": hook}) for name in names)
    return [like(guard, title, tuple(steps))]


def part_stages(
    site: Site, part: Part, label: str, guard: PlannedStage, within: float = 0.0, *, out: bool = False
) -> list[PlannedStage]:
    """Out, drained, activated, healthy with the expected version, back in, watched. out: they are out already."""
    stages = [
        *_changed(site, part, guard, within, out=out or part.resting),
        *_given_traffic(site, part, guard, within),
    ]
    return [*(replace(stage, name=f"{label}: {stage.name}") for stage in stages), *_afterwards(part, label)]


def _changed(site: Site, part: Part, guard: PlannedStage, within: float, *, out: bool) -> list[PlannedStage]:
    names = part.endpoints
    if not names:
        return []
    stages: list[PlannedStage] = []
    group: dict[str, Any] = {"endpoints": list(names)}
    # Only a batch that leaves somebody behind can be taken out; the last serving host never is.
    leaves = not out and site.balanced and len(names) < len(site.endpoints)
    if leaves:
        leaving = group if part.weight is None else {**group, "share": part.before}
        take_out = PlannedStep("take_out", removes=names, input=leaving, within=within or QUICK)
        stages.append(like(guard, "out of the balancer", (take_out,), min_serving=part.min_serving))
        stages.append(_drained(site, names, guard, within))
    stages += hook_stages(site, "before_activate", names, guard)
    in_place = not (out or leaves)
    restarts = tuple(PlannedStep("activate", name, (name,) if in_place else (), within or QUICK) for name in names)
    stages.append(like(guard, "activated", restarts, min_serving=part.min_serving if in_place else 0))
    stages.append(each("verify", names, like(guard, "healthy"), within or site.healthy_within))
    stages += hook_stages(site, "after_activate", names, guard)
    if part.resting and site.smoke and guard.lane == "deploy":
        stages.append(PlannedStage("smoke tests before it serves", (PlannedStep("smoke", input=group),), lane="watch"))
    return stages


def _given_traffic(site: Site, part: Part, guard: PlannedStage, within: float) -> list[PlannedStage]:
    """Traffic for them, or for all of the new version; who is replaced by it answers what it has in hand."""
    if not site.balanced or part.retires:
        return []
    everybody: dict[str, Any] = {"endpoints": list(part.arrived)}
    if part.weight is not None:
        title, step = "given to the new version", PlannedStep("weigh", input={**everybody, "share": part.weight})
    elif part.resting:
        least = max(1, len(part.arrived) - guard.max_failures)
        title, step = "all traffic switched", PlannedStep("switch", input={**everybody, "at_least": least})
    else:
        title, step = "back in the balancer", PlannedStep("put_in", input={"endpoints": list(part.endpoints)})
    stages = [like(guard, title, (replace(step, removes=part.replaces, within=within or QUICK),))]
    return [*stages, _drained(site, part.replaces, guard, within)] if part.replaces else stages


def _drained(site: Site, names: Sequence[str], guard: PlannedStage, within: float) -> PlannedStage:
    drain = PlannedStep("drain", input={"endpoints": list(names)}, within=within or site.drain_within)
    return like(guard, "drained", (drain,))


def _afterwards(part: Part, label: str) -> list[PlannedStage]:
    """What passes before the next part begins: it is watched, a person is waited for, hosts have a rest."""
    stages: list[PlannedStage] = []
    # A weight judges every host of the new version, a batch its own.
    watched = {"endpoints": list(part.endpoints if part.weight is None else part.arrived)}
    if part.bake > 0:
        watch = PlannedStep("watch", input={**watched, "seconds": part.bake}, within=part.bake + DAY)
        stages.append(PlannedStage(f"{label}: watched", (watch,), lane="watch"))
    if part.pause:
        confirm = PlannedStep("confirm", input={**watched, "weight": part.weight}, within=FOR_PEOPLE)
        stages.append(PlannedStage(f"{label}: until a person goes on", (confirm,), lane="watch"))
    if part.rest > 0:
        rest = PlannedStep("rest", input={"seconds": part.rest}, within=part.rest + DAY)
        stages.append(PlannedStage(f"{label}: rest", (rest,), lane="watch"))
    return stages
