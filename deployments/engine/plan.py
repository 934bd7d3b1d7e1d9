"""Installation, version and strategy in; the ordered stages and steps out, and the hash that people approve."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deployments.engine.facts import OnFailure
from deployments.engine.strategies import Fleet, Options, Part, parts_of

PATIENCE = 600.0
"""Seconds after which a host that stays out of reach is owed and a rollback ends without it (design section 4)."""

QUICK, HEALTHY_WITHIN, DRAIN_WITHIN, TRANSFER_WITHIN = 120.0, 120.0, 60.0, 1800.0
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
    strategy orders hosts by.
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

    @property
    def fleet(self) -> Fleet:
        """What a strategy has to know."""
        return Fleet(self.endpoints, self.zones, self.sick, self.owed, self.balanced)


def plan(site: Site, strategy: str, options: Options) -> tuple[PlannedStage, ...]:
    """The stages of a forward deployment. Raises strategies.Unfit."""
    parts = parts_of(strategy, site.fleet, options)
    borne = options.max_failures
    stages = [
        _each("check", site.endpoints, PlannedStage("check every host", (), max_failures=borne)),
        _prepare(site, borne),
        *(_once(kind, site) for kind in site.once),
    ]
    for number, part in enumerate(parts, start=1):
        # Hosts that may fail, and those that never served, are not demanded; but never is the last one taken out.
        floor = max(1, part.min_serving - borne - site.idle) if part.min_serving else 0
        guard = PlannedStage(_label(part, number, len(parts)), (), max_failures=borne)
        stages += _part(site, replace(part, min_serving=floor), guard.name, guard)
    if site.smoke:
        stages.append(PlannedStage("smoke tests", (PlannedStep("smoke"),), lane="watch"))
    return tuple(stages)


def _label(part: Part, number: int, parts: int) -> str:
    if part.weight is not None:
        return f"{part.weight} % of the traffic"
    return f"batch {number} of {parts}" if parts > 1 else "all hosts"


def plan_rollback(
    site: Site, claimed: Sequence[str], *, untouched_serve: bool, keep: int = 1, kept: Sequence[str] = ()
) -> tuple[PlannedStage, ...]:
    """The stages that undo a deployment on every host whose activation was ever claimed.

    Traffic moves first, to the side that is proven healthy at that moment. Where hosts of the other side serve, all
    changed hosts go back together; where none does, one host leads, so that somebody always serves, and the others
    follow in two halves, so that they get back even where the first did not. Those that serve nothing come first.

    kept: claimed hosts that were only taken out of the balancer and run what they ran. Traffic may have moved to just
    them: they are proven and put back in, and not taken out again.
    """
    changed = tuple(name for name in claimed if name not in kept)
    guard = PlannedStage(
        "", (), lane="rollback", max_failures=len(claimed), on_failure=OnFailure.GO_ON, patience=PATIENCE
    )
    stages = [_each("look", claimed, _like(guard, "look at every changed host"), within=2 * PATIENCE)]
    if site.balanced:
        shift = PlannedStep("shift", within=2 * PATIENCE)
        stages.append(_like(guard, "traffic to the healthy side", (shift,)))
    if kept:
        stages += _part(site, Part(tuple(kept)), "never changed", guard, within=2 * PATIENCE, out=True)
    for label, group in _groups(changed, untouched_serve):
        floor = 0 if len(site.endpoints) == 1 else keep
        stages += _part(site, Part(group, floor), label, guard, within=2 * PATIENCE)
    return tuple(stages)


def _groups(claimed: tuple[str, ...], untouched_serve: bool) -> list[tuple[str, tuple[str, ...]]]:
    if untouched_serve or len(claimed) == 1:
        return [("back", claimed)] if claimed else []
    half = 1 + len(claimed) // 2
    parts = (("the first host back", claimed[:1]), ("half back", claimed[1:half]), ("the others back", claimed[half:]))
    return [(label, group) for label, group in parts if group]


def _like(guard: PlannedStage, name: str, steps: tuple[PlannedStep, ...] = (), *, min_serving: int = 0) -> PlannedStage:
    return PlannedStage(
        name, steps, guard.lane, min_serving, guard.max_failures, guard.on_failure, guard.retries, guard.patience
    )


def _each(kind: str, endpoints: Sequence[str], stage: PlannedStage, within: float = QUICK) -> PlannedStage:
    return _like(stage, stage.name, tuple(PlannedStep(kind, name, within=within) for name in endpoints))


def _prepare(site: Site, borne: int) -> PlannedStage:
    steps = tuple(PlannedStep("prepare", name, within=TRANSFER_WITHIN) for name in site.endpoints)
    return PlannedStage("prepare every host", steps, lane="transfer", max_failures=borne)


def _once(kind: str, site: Site) -> PlannedStage:
    """Once per deployment, on one host. A half-done migration is for a person to judge, never for a retry."""
    step = PlannedStep(kind, input={"endpoint": site.endpoints[0]}, within=TRANSFER_WITHIN)
    return PlannedStage(f"{kind} once", (step,), lane="transfer", on_failure=OnFailure.HOLD, retries=0)


def _part(
    site: Site, part: Part, label: str, guard: PlannedStage, within: float = 0.0, *, out: bool = False
) -> list[PlannedStage]:
    """Out, drained, activated, healthy with the expected version, back in, watched. out: they are out already."""
    names = part.endpoints
    stages: list[PlannedStage] = []

    def add(title: str, *steps: PlannedStep, min_serving: int = 0) -> None:
        stages.append(_like(guard, f"{label}: {title}", steps, min_serving=min_serving))

    group: dict[str, Any] = {"endpoints": list(names)}
    # Only a batch that leaves somebody behind can be taken out; the last serving host never is.
    if out or (names and site.balanced and len(names) < len(site.endpoints)):
        if not out:
            leaving = group if part.weight is None else {**group, "share": part.before}
            take_out = PlannedStep("take_out", removes=names, input=leaving, within=within or QUICK)
            add("out of the balancer", take_out, min_serving=part.min_serving)
            add("drained", PlannedStep("drain", input=group, within=within or site.drain_within))
        add("activated", *(PlannedStep("activate", name, within=within or QUICK) for name in names))
    elif names:
        restarts = (PlannedStep("activate", name, (name,), within or QUICK) for name in names)
        add("activated", *restarts, min_serving=part.min_serving)
    if names:
        add("healthy", *(PlannedStep("verify", name, within=within or site.healthy_within) for name in names))
    if part.weight is not None:
        coming = {"endpoints": list(part.arrived), "share": part.weight}
        add("given to the new version", PlannedStep("weigh", input=coming, within=within or QUICK))
    elif site.balanced:
        add("back in the balancer", PlannedStep("put_in", input=group, within=within or QUICK))
    return [*stages, *_afterwards(part, label)]


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


def intent(**parts: Any) -> dict[str, Any]:
    """What people approve: version digest, hosts, strategy, tests, policy revision and way back."""
    wanted = {"version", "hosts", "strategy", "options", "tests", "revision", "way_back"}
    if set(parts) != wanted:
        raise ValueError(f"an intent has exactly the parts {', '.join(sorted(wanted))}")
    return parts


def plan_hash(wanted: Mapping[str, Any]) -> str:
    """The sha256 of the canonical JSON of an intent."""
    text = json.dumps(wanted, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
