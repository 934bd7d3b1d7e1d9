"""What a claimed step does to the machines, as `deployments.effects` does it: one function per kind of step."""

from __future__ import annotations

from collections.abc import Callable

from deployments.engine import weights as traffic
from deployments.engine.facts import Step, Target
from deployments.engine.settle import Answer, Observation, failed, passed, pending
from deployments.engine.status import StepStatus, TargetState
from tests.engine.simulator import windows
from tests.engine.simulator.hosts import Refused, Unreachable
from tests.engine.simulator.rows import Flight, Row
from tests.engine.simulator.world import QUIET_AFTER, World


def effect(world: World, flight: Flight) -> Answer:
    """Whatever goes wrong outside is an answer too."""
    row = flight.row
    step = row.steps.get(flight.step) or row.past[flight.step]
    try:
        if row.aborting and not flight.blind:
            return _stop(world, flight, step)
        if world.strikes("act failed"):
            return failed("the act failed")
        return RUN[step.kind](world, flight, step)
    except Unreachable as error:
        return failed(str(error))
    except Refused as error:
        return failed(str(error), permanent=True)


def _stop(world: World, flight: Flight, step: Step) -> Answer:
    if name := step.target or flight.row.planned[step.id].input.get("endpoint"):
        _change(world, flight, name, "stop")
    return failed(f"stopped: {flight.row.aborting}", over=True)


def _change(world: World, flight: Flight, name: str, verb: str) -> None:
    """Any changing act on a host: the fence is looked at, and the simulator notes whether it should have been."""
    step = flight.row.steps.get(flight.step) or flight.row.past[flight.step]
    lawful = world.hosts[name].act(flight.fence, _key(flight.row, step), world.now)
    world.news.acts.append((flight, name, lawful))
    world.say(flight.row, f"{verb} {name} {flight.fence}")


def _key(row: Row, step: Step) -> str:
    return f"{step.kind}:{step.id}"


def _seen(world: World, name: str) -> Observation:
    host = world.hosts[name]
    host.reach(world.now)
    healthy = host.healthy(host.link, world.now)
    serving = healthy and (world.balancer.wanted.get(name, 0) > 0 if world.balanced else True)
    return Observation(name, True, host.link, healthy, serving)


def check(world: World, flight: Flight, step: Step) -> Answer:
    """Reachable; what runs is noted. Nothing is changed."""
    assert step.target
    return passed(observed=(_seen(world, step.target),))


def look(world: World, flight: Flight, step: Step) -> Answer:
    """Under a new fence see what runs; what a lower act still does is ended."""
    assert step.target
    _change(world, flight, step.target, "look")
    world.memory.looked.add((flight.row.id, step.target))
    return passed(observed=(_seen(world, step.target),))


def prepare(world: World, flight: Flight, step: Step) -> Answer:
    """The bytes lie there. Whether they are complete is for the host protocol's own tests."""
    assert step.target
    _change(world, flight, step.target, "prepare")
    return passed()


def activate(world: World, flight: Flight, step: Step) -> Answer:
    """Switch the host to where it belongs, unless it is there and proves it."""
    row, name = flight.row, step.target
    assert name
    target, host = row.targets[name], world.hosts[name]
    if not target.to_content:
        return failed(f"there is nothing that {name} could go back to", permanent=True)
    host.reach(world.now)
    well = host.healthy(target.to_content, world.now)
    if (row.is_rollback or row.completes is not None) and well:
        return passed("it was never changed", observed=(_seen(world, name),))
    _change(world, flight, name, "activate")
    expected = row.seen.get(name, target.from_content)
    takes = world.rng.randrange(2_000, 30_000) if world.strikes("restart took long") else 0
    world.news.changes.append((flight, name, well))
    world.news.switches.append((row, host.link, target.to_content))
    ended = host.switch(target.to_content, expected, flight.fence, _key(row, step), world.now, takes)
    if not ended:
        return pending(f"{name} is restarting", world.at(world.now + 1_000))
    if world.strikes("restart failed"):
        host.process = None
        return failed(f"the restart on {name} failed")
    return passed(observed=(Observation(name, True, target.to_content, None),))


def verify(world: World, flight: Flight, step: Step) -> Answer:
    """Healthy with the expected version, by its own answer."""
    assert step.target
    target = flight.row.targets[step.target]
    if world.hosts[step.target].healthy(target.to_content, world.now):
        serving = None if world.balanced else True
        return passed(observed=(Observation(step.target, True, target.to_content, True, serving),))
    again = world.at(world.now + world.rng.choice((3_000, 30_000, 120_000)))
    return pending(f"{step.target} is not healthy yet", again)


def _proven(world: World, row: Row, targets: list[Target]) -> list[str]:
    """Those that prove healthy with their content at this moment."""
    living = [t for t in targets if t.state is not TargetState.OWED]
    if "proof of health" not in world.defences:
        return [t.endpoint for t in living]
    return [t.endpoint for t in living if world.hosts[t.endpoint].healthy(t.to_content, world.now)]


def take_out(world: World, flight: Flight, step: Step) -> Answer:
    """No new request for these. The last serving host is never taken out."""
    group, before = _group(flight.row, step), _weights(world)
    try:
        wanted = traffic.taken_out(before, group)
    except traffic.NobodyLeft as error:
        if "last serving host" in world.defences:
            return failed(str(error), permanent=True)
        wanted = {n: 0 if n in group else w for n, w in before.items()}
    return _move(world, flight, wanted, group)


def weigh(world: World, flight: Flight, step: Step) -> Answer:
    """A canary's share for all hosts of the new version, or for nobody where one is sick."""
    row = flight.row
    there = [row.targets[n] for n in _group(row, step) if row.targets[n].state is not TargetState.OWED]
    names = [t.endpoint for t in there]
    if sorted(_proven(world, row, there)) != sorted(names):
        return failed("no more traffic for the new version")
    if not names:
        return failed("no host runs the new version", permanent=True)
    return _move(world, flight, traffic.put_in(_weights(world), names, names), [*names, *step.removes])


def _shared(world: World, flight: Flight, wanted: dict[str, int]) -> dict[str, int]:
    """By a canary's share where the step has one."""
    row = flight.row
    share = row.planned[flight.step].input.get("share")
    if share is None or "canary share" not in world.defences:
        return wanted
    new = [n for n, t in row.targets.items() if t.state is TargetState.ON_TO]
    return traffic.shared(wanted, new, share, sum(t.state is not TargetState.OWED for t in row.targets.values()))


def put_in(world: World, flight: Flight, step: Step) -> Answer:
    """Traffic for those of the batch that prove healthy at this moment."""
    row = flight.row
    group = [row.targets[n] for n in _group(row, step)]
    proven = _proven(world, row, group)
    names = [t.endpoint for t in group if t.state is not TargetState.OWED]
    sick = [n for n in names if n not in proven]
    moved = passed()
    if proven:
        group_out = names if "live before said" in world.defences else ()
        moved = _move(world, flight, traffic.put_in(_weights(world), proven, group_out), names)
    return failed(f"not healthy any more: {sick}", observed=moved.observed) if sick else moved


def switch(world: World, flight: Flight, step: Step) -> Answer:
    """All traffic at once to the side that was prepared, if enough of it proves healthy."""
    row = flight.row
    proven = _proven(world, row, [row.targets[n] for n in _group(row, step)])
    if len(proven) < row.planned[step.id].input["at_least"]:
        return failed("not switched")
    moved = [*_group(row, step), *step.removes]
    return _move(world, flight, traffic.put_in(_weights(world), proven, moved), moved)


def shift(world: World, flight: Flight, step: Step) -> Answer:
    """All traffic to the side that proves healthy now; where no side does, nothing moves."""
    row, before = flight.row, _weights(world)
    named = row.planned[step.id].input.get("endpoints", list(row.targets))
    targets = [t for t in row.targets.values() if t.to_content and not t.resting and t.endpoint in named]
    there = [t for t in targets if row.seen.get(t.endpoint, "") in ("", t.to_content)]
    leaving = [t.endpoint for t in row.targets.values() if t.claimed or t.resting]
    changed = leaving if "only what changed" in world.defences else list(before)
    moved = traffic.towards(before, _proven(world, row, there), changed)
    says_so = "live before said" not in world.defences
    if moved is None or (moved == before and (says_so or world.balancer.verify(moved, world.now))):
        return passed("nothing to move")
    return _move(world, flight, moved, list(moved))


def drain(world: World, flight: Flight, step: Step) -> Answer:
    """Nothing is in flight."""
    return passed()


def _group(row: Row, step: Step) -> list[str]:
    return list(row.planned[step.id].input["endpoints"])


def _weights(world: World) -> dict[str, int]:
    return {e.name: world.balancer.wanted.get(e.name, 0) for e in world.living()}


def _move(world: World, flight: Flight, wanted: dict[str, int], names: list[str]) -> Answer:
    """Written down first, under the fence, then made live."""
    row, balancer = flight.row, world.balancer
    targets, endpoints = row.targets.items(), world.endpoints
    if "owed stays out" in world.defences:
        owed = {n for n, t in targets if t.state is TargetState.OWED or (endpoints[n].owed and not t.claimed)}
        wanted = traffic.without(wanted, owed, _weights(world))
    wanted = _shared(world, flight, wanted)
    if any(wanted.values()) or "last serving host" not in world.defences:
        was = dict(balancer.wanted)
        if not balancer.write_down(wanted, flight.fence):
            return failed("a later step has moved this balancer's traffic", permanent=True)
        before = dict(balancer.weights)
        try:
            lawful = balancer.set(wanted, flight.fence, world.now)
        except Unreachable:
            if "live before said" in world.defences:
                balancer.write_down(was, flight.fence)
            raise
        world.news.acts.append((flight, "the balancer", lawful))
        world.news.shifts.append((row, before, dict(wanted)))
        if (share := row.planned[flight.step].input.get("share")) is not None:
            world.news.shares.append((row, share, dict(wanted)))
        world.say(row, f"weights {wanted}")
    return passed(observed=tuple(Observation(n, serving=wanted[n] > 0) for n in names if n in wanted))


def once(world: World, flight: Flight, step: Step) -> Answer:
    """A command that runs once, on one host."""
    name = step.target or flight.row.planned[step.id].input["endpoint"]
    world.hosts[name].reach(world.now)
    _change(world, flight, name, step.kind)
    if world.hosts[name].once(_key(flight.row, step)) or "once by one name" not in world.defences:
        world.memory.once[step.id] += 1
    return passed()


def hook(world: World, flight: Flight, step: Step) -> Answer:
    """A command around a step. A host that goes back and is left as it is, or behind, has no use for it."""
    row = flight.row
    name = step.target or row.planned[step.id].input["endpoint"]
    target, host = row.targets[name], world.hosts[name]
    left_alone = target.state is TargetState.OWED or not target.to_content
    mends = row.is_rollback or row.completes is not None
    if mends and (left_alone or host.healthy(target.to_content, world.now)):
        return passed()
    if world.now < QUIET_AFTER and world.apart.random() < 0.1:
        return failed("the hook failed", permanent=True)
    return once(world, flight, step)


def watch(world: World, flight: Flight, step: Step) -> Answer:
    """Open the window of this batch once, then wait until its verdict is a row."""
    row = flight.row
    window = row.windows.get(step.id)
    if window is None:
        if step.status is not StepStatus.RUNNING or step.fence != flight.fence:
            return failed("another worker has opened the window of this step")
        if not any(t.state is TargetState.ON_TO for t in row.targets.values()):
            return passed("nobody was changed yet")
        window = row.windows[step.id] = windows.open_bake(world, row, step.id, row.planned[step.id].input["seconds"])
    if window.closed == "fail":
        return failed("the bake failed", permanent=True)
    if window.closed:
        return passed(f"the bake ended as {window.closed}")
    return pending("watched", world.at(world.now + 40_000))


def confirm(world: World, flight: Flight, step: Step) -> Answer:
    """Wait for a person to go on; what is watched meanwhile may fail."""
    row = flight.row
    window = row.windows.get(step.id)
    if window is None:
        if step.status is not StepStatus.RUNNING or step.fence != flight.fence:
            return failed("another worker has opened the window of this step")
        window = row.windows[step.id] = windows.open_until_confirmed(world, row, step.id)
    if window.closed == "fail":
        return failed("it failed while it waited", permanent=True)
    if step.id in row.asked:
        window.closed = window.closed or "superseded"
        return passed("a person has gone on")
    return pending("until a person goes on", None)


def rest(world: World, flight: Flight, step: Step) -> Answer:
    """Let some time pass."""
    row = flight.row
    until = row.rested.setdefault(step.id, world.now + int(row.planned[step.id].input["seconds"] * 1_000))
    return passed("rested") if world.now >= until else pending("rests", world.at(until))


def smoke(world: World, flight: Flight, step: Step) -> Answer:
    """The declared tests see what is bad at once."""
    return failed("a smoke test failed", permanent=True) if flight.row.version in world.bad else passed()


RUN: dict[str, Callable[[World, Flight, Step], Answer]] = {
    "check": check,
    "look": look,
    "prepare": prepare,
    "activate": activate,
    "verify": verify,
    "take_out": take_out,
    "put_in": put_in,
    "weigh": weigh,
    "switch": switch,
    "shift": shift,
    "drain": drain,
    "backup": once,
    "migrate": once,
    "hook": hook,
    "watch": watch,
    "confirm": confirm,
    "rest": rest,
    "smoke": smoke,
}
