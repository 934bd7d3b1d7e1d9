"""Effects on the balancer: take out, drain, put in, weigh, switch, and the shift that a rollback begins with.

The desired weights are written down first, under the fence, then made live on every machine of the balancer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import structlog
from django.db.models import Q

from aureus import clock
from deployments.drivers import HostError
from deployments.drivers.traffic import STRUCTURE, Drain, Traffic, TrafficError, wait_drained
from deployments.effects.work import Work
from deployments.engine import weights as desired
from deployments.engine.settle import Answer, Observation, Result, failed, passed, pending
from deployments.engine.status import TargetState
from deployments.models import Endpoint, Installation, Pool, Step, Target
from deployments.outside import address_of, site_of
from health.sources.probe import HealthAnswer

log = structlog.get_logger(__name__)

SLICE = 10.0
"""Seconds of draining watched in one effect."""


def take_out(work: Work) -> Answer:
    """No new request for these hosts. The last serving host is never taken out."""
    group = work.step.input["endpoints"]
    return _move(work, lambda before: desired.taken_out(before, group), group, f"{_list(group)} taken out")


def weigh(work: Work) -> Answer:
    """A canary's share of the traffic for the new version: for all of its hosts, or for nobody where one is sick."""
    there = [work.targets[name] for name in work.step.input["endpoints"]]
    living = [t for t in there if t.state != TargetState.OWED]
    sick = [f"{target.name}: {health.why}" for target, health in _ask(work, living) if not health.healthy]
    if sick:
        return failed(f"no more traffic for the new version: {'; '.join(sick)}", rule="health")
    names = [t.name for t in living]
    if not names:
        return failed("no host runs the new version", permanent=True, rule="health")
    said = f"{work.step.input['share']} % of the traffic for {_list(names)}"
    moved = _move(work, lambda before: desired.put_in(before, names, names), _moved(work), said)
    if work.step.removes:
        _name_live(work, names)
    return moved


def put_in(work: Work) -> Answer:
    """Traffic for those of the batch that prove healthy with their content at this moment."""
    group = [work.targets[name] for name in work.step.input["endpoints"]]
    living = [t for t in group if t.state != TargetState.OWED]
    answers = _ask(work, living)
    proven = [target.name for target, health in answers if health.healthy]
    sick = [f"{target.name}: {health.why}" for target, health in answers if not health.healthy]
    names = [target.name for target in living]
    moved = passed("nobody of this batch is to be put back in", rule="put in")
    if proven:
        moved = _move(work, lambda before: desired.put_in(before, proven, names), names, f"{_list(proven)} put back in")
    if sick and moved.result is Result.PASSED:
        # Who is sick keeps nobody else of the batch out.
        return failed(f"not healthy any more: {'; '.join(sick)}", rule="health", observed=moved.observed)
    return moved


def switch(work: Work) -> Answer:
    """All traffic at once to the side that was prepared, if enough of it proves healthy at this moment."""
    there = [work.targets[name] for name in work.step.input["endpoints"]]
    answers = _ask(work, [t for t in there if t.state != TargetState.OWED])
    proven = [target.name for target, health in answers if health.healthy]
    if len(proven) < work.step.input["at_least"]:
        sick = [f"{target.name}: {health.why}" for target, health in answers if not health.healthy]
        return failed(f"not switched: {'; '.join(sick) or 'no host is left'}", rule="health")
    said = f"all traffic switched to {_list(proven)}"
    moved = _move(work, lambda before: desired.put_in(before, proven, _moved(work)), _moved(work), said)
    _name_live(work, proven)
    return moved


def _moved(work: Work) -> list[str]:
    """Everybody whose traffic a step changes."""
    return [*work.step.input["endpoints"], *work.step.removes]


def _name_live(work: Work, names: Sequence[str]) -> None:
    """Let `current` on these hosts name the slot that has the traffic. It is for people: nothing depends on it."""
    slots = [work.targets[name].endpoint for name in names if work.targets[name].endpoint.slot != Endpoint.MAIN]
    for endpoint in slots:
        try:
            key = f"{work.key}:{endpoint.name}"
            work.outside.hosts.set_live(address_of(endpoint.host), site_of(endpoint), fence=work.fence, key=key)
        except HostError as error:
            log.warning("current was not switched", host=endpoint.name, error=error.sentence)


def shift(work: Work) -> Answer:
    """All traffic to the side that proves healthy now. Where no side does, nothing moves: any move would be a guess.

    Of the hosts that the step names, where it does: the others may be changed still by a worker that is lost.
    """
    # A changed host counts once it was seen to run where it goes back to; the others run what we recorded.
    named = work.step.input.get("endpoints", list(work.targets))
    targets = [t for name, t in work.targets.items() if name in named]
    there = [t for t in targets if t.to_content and not t.resting and t.observed in ("", t.to_content)]
    asked = _ask(work, [t for t in there if t.state != TargetState.OWED])
    proven = [target.name for target, health in asked if health.healthy]
    before = _weights(work.installation)
    # Of two sides the one that is to rest gives its traffic up, even where nothing was changed on it.
    changed = [name for name, target in work.targets.items() if target.claimed_at is not None or target.resting]
    moved = desired.towards(before, proven, changed)
    # What is desired may never have become live.
    if moved is None or (moved == before and all(traffic.verify(moved) for traffic in _nodes(work))):
        why = "no host proves healthy on the old version yet" if moved is None else "traffic is there already"
        return passed(f"nothing to move: {why}", rule="shift")
    return _move(work, lambda _: moved, list(moved), f"all traffic to {_list(proven)}")


def drain(work: Work) -> Answer:
    """Wait until nothing is in flight; unknown is not zero, and a time limit ends in an error."""
    group = [n for n in work.step.input["endpoints"] if work.targets[n].state != TargetState.OWED]
    kept = dict(work.step.output.get("drains", {}))
    for name in group:
        for node, traffic in enumerate(_nodes(work)):
            if not _routes_to(traffic, name):
                continue
            spot = f"{name}@{node}"
            state = Drain.from_row(kept[spot]) if spot in kept else Drain(time.time() + work.policy.drain_within)
            if state.drained:
                continue
            state = wait_drained(traffic, name, state, slice_seconds=SLICE)
            kept[spot] = state.as_row()
            if not state.drained:
                Step.objects.filter(pk=work.step.pk, fence=work.fence).update(output={"drains": kept})
                why = (
                    f"{name} has {state.last if state.last is not None else 'an unknown number of'} requests in flight"
                )
                return pending(why, clock.now() + timedelta(milliseconds=100), rule="drain", output={"drains": kept})
    return passed(f"nothing is in flight on {_list(group)}", rule="drain")


def _routes_to(traffic: Traffic, name: str) -> bool:
    """Whether the balancer knows the endpoint at all: before its first deployment it does not."""
    try:
        return name in traffic.read()
    except TrafficError as error:
        if error.code == "not_ours":
            return False
        raise


def _move(work: Work, change: Callable[[Mapping[str, int]], dict[str, int]], names: Sequence[str], said: str) -> Answer:
    before = _weights(work.installation)
    try:
        wanted = change(before)
    except desired.NobodyLeft as error:
        return failed(str(error), permanent=True, rule="last serving host")
    wanted = _shared(work, desired.without(wanted, _owed(work), before))
    if any(wanted.values()):
        if not _write_down(work, wanted):
            return failed("a later step has moved this balancer's traffic", permanent=True, rule="fence")
        try:
            astray = [told for traffic in _nodes(work) if (told := _make_live(work, traffic, wanted, before))]
        except Exception:
            # What never became live is not what the next change starts from.
            _write_down(work, before)
            raise
        said = "; ".join([said, *dict.fromkeys(astray)])
    seen = tuple(Observation(name, serving=wanted[name] > 0) for name in names if name in wanted)
    return passed(said, observed=seen, rule="weights", output={"weights": wanted})


def _shared(work: Work, wanted: dict[str, int]) -> dict[str, int]:
    """By a canary's share where the step has one."""
    share = work.step.input.get("share")
    if share is None:
        return wanted
    new = [name for name, target in work.targets.items() if target.state == TargetState.ON_TO]
    fleet = [name for name, target in work.targets.items() if target.state != TargetState.OWED]
    return desired.shared(wanted, new, share, len(fleet))


def _owed(work: Work) -> set[str]:
    """Who serves nothing until it was converged; one that an earlier deployment owes, unless this one works on it."""
    targets = work.targets.items()
    return {n for n, t in targets if t.state == TargetState.OWED or (t.endpoint.owed and t.claimed_at is None)}


def _ask(work: Work, targets: Sequence[Target]) -> list[tuple[Target, HealthAnswer]]:
    """Whether each is healthy with its content now, all asked at once: one that hangs holds up nobody else."""
    if not targets:
        return []
    with ThreadPoolExecutor(min(16, len(targets)), thread_name_prefix="ask") as pool:
        return list(zip(targets, pool.map(lambda t: work.health(t.endpoint, t.to_content), targets), strict=True))


BRINGS_IN = frozenset({"put_in", "weigh", "switch"})
"""Kinds of step that give traffic to hosts which had none."""


def _make_live(work: Work, traffic: Traffic, wanted: Mapping[str, int], before: Mapping[str, int]) -> str:
    """Set and verify; what somebody else had made of the weights meanwhile, as a sentence.

    The structure is looked at where hosts come in, where a wrong address would hurt.
    """
    astray = _astray(traffic, before)
    endpoints = {e.name: e.dial for e in _living(work.installation)}
    if work.step.kind in BRINGS_IN:
        traffic.ensure(endpoints, fence=work.fence, initial=wanted)
    try:
        traffic.set_weights(wanted, fence=work.fence)
    except TrafficError as error:
        if error.code not in STRUCTURE:
            raise
        traffic.ensure(endpoints, fence=work.fence, initial=wanted)
        traffic.set_weights(wanted, fence=work.fence)
    if not traffic.verify(wanted):
        raise TrafficError("the balancer does not route by the weights it was given", code="not_live", retry=True)
    return astray


def _astray(traffic: Traffic, desired_before: Mapping[str, int]) -> str:
    """A balancer that does not know us yet, or knows other hosts, is no news: its structure is put right."""
    began = any(desired_before.values())
    try:
        found = traffic.read()
    except TrafficError as error:
        if error.code not in STRUCTURE:
            raise
        return f"it did not route by what we had set: {error.sentence}" if began else ""
    if set(found) != set(desired_before) or not began:
        return ""
    told = [] if found == desired_before else [f"it routed by {_told(found)} before, which is not what we had set"]
    return "; ".join([*told, *(["its file was edited"] if traffic.edited(desired_before) else [])])


def _told(weights: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {weight}" for name, weight in sorted(weights.items()))


def _living(installation: Installation):
    return installation.endpoints.filter(retired=False).select_related("host", "installation")


def _weights(installation: Installation) -> dict[str, int]:
    """The desired weights, an endpoint that never served at 0."""
    pool, _ = Pool.objects.get_or_create(installation=installation)
    return {e.name: pool.weights.get(e.name, 0) for e in _living(installation)}


def _write_down(work: Work, wanted: Mapping[str, int]) -> bool:
    mine = Pool.objects.filter(Q(fence__lte=work.fence), installation=work.installation)
    return mine.update(weights=dict(wanted), fence=work.fence) == 1


def _nodes(work: Work) -> list[Traffic]:
    nodes = work.installation.balancer.nodes.select_related("host__bastion") if work.installation.balancer else []
    return [work.outside.traffic(node, work.installation) for node in nodes]


def _list(names: list[str]) -> str:
    return ", ".join(names) or "nobody"
