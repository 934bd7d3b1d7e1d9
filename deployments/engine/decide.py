"""Recorded facts and a time in, exactly one action out.

Retry, pause, abort, lost worker, giving up and the start of a rollback are decided here and nowhere else. No kind of
step and no strategy is named here: what distinguishes them stands on the stage as numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from deployments.engine.facts import Deployment, OnFailure, Stage, Step, Target, earliest
from deployments.engine.settle import gives_up
from deployments.engine.status import OPEN, OVER, Outcome, Status, StepStatus, TargetState


@dataclass(frozen=True, slots=True)
class Begin:
    """Start it: nothing stands in its way."""


@dataclass(frozen=True, slots=True)
class Replan:
    """Its plan was made for an older revision: make it anew, without the approvals it had."""


@dataclass(frozen=True, slots=True)
class Run:
    """Claim these steps and let their effects happen, side by side."""

    steps: tuple[str, ...]
    lane: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """These steps have failed for good without an answer that says so."""

    steps: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until then (None: until somebody acts or a worker answers)."""

    until: datetime | None
    why: str
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """It has ended."""

    status: Status
    why: str
    outcome: Outcome | None = None
    roll_back: bool = False


Action = Begin | Replan | Run | GiveUp | Wait | Finish


def decide(deployment: Deployment, now: datetime) -> Action:
    """The one thing to do next."""
    if deployment.status not in OPEN:
        return Wait(None, "it has ended")
    if deployment.status is not Status.IN_PROGRESS:
        return _before_start(deployment, now)
    if deployment.aborting:
        return _abort(deployment, now)
    failure = _broken(deployment)
    stage = _current(deployment, failure)
    if stage is None:
        return _completed(deployment)
    if failure is not None and failure.stage == stage.position:
        return _stop(deployment, stage, f"{stage.name}: {failure.reason}")
    return _in_stage(deployment, stage, now)


def _before_start(d: Deployment, now: datetime) -> Action:
    start = d.start
    if d.aborting:
        return Finish(Status.FAILED, d.aborting, Outcome.CANCELLED)
    if start.rejected:
        return Finish(Status.FAILED, start.rejected, Outcome.REJECTED)
    if start.broken:
        return Finish(Status.FAILED, start.broken, Outcome.STALE)
    if not start.plan_is_current:
        return Replan()
    if start.approvals < start.approvals_needed and not d.is_rollback:
        missing = start.approvals_needed - start.approvals
        why = f"waits for {missing} approval{'s' * (missing > 1)}{': ' * bool(start.note)}{start.note}"
        return Wait(start.look_at, why, Status.AWAITING_APPROVAL)
    return _queue(d, now)


def _queue(d: Deployment, now: datetime) -> Action:
    start = d.start
    if start.behind:
        return Wait(start.look_at, start.behind, Status.PENDING)
    if d.is_rollback:
        return Begin()
    if d.paused:
        return Wait(start.look_at, f"paused by {d.paused}", Status.PENDING)
    if start.held:
        return Wait(start.look_at, start.held, Status.PENDING)
    if start.frozen_until is not None and now < start.frozen_until:
        return Wait(earliest([start.frozen_until, start.look_at]), start.frozen, Status.PENDING)
    return Begin()


def _current(d: Deployment, broken: Step | None) -> Stage | None:
    """The first stage in which a step is left, or whose failures it cannot bear."""
    owed = d.owed
    left = next((s for s in d.steps if s.status not in OVER and not _waived(s, owed)), None)
    positions = [s.stage for s in (left, broken) if s is not None]
    return _stage(d, min(positions)) if positions else None


def _stage(d: Deployment, position: int) -> Stage:
    return next(g for g in d.stages if g.position == position)


def _waived(step: Step, owed: frozenset[str]) -> bool:
    """Its host is owed: the deployment goes on without it."""
    return step.status is StepStatus.PENDING and step.target in owed


def _broken(d: Deployment) -> Step | None:
    """The first failed step that its stage cannot bear.

    Failures are counted by host over the whole deployment, so that three batches with one failed host each are three.
    """
    failed = [s for s in d.steps if s.status is StepStatus.FAILED]
    hosts = {s.target for s in failed if s.target is not None}
    return next((s for s in failed if not _bears(_stage(d, s.stage), s, len(hosts))), None)


def _bears(stage: Stage, step: Step, failed_hosts: int) -> bool:
    if stage.on_failure is OnFailure.GO_ON:
        return True
    return step.target is not None and failed_hosts <= stage.max_failures


def _in_stage(d: Deployment, stage: Stage, now: datetime) -> Action:
    owed = d.owed
    steps = [s for s in d.stage_steps(stage) if s.status not in OVER and not _waived(s, owed)]
    if hopeless := [s for s in steps if _hopeless(s, stage, now)]:
        return GiveUp(tuple(s.id for s in hopeless), _why_hopeless(hopeless[0]))
    ready = [s for s in steps if s.lost(now) or (s.status is StepStatus.PENDING and _due(s, now))]
    if d.paused:
        return Wait(earliest(s.lease_until for s in steps if s.leased(now)), f"paused by {d.paused}")
    if runnable := _within_guard(d, stage, ready):
        return Run(tuple(s.id for s in runnable), stage.lane)
    if ready and not any(s.leased(now) for s in steps):
        return _stop(d, stage, _guard_broken(d, stage))
    return _wait(steps, now)


def newly_owed(d: Deployment) -> frozenset[str]:
    """Hosts with a failed step that their stage bears: the deployment goes on without them."""
    if d.aborting:
        return frozenset()  # it does not go on: what it touched goes back, or is left behind
    failed = [s for s in d.steps if s.status is StepStatus.FAILED]
    hosts = {s.target for s in failed if s.target is not None}
    borne = (s.target for s in failed if s.target and _bears(_stage(d, s.stage), s, len(hosts)))
    return frozenset(borne) - d.owed


def left_behind(d: Deployment) -> frozenset[str]:
    """Hosts that were changed and neither proven nor serving when a deployment ends and nothing will undo it: owed."""
    changed = (t for t in d.targets if t.claimed and t.state is not TargetState.OWED)
    return frozenset(t.endpoint for t in changed if not _arrived(t))


def _arrived(target: Target) -> bool:
    """Where it belongs, with traffic; or without, where it was only relieved of it or was to have none."""
    if target.resting:
        return target.state in (TargetState.ON_TO, TargetState.UNTOUCHED)
    return target.state is TargetState.ON_TO and target.serving


def _due(step: Step, now: datetime) -> bool:
    return not step.held and step.not_before <= now


def _hopeless(step: Step, stage: Stage, now: datetime) -> bool:
    """Lost too often, or still not done when its own deadline has passed."""
    if step.leased(now):
        return False
    if step.lost(now):
        since = step.failing_since or now
        return gives_up(stage, failures=step.failures + 1, since=since, now=now)
    late = step.deadline_at is not None and step.deadline_at <= now
    return late and not step.held and _due(step, now)


def _why_hopeless(step: Step) -> str:
    if step.status is StepStatus.RUNNING:
        return "the worker that ran it was lost again and again"
    return step.reason or "it was not done by its deadline"


def _within_guard(d: Deployment, stage: Stage, ready: list[Step]) -> list[Step]:
    """As many of the ready steps as leave enough hosts serving. A step that removes nobody is always within."""
    serving, chosen = set(d.serving), []
    for step in ready:
        removed = serving.intersection(step.removes)
        if removed and len(serving) - len(removed) < stage.min_serving:
            continue
        serving -= removed
        chosen.append(step)
    return chosen


def _guard_broken(d: Deployment, stage: Stage) -> str:
    return (
        f"{stage.name}: only {len(d.serving)} host(s) serve; taking more out would leave fewer than {stage.min_serving}"
    )


def _wait(steps: list[Step], now: datetime) -> Wait:
    """Until the first lease ends or the first waiting step is due; its reason is the reason of the wait."""
    running = [s for s in steps if s.leased(now)]
    waiting = [s for s in steps if s.status is StepStatus.PENDING and not s.held]
    times = [s.lease_until for s in running] + [s.not_before for s in waiting if s.not_before > now]
    speaking = next((s for s in steps if s.reason and not s.leased(now)), None)
    why = speaking.reason if speaking else "a worker is at it"
    return Wait(earliest(times), why)


def _stop(d: Deployment, stage: Stage, why: str) -> Finish:
    roll_back = stage.on_failure is OnFailure.ROLL_BACK and _can_roll_back(d)
    return Finish(Status.FAILED, why, Outcome.ERROR, roll_back)


def _can_roll_back(d: Deployment) -> bool:
    """A rollback has something to undo and somewhere to go. It is never rolled back itself."""
    return d.may_roll_back and not d.is_rollback and any(t.claimed and t.back_content for t in d.targets)


def _abort(d: Deployment, now: datetime) -> Action:
    """Let nothing new begin; run each lost step once more, since its effect then stops what was left on its host.

    Where no rollback will look at the hosts, so is each step that has begun and waits: its host may be at it still.
    """
    back = _can_roll_back(d)
    begun = [s for s in d.steps if s.status is StepStatus.RUNNING or (not back and _waits(s))]
    if ready := [s for s in begun if s.lost(now) or (s.status is StepStatus.PENDING and _due(s, now))]:
        lane = _stage(d, ready[0].stage).lane
        return Run(tuple(s.id for s in ready if _stage(d, s.stage).lane == lane), lane)
    if begun:
        times = (s.lease_until if s.status is StepStatus.RUNNING else s.not_before for s in begun)
        return Wait(earliest(times), f"stopping: {d.aborting}")
    return Finish(Status.FAILED, d.aborting, Outcome.ABORTED, back)


def _waits(step: Step) -> bool:
    return step.status is StepStatus.PENDING and step.attempts > 0 and not step.held


def _completed(d: Deployment) -> Finish:
    owed = sorted(d.owed | left_behind(d))
    without = f"; owed: {', '.join(owed)}" if owed else ""
    if undone := [_stage(d, s.stage).name for s in d.steps if s.status is StepStatus.FAILED and s.target is None]:
        without += f"; failed, and nothing depends on it: {', '.join(undone)}"
    claimed = [t for t in d.targets if t.claimed]
    # Those that were to serve count; where all of it was about the side that rests, that side does.
    if owed and all(t.endpoint in owed for t in [t for t in claimed if not t.resting] or claimed):
        return Finish(Status.FAILED, f"no host could be brought where it belongs{without}", Outcome.ERROR)
    return Finish(Status.DEPLOYED, f"every step passed{without}")
