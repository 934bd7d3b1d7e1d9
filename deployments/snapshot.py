"""Rows in, the engine's frozen facts out."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Q

from deployments import gating, holding, schema
from deployments import policy as policies
from deployments.engine import facts
from deployments.engine.facts import OnFailure
from deployments.engine.status import Status, StepStatus, TargetState
from deployments.engine.strategies import MAIN, Fleet, Unfit
from deployments.engine.voices import Standing, Voice
from deployments.engine.voices import standing as count
from deployments.engine.way_back import way_back
from deployments.models import BreakGlass, Deployment, Installation
from deployments.policy import Policy

WAITING = (Status.PENDING, Status.AWAITING_APPROVAL)


def policy_of(installation: Installation) -> Policy:
    """The environment's policy, tightened by the installation."""
    return policies.tightened(policies.stored(installation.environment.policy), installation.policy_overrides)


def facts_of(deployment: Deployment, now: datetime) -> facts.Deployment:
    """What `decide` reads of one deployment, under its lock. Steps that passed or were skipped say nothing."""
    with connection.cursor() as cursor:
        cursor.execute(STAGES, [deployment.pk])
        stages = [_stage(*row) for row in cursor]
        cursor.execute(STEPS, [deployment.pk])
        steps = [_step(*row) for row in cursor]
        cursor.execute(TARGETS, [deployment.pk])
        targets = [_target(*row) for row in cursor]
    waits = deployment.status in WAITING
    return facts.Deployment(
        id=str(deployment.id),
        status=Status(deployment.status),
        stages=tuple(stages),
        steps=tuple(steps),
        targets=tuple(targets),
        paused=deployment.paused_by,
        aborting=deployment.abort_reason,
        is_rollback=deployment.is_rollback,
        may_roll_back=not deployment.is_convergence and not schema.no_return(deployment),
        start=start_of(deployment, now) if waits else facts.Start(),
    )


# Read several times in each wake-up: written out, so that nothing has to be composed each time.
STAGES = """
    SELECT position, name, lane, min_serving, max_failures, on_failure, retries, patience
    FROM deployments_stage WHERE deployment_id = %s ORDER BY position
"""
STEPS = """
    SELECT step.id::text, stage.position, step.kind, nullif(step.target, ''), step.removes, step.status, step.reason,
           step.held, step.not_before, step.deadline_at, step.lease_until, step.fence, step.attempts, step.failures,
           step.failing_since
    FROM deployments_step AS step JOIN deployments_stage AS stage ON stage.id = step.stage_id
    WHERE step.deployment_id = %s AND step.status NOT IN ('passed', 'skipped')
    ORDER BY stage.position, step.id
"""
TARGETS = """
    SELECT name, to_content, nullif(from_content, ''), nullif(back_content, ''), claimed_at IS NOT NULL, serving, state,
           resting
    FROM deployments_target WHERE deployment_id = %s ORDER BY id
"""


def _stage(*row: Any) -> facts.Stage:
    position, name, lane, min_serving, max_failures, on_failure, retries, patience = row
    return facts.Stage(position, name, lane, min_serving, max_failures, OnFailure(on_failure), retries, patience)


def _step(*row: Any) -> facts.Step:
    step, stage, kind, target, removes, status, *rest = row
    names = tuple(json.loads(removes) if isinstance(removes, str) else removes)
    reason, held, not_before, deadline_at, lease_until, fence, attempts, failures, failing_since = rest
    return facts.Step(
        step, stage, kind, target, names, StepStatus(status), reason, held, not_before, deadline_at, lease_until,
        fence, attempts, failures, failing_since,
    )  # fmt: skip


def _target(*row: Any) -> facts.Target:
    name, to_content, from_content, back_content, claimed, serving, state, resting = row
    state = TargetState(state)
    return facts.Target(name, to_content, from_content, back_content, claimed, serving, state, resting)


def start_of(deployment: Deployment, now: datetime) -> facts.Start:
    """What stands between a deployment and its start; before a rollback only what is under way."""
    if deployment.is_rollback:
        return facts.Start(behind=_behind(deployment))
    installation = deployment.installation
    policy = policy_of(installation)
    no = deployment.approvals.filter(plan_hash=deployment.plan_hash, yes=False).first()
    glass = holding.glass_of(deployment, now)
    needed = 0 if holding.is_broken(glass) else policy.needs(deployment.risk)
    voices = standing(deployment, needed, policy, now)
    hold = _hold(deployment, policy, glass, now)
    return facts.Start(
        approvals_needed=needed,
        approvals=voices.count,
        rejected=f"rejected by {no.by}{': ' + no.comment if no.comment else ''}" if no else "",
        broken=broken(deployment, passed=glass is not None),
        held=installation.held or installation.environment.locked,
        behind=_behind(deployment),
        frozen_until=hold.until if hold else None,
        frozen=hold.why if hold else "",
        plan_is_current=deployment.revisions == revisions(installation) and changes_the_resting_side(deployment),
        note="; ".join(filter(None, (voices.expired, holding.told_of(deployment, glass)))),
        look_at=facts.earliest([voices.until, glass.expires_at if glass else None]),
    )


def standing(deployment: Deployment, needed: int, policy: Policy, now: datetime) -> Standing:
    """Which yes to the plan as it is counts now."""
    said = deployment.approvals.filter(plan_hash=deployment.plan_hash, yes=True, renewed_at=None)
    every = [Voice(by, at) for by, at in said.values_list("by", "at")]
    return count(every, needed=needed, lives=timedelta(seconds=policy.approval_expires), now=now)


def _hold(deployment: Deployment, policy: Policy, glass: BreakGlass | None, now: datetime) -> holding.Hold | None:
    """What holds it longest. With gates that fail it waits for somebody to confirm that the glass is broken."""
    if holding.is_broken(glass):
        return None
    if glass is not None and broken(deployment):
        return holding.Hold("glass", glass.expires_at, holding.told_of(deployment, glass))
    return next(iter(holding.holds(deployment, policy, now)), None)


def revisions(installation: Installation) -> dict[str, int]:
    """What a plan is made for."""
    return {"environment": installation.environment.revision, "installation": installation.revision}


def changes_the_resting_side(deployment: Deployment) -> bool:
    """Of two sides, whether its plan is for the one that rests now: what ran in between may have switched them."""
    living = deployment.installation.endpoints.filter(retired=False, host__state="active").exclude(slot=MAIN)
    endpoints = list(living.select_related("host"))
    if not endpoints:
        return True
    sides = {e.name: e.slot for e in endpoints}
    fleet = Fleet(tuple(sides), sides=sides, serving={e.name for e in endpoints if e.serving})
    try:
        resting, _ = fleet.split()
    except Unfit:
        return False
    return set(resting) == set(deployment.targets.filter(resting=False).values_list("name", flat=True))


def broken(deployment: Deployment, *, passed: bool = False) -> str:
    """The fact on which this deployment was asked for and which holds no more; "" while all hold.

    passed: people let it past its gates. What says that these are the bytes that were meant is asked all the same.
    """
    version, source, to = deployment.version, deployment.source, deployment.installation
    if version.withdrawn_at is not None:
        return f"version {version.number} was withdrawn: {version.withdrawn_reason}"
    if version.digest != deployment.digest:
        return f"version {version.number} is not what it was when this was asked for"
    if source is not None and source.status != Status.DEPLOYED and not passed:
        return f"its source in {source.installation.environment} is {source.status.replace('_', ' ')} now"
    if source is not None:
        answers = gating.checks(source, to, policy_of(to), again=True)
        return " ".join(gating.reasons(gating.never_passed(answers) if passed else answers))
    if deployment.is_convergence:
        return ""
    if not passed and deployment.skips_promotion:
        return f"{to.environment} takes versions by promotion, and nobody let this one past that in time"
    return " ".join(gating.reasons(gating.of_target(version, to, policy_of(to))))


def _behind(deployment: Deployment) -> str:
    """Who has to end first: the active one, and in a queue that keeps its order the older waiting ones."""
    others = Deployment.objects.filter(installation=deployment.installation_id).exclude(pk=deployment.pk)
    active = others.filter(status=Status.IN_PROGRESS).select_related("version").first()
    if active is not None:
        return f"waits behind the deployment of {active.version.number} ({active.id})"
    older = others.filter(status__in=WAITING, reverts=None).filter(
        Q(created_at__lt=deployment.created_at) | Q(created_at=deployment.created_at, id__lt=deployment.id)
    )
    first = older.order_by("created_at", "id").select_related("version").first()
    return f"waits behind {first.version.number} ({first.id}), which was asked for earlier" if first else ""


def back_for(proven: list[str], *, running: str, to_content: str) -> str:
    """Where a host that runs this would go back to; "" where there is no way back."""
    return way_back(proven, from_content=running or None, to_content=to_content) or ""
