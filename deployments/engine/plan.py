"""Installation, version and strategy in; the ordered stages and steps out, and the hash that people approve."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from deployments.engine.facts import OnFailure
from deployments.engine.stages import (
    HOOK_WITHIN,
    TRANSFER_WITHIN,
    PlannedStage,
    PlannedStep,
    Site,
    each,
    hook_stages,
    part_stages,
)
from deployments.engine.strategies import Options, Part, parts_of


def plan(site: Site, strategy: str, options: Options) -> tuple[PlannedStage, ...]:
    """The stages of a forward deployment. Raises strategies.Unfit."""
    parts = parts_of(strategy, site.fleet, options)
    borne = options.max_failures
    changing = tuple(name for part in parts for name in part.endpoints)
    everybody = PlannedStage("", (), max_failures=borne)
    prepared = [name for name in site.endpoints if name in changing]
    stages = [
        each("check", site.endpoints, replace(everybody, name="check every host")),
        *_around(site, "before_deployment", changing[0], OnFailure.ROLL_BACK),
        *hook_stages(site, "before_prepare", prepared, everybody),
        _prepare(prepared, borne),
        *hook_stages(site, "after_prepare", prepared, everybody),
        *(_once(kind, changing[0]) for kind in site.once),
    ]
    before = len(stages)
    for number, part in enumerate(parts, start=1):
        # Hosts that may fail, and those that never served, are not demanded; but never is the last one taken out.
        floor = max(1, part.min_serving - borne - site.idle) if part.min_serving else 0
        guard = PlannedStage(_label(part, number, len(parts)), (), max_failures=borne)
        stages += part_stages(site, replace(part, min_serving=floor), guard.name, guard)
    if site.smoke:
        stages.append(PlannedStage("smoke tests", (PlannedStep("smoke"),), lane="watch"))
    if site.one_way:
        # Older code does not go back over what `migrate` has done: a person says what becomes of a failure.
        stages[before:] = [replace(stage, on_failure=OnFailure.HOLD) for stage in stages[before:]]
    return (*stages, *_around(site, "after_deployment", changing[0], OnFailure.GO_ON))


def _around(site: Site, hook: str, name: str, on_failure: OnFailure) -> list[PlannedStage]:
    """Once for the whole deployment, on one host. What fails when all is done is told, and undoes nothing."""
    if hook not in site.hooks:
        return []
    step = PlannedStep("hook", within=HOOK_WITHIN, input={"hook": hook, "endpoint": name})
    return [PlannedStage(hook.replace("_", " "), (step,), on_failure=on_failure)]


def _label(part: Part, number: int, parts: int) -> str:
    if part.weight is not None:
        return f"{part.weight} % of the traffic"
    return f"batch {number} of {parts}" if parts > 1 else "all hosts"


def _prepare(names: Sequence[str], borne: int) -> PlannedStage:
    return each("prepare", names, PlannedStage("prepare every host", (), "transfer", 0, borne), TRANSFER_WITHIN)


def _once(kind: str, name: str) -> PlannedStage:
    """Once per deployment, on one host. A half-done migration is for a person to judge: the host never begins it again
    under the same name, so that a lost worker or a lost answer costs nothing.
    """
    step = PlannedStep(kind, input={"endpoint": name}, within=TRANSFER_WITHIN)
    return PlannedStage(f"{kind} once", (step,), lane="transfer", on_failure=OnFailure.HOLD)


def intent(**parts: Any) -> dict[str, Any]:
    """What people approve: version and configuration digest, hosts, strategy, tests, policy revision, way back, risk.

    one_way: what it does to its data lets the code of before not go back by itself. if_it_fails: where a failure leads.
    """
    wanted = {
        "version", "configuration", "hosts", "strategy", "options", "tests", "revision", "way_back", "risk", "one_way",
        "if_it_fails",
    }  # fmt: skip
    if set(parts) != wanted:
        raise ValueError(f"an intent has exactly the parts {', '.join(sorted(wanted))}")
    return parts


def plan_hash(wanted: Mapping[str, Any]) -> str:
    """The sha256 of the canonical JSON of an intent."""
    text = json.dumps(wanted, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
