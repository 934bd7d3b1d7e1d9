"""One wake-up of a deployment: decide, write what was decided, and hand the claimed steps to the caller."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from aureus import clock, lease
from aureus.journal.actor import AUREUS
from aureus.journal.models import record
from aureus.journal.plain import plain
from aureus.journal.refusals import NotFound
from deployments import holding, identity
from deployments.engine import decide as core
from deployments.engine.facts import OnFailure
from deployments.engine.facts import Stage as StageFacts
from deployments.engine.facts import Step as StepFacts
from deployments.engine.settle import Answer, Observation, Result, after, given_up
from deployments.engine.status import OPEN, Outcome, Status, StepStatus, TargetState
from deployments.engine.strategies import Unfit
from deployments.lifecycle import passing, rows, windows
from deployments.lifecycle.ending import finish, owe, what_now
from deployments.lifecycle.moves import locked, move, page
from deployments.models import Approval, Deployment, Endpoint, Environment, Installation, Step, Target
from deployments.proven import held_within_reach
from deployments.snapshot import WAITING, back_for, broken, facts_of, policy_of, revisions

SIDE_BY_SIDE = 16
"""Hosts that one worker process works on at a time (research on SSH: more threads gained nothing)."""
ACTIVATES = frozenset({"activate"})
"""Kinds of step that claim their target: from here on a rollback covers it."""
PLANNED = ("content", "intent", "plan_hash", "revisions", "risk", "risk_reasons")
"""What a deployment keeps of its plan, beside the rows."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A step that this worker holds under this fence."""

    step_id: int
    fence: int
    kind: str = ""


@dataclass(slots=True)
class Turn:
    """What a wake-up came to. `lane`: who has to go on; `again`: at once; `wake`: other deployments to look at."""

    claims: list[Claim] = field(default_factory=list)
    lane: str = ""
    again: bool = False
    wake: list[tuple[str, str]] = field(default_factory=list)


@transaction.atomic
def advance(deployment_id: UUID | str, lane: str) -> Turn:
    """Decide and write until there is something to do or to wait for. Idempotent: a repeated wake-up finds nothing."""
    try:
        deployment = locked(deployment_id)
    except NotFound:
        return Turn()  # the hint is older than the dump that this database was restored from
    return _turns(deployment, lane)


def _turns(deployment: Deployment, lane: str | None) -> Turn:
    """lane: None decides and writes everything but claims."""
    turn = Turn()
    if deployment.status not in OPEN:
        Deployment.objects.filter(pk=deployment.pk).update(wake_at=None)
        return turn
    now, doubt = identity.now_and_doubt(deployment.installation_id)
    if doubt:
        # Nothing is decided upon a record that hosts may have left behind.
        _wait(deployment, now + identity.LOOK_AGAIN, doubt, None)
        return turn
    while True:
        facts = facts_of(deployment, now)
        match core.decide(facts, now):
            case core.Begin():
                _begin(deployment, now)
            case core.Replan():
                if (unfit := _replan(deployment, now)) is not None:
                    finish(deployment, unfit)
                    turn.wake += _next_in_line(deployment)
                    return turn
            case core.GiveUp(steps, why):
                _give_up(deployment, [int(s) for s in steps], why)
            case core.Finish() as action:
                rollback = finish(deployment, action)
                turn.wake += [(str(rollback.id), "rollback")] if rollback else []
                turn.wake += _next_in_line(deployment)
                return turn
            case core.Wait(until, why, status):
                _wait(deployment, until, why, status)
                return turn
            case core.Run(steps, wanted):
                return _run(deployment, [int(s) for s in steps], wanted, lane, turn)
        now = clock.now()


def _run(deployment: Deployment, steps: list[int], wanted: str, lane: str | None, turn: Turn) -> Turn:
    if lane != wanted:
        _update(deployment, lane=wanted, wake_at=clock.now())
        turn.lane, turn.again = wanted, True
        return turn
    chosen = steps[:SIDE_BY_SIDE]
    fences = lease.claim(Step._meta.db_table, chosen)
    claimed = _mark_claimed(deployment, list(fences))
    turn.claims = [Claim(step.pk, fences[step.pk], step.kind) for step in claimed]
    turn.lane, turn.again = wanted, len(steps) > len(chosen)
    _update(deployment, lane=wanted, wake_at=clock.now() + timedelta(seconds=lease.SECONDS))
    return turn


def _mark_claimed(deployment: Deployment, ids: list[int]) -> list[Step]:
    now = clock.now()
    steps = list(Step.objects.filter(pk__in=ids).order_by("pk"))
    for step in steps:
        deployment.targets.filter(name__in=step.removes).update(serving=False)
        # A host taken out of the balancer is changed as well: a rollback has to put it back in.
        changes = [*step.removes, step.target] if step.kind in ACTIVATES else step.removes
        deployment.targets.filter(name__in=changes, claimed_at=None).update(claimed_at=now)
        if step.attempts == 1:
            Step.objects.filter(pk=step.pk).update(started_at=now)
            record(deployment.stream, "step.started", AUREUS, step=step.id, kind=step.kind, host=step.target)
        elif step.failures:
            record(deployment.stream, "step.claimed_again", AUREUS, step=step.id, kind=step.kind, host=step.target,
                   attempt=step.attempts)  # fmt: skip
    return steps


def _begin(deployment: Deployment, now: datetime) -> None:
    """Start it. The open window of the version it replaces is judged first, on what it has."""
    windows.lock_watched(deployment.installation, by=deployment)
    was = _holds_at_start(deployment.installation)
    # The environment before its installations, as `apply` takes them.
    Environment.objects.select_for_update(no_key=True).get(pk=deployment.installation.environment_id)
    here = Installation.objects.select_related("environment", "application").select_for_update(of=("self",))
    deployment.installation = here.get(pk=deployment.installation_id)
    if deployment.installation.deployments.filter(status=Status.IN_PROGRESS).exists():
        return  # a rollback began this very moment: decided again, it waits behind it
    if _holds_at_start(deployment.installation) != was:
        return  # edited this very moment: decided again, by what holds now
    deployment.refresh_from_db(fields=["version", "source"])
    glass = None if deployment.is_rollback else holding.glass_of(deployment, now)
    if not deployment.is_rollback and broken(deployment, passed=holding.is_broken(glass)):
        return  # so was its version, or its source: we may have waited for these locks
    if not (deployment.is_rollback or holding.is_broken(glass)) and _held_meanwhile(deployment):
        return  # frozen this very moment: decided again, it waits
    windows.supersede(deployment.installation, by=deployment)
    _refresh_way_back(deployment)
    if deployment.status == Status.AWAITING_APPROVAL:
        move(deployment, Status.PENDING, actor=AUREUS, reason="no approval is asked for any more")
    if glass is not None and holding.is_broken(glass):
        passing.use(glass, by=AUREUS)
    move(deployment, Status.IN_PROGRESS, actor=AUREUS, reason="started", started_at=now)


def _held_meanwhile(deployment: Deployment) -> bool:
    return bool(holding.holds(deployment, policy_of(deployment.installation), clock.now()))


def _holds_at_start(installation: Installation) -> tuple[object, ...]:
    return revisions(installation), installation.held, installation.environment.locked


def _refresh_way_back(deployment: Deployment) -> None:
    """What became good, or was withdrawn, since the plan was made; and what went before it has brought to the hosts."""
    proven = held_within_reach(deployment.installation)
    for target in deployment.targets.select_related("endpoint"):
        running = target.from_content if deployment.is_rollback else target.endpoint.recorded
        back = back_for(proven, running=running, to_content=target.to_content)
        if (running, back) != (target.from_content, target.back_content):
            Target.objects.filter(pk=target.pk).update(from_content=running, back_content=back)


def _replan(deployment: Deployment, now: datetime) -> core.Finish | None:
    """A plan for the revision that holds now; yes said to the old plan does not count for it.

    It does where nothing was edited: of two sides the other one rests by now, and what was approved is the same.
    Where the installation was edited so that no plan fits any more, how the deployment ends.
    """
    edited = deployment.revisions != revisions(deployment.installation)
    try:
        stages, targets = rows.forward(deployment, now)
    except Unfit as error:
        return core.Finish(Status.FAILED, f"no plan fits the installation as it is now: {error}", Outcome.STALE)
    rows.write(deployment, stages, targets, now)
    if not edited:
        deployment.refresh_from_db(fields=PLANNED)
        record(deployment.stream, "deployment.replanned", AUREUS, plan_hash=deployment.plan_hash, approvals_lost=0)
        return None
    _update(deployment, **{name: getattr(deployment, name) for name in PLANNED})
    lost = Approval.objects.filter(deployment=deployment).exclude(plan_hash=deployment.plan_hash).count()
    record(deployment.stream, "deployment.replanned", AUREUS, plan_hash=deployment.plan_hash, approvals_lost=lost)
    return None


def _wait(deployment: Deployment, until: datetime | None, why: str, status: Status | None) -> None:
    if status is not None and status != deployment.status:
        move(deployment, status, actor=AUREUS, reason=why, wake_at=until)
    else:
        _update(deployment, reason=why, wake_at=until)


def _give_up(deployment: Deployment, ids: list[int], why: str) -> None:
    facts = facts_of(deployment, clock.now())
    stages = {s.position: s for s in facts.stages}
    rules = dict(Step.objects.filter(pk__in=ids).values_list("pk", "rule"))
    for step in facts.steps:
        if int(step.id) in ids:
            rule = rules[int(step.id)] or "deadline"
            now_is = given_up(step, stages[step.stage], why)
            _store(deployment, step, now_is, rule=rule)
            _call_people(deployment, now_is, stages[step.stage])
    _owe_new(deployment, why)


def _next_in_line(deployment: Deployment) -> list[tuple[str, str]]:
    """Who waited behind it."""
    waiting = deployment.installation.deployments.filter(status__in=WAITING)
    return [(str(one), lane) for one, lane in waiting.values_list("pk", "lane")]


def _update(deployment: Deployment, **columns: object) -> None:
    Deployment.objects.filter(pk=deployment.pk).update(**columns)
    for name, value in columns.items():
        setattr(deployment, name, value)


@transaction.atomic
def settle(claim: Claim, answer: Answer, lane: str | None = None) -> Turn | None:
    """Record an answer and, in the same transaction, everything that follows from it; None: the answer came too late.

    With a lane the caller takes the steps that became ready there; without one they are left to a wake-up.

    The step's row decides: another fence, or a deployment that has ended, and nothing at all is written.
    """
    deployment_id = Step.objects.filter(pk=claim.step_id).values_list("deployment_id", flat=True).first()
    if deployment_id is None:
        return None
    deployment = locked(deployment_id)
    now = clock.now()
    facts = facts_of(deployment, now)
    step = next((s for s in facts.steps if int(s.id) == claim.step_id), None)
    if (
        step is None
        or deployment.status != Status.IN_PROGRESS
        or step.fence != claim.fence
        or step.status is not StepStatus.RUNNING
    ):
        record(
            deployment.stream, "step.late_answer", AUREUS, step=claim.step_id, fence=claim.fence, result=answer.result
        )
        return None
    stage = next(s for s in facts.stages if s.position == step.stage)
    # What hosts and applications say may hold anything, and must not keep the step from its end.
    answer = replace(answer, reason=plain(answer.reason), rule=plain(answer.rule)[:100])
    _observe(deployment, answer.observed, now)
    now_is = after(step, stage, answer, now)
    _store(deployment, step, now_is, rule=answer.rule, output=plain(dict(answer.output)))
    if answer.result is Result.FAILED:
        _owe_new(deployment, answer.reason)
        _call_people(deployment, now_is, stage)
    turn = _turns(deployment, lane)
    turn.lane = turn.lane or deployment.lane
    return turn


def answer_for(deployment: Deployment, step: Step, answer: Answer) -> Turn | None:
    """Settle a waiting step from outside an effect, in the transaction that knows the answer. The caller locks."""
    Step.objects.filter(pk=step.pk, status=StepStatus.PENDING).update(held=False, not_before=clock.now())
    fences = lease.claim(Step._meta.db_table, [step.pk])
    return settle(Claim(step.pk, fences[step.pk]), answer) if fences else None


def _store(
    deployment: Deployment, before: StepFacts, after: StepFacts, *, rule: str = "", output: dict | None = None
) -> None:
    ended = after.status in (StepStatus.PASSED, StepStatus.FAILED)
    columns: dict[str, object] = {
        "status": after.status,
        "reason": after.reason[:2000],
        "held": after.held,
        "not_before": after.not_before,
        "lease_until": None,
        "failures": after.failures,
        "failing_since": after.failing_since,
    }
    columns |= {"rule": rule} if rule else {}
    columns |= {"output": output} if output else {}
    columns |= {"ended_at": clock.now()} if ended else {}
    Step.objects.filter(pk=before.id, fence=before.fence).update(**columns)
    if ended or after.failures > before.failures or after.held != before.held:
        word = "held" if after.held else (after.status if ended else "failed_try")
        about = {"kind": before.kind, "host": before.target or "", "reason": after.reason[:500], "rule": rule}
        record(deployment.stream, f"step.{word}", AUREUS, step=int(before.id), **about)


def _call_people(deployment: Deployment, step: StepFacts, stage: StageFacts) -> None:
    """A step that failed and is held for them, or that failed without stopping anything and would go unnoticed."""
    about = f"{deployment}: “{stage.name}” failed: {step.reason}"
    if step.held:
        page(deployment, f"{about}. It is held. {what_now(deployment)}")
    elif step.kind == "hook" and step.status is StepStatus.FAILED and stage.on_failure is OnFailure.GO_ON:
        page(deployment, f"{about}. Everything else goes on", severity="warning")


def _owe_new(deployment: Deployment, why: str) -> None:
    owed = core.newly_owed(facts_of(deployment, clock.now()))
    for target in deployment.targets.filter(name__in=list(owed)):
        owe(deployment, target, why)


def _observe(deployment: Deployment, seen: tuple[Observation, ...], now: datetime) -> None:
    """Write down what was seen of hosts, on the deployment's targets and on the endpoints themselves."""
    targets = {t.name: t for t in deployment.targets.select_related("endpoint")}
    for one in seen:
        target = targets.get(one.endpoint)
        if target is not None:
            _observe_target(deployment, target, one, now)


def _observe_target(deployment: Deployment, target: Target, seen: Observation, now: datetime) -> None:
    mine: dict[str, object] = {}
    theirs: dict[str, object] = {}
    if seen.serving is not None:
        mine["serving"] = theirs["serving"] = seen.serving
    if seen.healthy is not None:
        theirs["healthy"] = seen.healthy
    if seen.looked:
        content = seen.content or ""
        mine |= {"observed": content, "observed_at": now}
        theirs |= {"observed": content, "observed_at": now}
        if target.claimed_at is None and not deployment.is_rollback:
            proven = held_within_reach(deployment.installation)
            mine["from_content"] = content
            mine["back_content"] = back_for(proven, running=content, to_content=target.to_content)
        elif target.state != TargetState.OWED and target.claimed_at is not None:
            on_to = content == target.to_content and bool(seen.healthy)
            mine["state"] = TargetState.ON_TO if on_to else TargetState.CHANGED
    if mine:
        Target.objects.filter(pk=target.pk).update(**mine)
    if theirs:
        Endpoint.objects.filter(pk=target.endpoint_id).update(**theirs)


__all__ = ["Claim", "Result", "Turn", "advance", "settle"]
