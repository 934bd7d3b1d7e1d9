"""The invariants of design section 4, one function each, looked at after every event.

They judge by the simulator's own memory and by the machines as they are, not by the rows that they judge.
"""

from __future__ import annotations

import math

from deployments.engine.status import Status, StepStatus, TargetState
from tests.engine.simulator.rows import Row
from tests.engine.simulator.world import Violation, World

DONE = (TargetState.ON_BACK, TargetState.OWED)


def invariant_1(world: World) -> None:
    """Every deployment ends, and each wait has a reason. (That it ends is looked at when the world is over.)"""
    for row, until, why in world.news.waits:
        if not why:
            raise Violation(f"1: {row.id} waits without a reason")
        if until is not None and until <= world.moment:
            raise Violation(f"1: {row.id} waits for the past: {why}")


def invariant_2(world: World) -> None:
    """One claim of a step at a time."""
    holders = world.memory.holders
    for row, step, _ in world.news.claims:
        fence, until = holders.get(step.id, (0, 0))
        if until > world.now:
            raise Violation(f"2: {step.id} of {row.id} was claimed while fence {fence} held it")
        holders[step.id] = (world.fence, world.now + 20_000)
    for name in world.news.answered:
        holders.pop(name, None)  # claimed and settled in the same transaction
    for flight, where, _ in world.news.acts:
        if world.memory.once[flight.step] > world.memory.released[flight.step] + 1:
            raise Violation(f"2: {flight.step} ran on {where} once more, and no person said so")


def invariant_3(world: World) -> None:
    """Never fewer healthy serving hosts than the stage's guard, and the last serving host is never removed."""
    for row, step, targets in world.news.claims:
        serving = [n for n, t in targets.items() if t.serving]
        left = [n for n in serving if n not in step.removes]
        guard = world.memory.guards[row.id][step.stage]
        if len(left) < len(serving) and len(left) < guard:
            raise Violation(f"3: {step.id} leaves {len(left)} serving, its stage demands {guard}")
    for row, before, now in world.news.shifts:
        if any(before.values()) and not any(now.values()):
            raise Violation(f"3: {row.id} left nobody in the balancer")


def invariant_4(world: World) -> None:
    """After convergence every target is on `to`, on `back`, or owed, and says so: no mixed fleet unnoticed."""
    for row, _, status in world.news.moves:
        if status is Status.ROLLED_BACK:
            _all(world, row, DONE)
        elif not row.open and not _undoing(world, row):
            _all(world, row, (TargetState.ON_TO, *DONE))
    if world.active is not None:
        return
    for endpoint in world.endpoints.values():
        link = world.hosts[endpoint.name].link
        if link != endpoint.recorded and not endpoint.owed and not endpoint.retired:
            raise Violation(f"4: {endpoint.name} runs {link}, the record says {endpoint.recorded}")


def _undoing(world: World, row: Row) -> bool:
    return any(r.reverts is row and r.open for r in world.rows.values()) or (
        world.active is not None and world.active.is_rollback
    )


def _all(world: World, row: Row, states: tuple[TargetState, ...]) -> None:
    for name in world.memory.touched.get(row.id, ()):
        target = row.targets[name]
        relieved = target.resting and target.state is TargetState.UNTOUCHED
        if target.state not in states and not relieved and not world.endpoints[name].retired:
            raise Violation(f"4: {row.id} is {row.status}, and {name} is {row.targets[name].state}")


def invariant_5(world: World) -> None:
    """A rollback covers every target whose activation was ever claimed, begins there with a look under a new fence,
    and changes only what changed.
    """
    touched = world.memory.touched
    for row, step, _ in world.news.claims:
        for name in (*step.removes, *((step.target,) if step.kind == "activate" and step.target else ())):
            touched.setdefault(row.id, {})[name] = None
    for row, origins in world.news.undoes:
        for origin in origins:
            for name in touched.get(origin.id, ()):
                known = row.targets.get(name)
                if not world.endpoints[name].retired and (known is None or not known.claimed):
                    raise Violation(f"5: {row.id} does not cover {name}, which {origin.id} claimed")
    for flight, name, well in world.news.changes:
        if flight.row.is_rollback and (flight.row.id, name) not in world.memory.looked:
            raise Violation(f"5: {flight.row.id} changed {name} and never looked at it")
        if flight.row.is_rollback and well:
            raise Violation(f"5: {flight.row.id} changed {name}, which was where it belongs")


def invariant_6(world: World) -> None:
    """No act applied from a lower fence."""
    for flight, where, lawful in world.news.acts:
        if not lawful:
            raise Violation(f"6: {flight.step} acted on {where} under fence {flight.fence}, a higher one was there")


def invariant_7(world: World) -> None:
    """Traffic only to hosts proven healthy now."""
    for row, before, now in world.news.shifts:
        for name, weight in now.items():
            host, comes_in = world.hosts[name], weight and not before.get(name)
            if comes_in and not host.healthy(host.link, world.now):
                raise Violation(f"7: {row.id} gave traffic to {name}, which is not healthy")
            owed = {n for n, t in row.targets.items() if world.endpoints[n].owed and not t.claimed}
            alone = not any(now[n] for n in now if n not in owed)
            if comes_in and world.endpoints[name].owed and not row.targets[name].claimed and not alone:
                raise Violation(f"7: {row.id} gave traffic to {name}, which is owed")


def invariant_8(world: World) -> None:
    """Nothing runs that was not in the approved plan."""
    for row, _, status in world.news.moves:
        if status is Status.IN_PROGRESS and row.reverts is None and row.completes is None:
            said = {who for plan, who in row.votes if plan == row.plan_hash}
            if len(said) < world.approvals:
                raise Violation(f"8: {row.id} began with {len(said)} of {world.approvals} approvals of its plan")
            if row.revision != world.revision:
                raise Violation(f"8: {row.id} began by a plan for revision {row.revision}, not {world.revision}")
            world.memory.approved[row.id] = row.plans
    for row, step, _ in world.news.claims:
        if step.id not in row.planned or row.plans != world.memory.approved.get(row.id, 1):
            raise Violation(f"8: {step.id} of {row.id} stands in no approved plan")


def invariant_9(world: World) -> None:
    """Terminal statuses never change, but `deployed` -> `rolled_back`."""
    ended = world.memory.ended
    for row in (*world.news.touched, *(move[0] for move in world.news.moves)):
        was = ended.get(row.id)
        if was is not None and row.status is not was and (was, row.status) != (Status.DEPLOYED, Status.ROLLED_BACK):
            raise Violation(f"9: {row.id} was {was} and is {row.status}")
        if not row.open:
            ended[row.id] = row.status
            if any(s.status is not StepStatus.FAILED for s in row.steps.values()):
                raise Violation(f"9: {row.id} has ended and a step of it has not")


def invariant_10(world: World) -> None:
    """Each status has its event."""
    for row, _, _ in world.news.moves:
        if world.memory.said.get(row.id) is not row.status:
            raise Violation(f"10: {row.id} is {row.status}, its last event says {world.memory.said.get(row.id)}")


def invariant_11(world: World) -> None:
    """A rollback is never blocked by gates, holds, freezes or the queue."""
    for why in world.news.refused:
        raise Violation(f"11: {why}")
    for row in world.news.rollbacks:
        if row.status is Status.PENDING or row.status is Status.AWAITING_APPROVAL or row.paused:
            raise Violation(f"11: {row.id} waits as {row.status}")


def invariant_12(world: World) -> None:
    """A canary's new version never has more of the traffic than its step says, nor than its hosts can carry."""
    for row, share, now in world.news.shares:
        new = [n for n, t in row.targets.items() if t.state is TargetState.ON_TO and now.get(n)]
        fleet = [n for n, t in row.targets.items() if t.state is not TargetState.OWED]
        if not new or not any(weight for name, weight in now.items() if name not in new):
            continue
        part = 100 * sum(now[name] for name in new) / sum(now.values())
        if part > share + 0.5 and share:
            raise Violation(f"12: {row.id} gave {part:.1f} % to the new version where its step says {share} %")
        if len(new) < math.ceil((part - 0.5) * len(fleet) / 100):
            raise Violation(f"12: {row.id} gave {part:.1f} % to {len(new)} of {len(fleet)} hosts")


def invariant_13(world: World) -> None:
    """Two sides never serve at once, but for a canary between them."""
    for row, before, now in world.news.shifts:
        serving = {world.sides[name] for name, weight in now.items() if weight and name in world.sides}
        if len(serving) > 1 and row.strategy != "canary" and not _mends(row, before):
            raise Violation(f"13: {row.id} gave traffic to both sides")


def _mends(row: Row, before: dict[str, int]) -> bool:
    """It begins from a canary's share, or with traffic on the side that should rest, and has not moved it yet."""
    origin = row.reverts or row.completes
    astray = row.completes is not None and any(before.get(n) for n, t in row.targets.items() if t.resting)
    return astray or (origin is not None and origin.strategy == "canary")


def invariant_14(world: World) -> None:
    """No code is taken back over a changed schema without a person."""
    memory = world.memory
    for row, step, _ in world.news.claims:
        if step.kind == "migrate" and row.version in world.one_way:
            memory.schema, memory.since = row.version, {row.version}
    for row, was, to in world.news.switches:
        goes_back = (row.is_rollback or row.completes is not None) and was != to
        if memory.schema and goes_back and to not in memory.since and row.id not in memory.accepted:
            raise Violation(f"14: {row.id} took {to} back over the schema of {memory.schema}, and no person said so")
    memory.since.update(row.version for row, _, status in world.news.moves if status is Status.DEPLOYED)


INVARIANTS = (
    invariant_1, invariant_2, invariant_3, invariant_4, invariant_5, invariant_6,
    invariant_7, invariant_8, invariant_9, invariant_10, invariant_11, invariant_12, invariant_13, invariant_14,
)  # fmt: skip


def at_the_end(world: World) -> None:
    """What must be so when all is over: everything has ended and says so, and nobody was forgotten."""
    for row in world.rows.values():
        if row.open:
            raise Violation(f"1: {row.id} never ended: {row.status}, {row.reason}")
        if row.status is Status.ROLLED_BACK:
            _all(world, row, DONE)
        else:
            _all(world, row, (TargetState.ON_TO, *DONE))
        if world.memory.said.get(row.id) is not row.status:
            raise Violation(f"10: {row.id} is {row.status} without its event")
    for endpoint in world.living():
        host = world.hosts[endpoint.name]
        healthy = host.healthy(endpoint.recorded, world.now)
        other = [n for n, side in world.sides.items() if side != world.sides.get(endpoint.name)]
        # Of two sides one rests; where nobody ever served, which of them is for the next deployment to say.
        weights = world.balancer.weights
        rests = bool(other) and (any(map(weights.get, other)) or not any(weights.values()))
        left_out = healthy and not rests and not endpoint.owed and not world.balancer.weights.get(endpoint.name)
        if world.balanced and left_out:
            raise Violation(f"4: {endpoint.name} is healthy, not owed, and was left out of the balancer")
