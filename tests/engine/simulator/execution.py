"""One wake-up and one answer, as `deployments.lifecycle.advancing` plays them: decide, write, claim, settle."""

from __future__ import annotations

from datetime import datetime

from deployments.engine import decide as core
from deployments.engine.facts import Start, Step
from deployments.engine.settle import Answer, Observation, Result, after, claimed, given_up
from deployments.engine.status import Outcome, Status, StepStatus, TargetState, may_step
from deployments.engine.strategies import Unfit
from tests.engine.simulator import planning, windows
from tests.engine.simulator.effects import effect
from tests.engine.simulator.ending import finish, move, owe
from tests.engine.simulator.rows import NO_START, Flight, Row, replace
from tests.engine.simulator.wakes import due, hint
from tests.engine.simulator.world import EPOCH, MILLISECOND, Violation, World

LEASE, RENEW_EVERY = 20_000, 5_000
"""Milliseconds, as in `aureus.lease`."""


def wake(world: World, row: Row, lane: str) -> None:
    """What a worker does with a hint."""
    if row.open:
        turns(world, row, lane)


def turns(world: World, row: Row, lane: str | None) -> None:
    """Decide until there is something to do or to wait for. lane: None claims nothing."""
    world.news.touched.append(row)
    for _ in range(100):
        action = core.decide(row.facts(start_of(world, row)), world.moment)
        match action:
            case core.Begin():
                _begin(world, row)
            case core.Replan():
                if (unfit := _replan(world, row)) is not None:
                    finish(world, row, unfit)
                    return
            case core.GiveUp(steps, why):
                _give_up(world, row, steps, why)
            case core.Finish():
                finish(world, row, action)
                return
            case core.Wait(until, why, status):
                _wait(world, row, until, why, status)
                return
            case core.Run(steps, wanted):
                _run(world, row, steps, wanted, lane)
                return
    raise Violation(f"1: {row.id} does not come to rest")


def start_of(world: World, row: Row) -> Start:
    """What stands between a deployment and its start."""
    if row.status is Status.IN_PROGRESS:
        return NO_START
    one_plan = "approval of one plan" in world.defences
    votes = {who for plan, who in row.votes if plan == row.plan_hash or not one_plan}
    ends = [end for start, end in world.freezes if start <= world.now < end]
    withdrawn = row.version in world.withdrawn and not row.is_rollback
    return Start(
        approvals_needed=world.approvals,
        approvals=len(votes),
        broken=f"version {row.version} was withdrawn" if withdrawn else "",
        held=world.held,
        behind=_behind(world, row),
        frozen_until=world.at(max(ends)) if ends else None,
        frozen="a freeze",
        plan_is_current=row.is_rollback or (row.revision == world.revision and _changes_the_resting_side(world, row)),
    )


def _changes_the_resting_side(world: World, row: Row) -> bool:
    if not world.sides:
        return True
    try:
        resting, _ = planning.site(world).fleet.split()
    except Unfit:
        return False
    return set(resting) == planning.served_by(world, row)


def _behind(world: World, row: Row) -> str:
    if world.active is not None:
        return f"waits behind {world.active.id}"
    older = next((r for r in world.waiting() if r.number < row.number and not r.is_rollback), None)
    return f"waits behind {older.id}, which was asked for earlier" if older else ""


def _begin(world: World, row: Row) -> None:
    windows.supersede(world, row)
    for name, target in row.targets.items():
        if not row.is_rollback:
            running = world.endpoints[name].recorded
            back = world.back_for(running, target.to_content)
            row.targets[name] = replace(target, from_content=running, back_content=back)
    if row.status is Status.AWAITING_APPROVAL:
        move(world, row, Status.PENDING)
    move(world, row, Status.IN_PROGRESS)


def _replan(world: World, row: Row) -> core.Finish | None:
    approved, edited = row.plan_hash, row.revision != world.revision
    try:
        planning.forward(world, row)
    except Unfit as error:
        return core.Finish(Status.FAILED, f"no plan fits any more: {error}", Outcome.STALE)
    if not edited:
        row.plan_hash = approved
    world.say(row, "replanned")
    return None


def _wait(world: World, row: Row, until: datetime | None, why: str, status: Status | None) -> None:
    world.news.waits.append((row, until, why))
    row.reason = why
    if status is not None and status is not row.status:
        move(world, row, status)
    due(world, row, None if until is None else -(-(until - EPOCH) // MILLISECOND))


def _give_up(world: World, row: Row, steps: tuple[str, ...], why: str) -> None:
    for name in steps:
        _store(world, row, row.steps[name], given_up(row.steps[name], row.stage(row.steps[name].stage), why))
    owe(world, row, core.newly_owed(row.facts(NO_START)), why)


def _run(world: World, row: Row, steps: tuple[str, ...], wanted: str, lane: str | None) -> None:
    if lane != wanted:
        row.lane = wanted
        due(world, row, world.now)
        hint(world, row)
        return
    claim(world, row, steps)
    due(world, row, world.now + LEASE)
    if world.strikes("two workers decided at once"):
        claim(world, row, steps)


def claim(world: World, row: Row, steps: tuple[str, ...]) -> list[Flight]:
    """Claim those that are free, as the one UPDATE does, and let a worker fly each."""
    flights: list[Flight] = []
    crew = [0]
    for name in steps:
        step = row.steps.get(name)
        if step is None or not (_free(step, world.moment) or "lease" not in world.defences):
            continue
        flights.append(_claim_one(world, row, step, crew))
    crew[0] = len(flights)
    return flights


def _free(step: Step, now: datetime) -> bool:
    return step.lost(now) or (step.status is StepStatus.PENDING and not step.held and step.not_before <= now)


def _claim_one(world: World, row: Row, step: Step, crew: list[int]) -> Flight:
    within = int(row.planned[step.id].within * 1_000)
    world.news.claims.append((row, step, dict(row.targets)))
    ours = claimed(
        step,
        fence=world.next_fence(),
        lease_until=world.at(world.now + LEASE),
        deadline_at=world.at(world.now + within),
        now=world.moment,
    )
    row.steps[step.id] = ours
    for name in step.removes:
        row.targets[name] = replace(row.targets[name], serving=False, claimed=True)
    if step.kind == "migrate":
        row.migrated = (row.migrated[0] or world.fence, row.migrated[1] or world.deployed)
    if step.kind == "activate" and step.target:
        row.activated.add(step.target)
        if not row.targets[step.target].claimed:
            row.targets[step.target] = replace(row.targets[step.target], claimed=True)
    return _fly(world, row, ours, crew)


def _fly(world: World, row: Row, step: Step, crew: list[int]) -> Flight:
    """The worker's fate is drawn here: when it acts, when it answers, and where it is lost."""
    takes = world.rng.choice((200, 500, 1_000, 3_000))
    acts, answers = takes // 2, takes
    flight = Flight(row, step.id, step.fence, 0, crew)
    rng = world.rng
    if world.strikes("worker died before the effect"):
        flight.fate = "dies before"
    elif world.strikes("worker died after the effect"):
        flight.fate = "dies after"
    elif world.strikes("zombie acted after its lease"):
        flight.blind, acts = True, LEASE + rng.randrange(100, 60_000)
        answers = acts + 500
    elif world.strikes("answer after its lease"):
        answers = LEASE + rng.randrange(100, 60_000)
    elif world.strikes("answer after the end"):
        answers = rng.randrange(200_000, 2_000_000)
    elif world.strikes("host hung"):
        acts = rng.choice((16_000, 25_000, 60_000, 300_000))
        answers = acts + 100
        world.later(RENEW_EVERY, "renew", flight, world.now + answers)
    flight.answers_at = world.now + answers
    if flight.fate != "dies before":
        world.later(acts, "act", flight)
    return flight


def renew(world: World, flight: Flight, until: int) -> None:
    """A heartbeat: the lease goes on while the worker lives, never beyond the step's deadline."""
    step = flight.row.steps.get(flight.step)
    if step is None or step.fence != flight.fence or step.status is not StepStatus.RUNNING or world.now >= until:
        return
    deadline = step.deadline_at or world.moment
    if deadline > world.moment:
        lease = min(world.at(world.now + LEASE), deadline)
        flight.row.steps[step.id] = replace(step, lease_until=lease)
        world.memory.holders[step.id] = (step.fence, (lease - EPOCH) // MILLISECOND)
        world.later(RENEW_EVERY, "renew", flight, until)


def act(world: World, flight: Flight) -> None:
    """The effect happens; its answer is on the way, unless the worker is lost."""
    flight.answer = effect(world, flight)
    if flight.fate != "dies after":
        world.later(flight.answers_at - world.now, "answer", flight)


def settle(world: World, flight: Flight, lane: str | None = None) -> None:
    """Record an answer WHERE id AND fence, and in the same transaction what follows; a late one changes nothing."""
    row, answer = flight.row, flight.answer
    assert answer is not None
    world.news.touched.append(row)
    step = row.steps.get(flight.step) or row.past[flight.step]
    stale = row.status is not Status.IN_PROGRESS or step.fence != flight.fence or step.status is not StepStatus.RUNNING
    if stale and "guarded settle" in world.defences:
        world.say(row, f"{flight.step} answered late")
        return
    for seen in answer.observed:
        _observe(world, row, seen)
    world.memory.holders.pop(step.id, None)
    _store(world, row, step, after(step, row.stage(step.stage), answer, world.moment))
    if answer.result is Result.FAILED:
        owe(world, row, core.newly_owed(row.facts(NO_START)), answer.reason)
    turns(world, row, lane)


def answered(world: World, flight: Flight) -> None:
    """A worker settles; after the last of its claims it goes on in its lane, unless its time is up."""
    flight.crew[0] -= 1
    goes_on = flight.crew[0] == 0 and world.rng.random() < 0.8
    settle(world, flight, flight.row.lane if goes_on else None)


def answer_for(world: World, row: Row, step: str, fails: bool) -> None:
    """A verdict settles its waiting step from outside any effect."""
    waiting = row.steps[step]
    if waiting.status is not StepStatus.PENDING:
        return
    row.steps[step] = replace(waiting, held=False, not_before=world.moment)
    fence = world.next_fence()
    lease = world.at(world.now + LEASE)
    world.news.claims.append((row, row.steps[step], dict(row.targets)))
    row.steps[step] = claimed(row.steps[step], fence=fence, lease_until=lease, deadline_at=lease, now=world.moment)
    answer = Answer(Result.FAILED if fails else Result.PASSED, "the bake is over", permanent=True)
    settle(world, Flight(row, step, fence, world.now, [0], answer=answer))
    world.news.answered.append(step)


def _store(world: World, row: Row, before: Step, now: Step) -> None:
    if before.status is not now.status and not may_step(before.status, now.status):
        raise Violation(f"9: step {now.id}: {before.status} -> {now.status}")
    row.steps.pop(now.id, None)
    if now.status is StepStatus.PASSED:
        row.past[now.id] = now
        return
    row.steps[now.id] = now
    if before.stage != max(s.stage for s in row.steps.values()):
        row.steps = dict(sorted(row.steps.items(), key=lambda item: item[1].stage))


def _observe(world: World, row: Row, seen: Observation) -> None:
    target, endpoint = row.targets.get(seen.endpoint), world.endpoints[seen.endpoint]
    if target is None:
        return
    if seen.serving is not None:
        endpoint.serving = seen.serving
        target = replace(target, serving=seen.serving)
    if seen.looked:
        row.seen[seen.endpoint] = seen.content
        if not target.claimed and not row.is_rollback:
            back = world.back_for(seen.content, target.to_content)
            target = replace(target, from_content=seen.content, back_content=back)
        elif target.claimed and target.state is not TargetState.OWED:
            on_to = seen.content == target.to_content and seen.healthy
            target = replace(target, state=TargetState.ON_TO if on_to else TargetState.CHANGED)
    row.targets[seen.endpoint] = target
