"""What the risk of a plan is made of, read from rows; the judgement itself is engine/risk.py's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from django.db.models import Q

from deployments.engine.risk import Assessed, Facts, Risk, assess
from deployments.engine.stages import PlannedStage
from deployments.engine.status import Outcome, Status
from deployments.engine.strategies import MAIN
from deployments.models import CONVERGENCE, Deployment, Target
from deployments.policy import Policy

BAD = Q(status=Status.ROLLED_BACK) | Q(outcome__in=(Outcome.ERROR, Outcome.ABORTED, Outcome.ABANDONED))
"""Attempts that failed or were undone; what was rejected, cancelled or superseded says nothing about the version."""
LOOKED_BACK = 20


def assessed(
    deployment: Deployment, stages: Iterable[PlannedStage], targets: Sequence[Target], policy: Policy
) -> Assessed:
    """The risk of a forward deployment with this plan."""
    changing = [target for target in targets if not target.resting]
    return assess(
        Facts(
            environment=deployment.installation.environment.name,
            promoted_to=policy.promote_from is not None,
            tier=tier_of(deployment.version.spec),
            hosts=len(changing),
            at_once=_at_once(deployment, stages, changing, policy),
            schema_change=deployment.version.schema_change,
            no_way_back=tuple(t.name for t in changing if t.from_content and not t.back_content),
            **_history(deployment),
        )
    )


def tier_of(spec: Any) -> str:
    """The highest riskTier of a spec's tasks; "" where none has one."""
    tasks = spec.get("tasks") if isinstance(spec, Mapping) else None
    named = {task.get("riskTier") for task in tasks or () if isinstance(task, Mapping)}
    return next((level.name for level in reversed(Risk) if level.name in named), "")


def _at_once(deployment: Deployment, stages: Iterable[PlannedStage], changing: Sequence[Target], policy: Policy) -> int:
    """How many hosts begin to serve the version at the same moment; between two sides, by the share of the traffic."""
    if all(target.endpoint.slot == MAIN for target in changing):
        return max((sum(step.kind == "activate" for step in stage.steps) for stage in stages), default=0)
    weights = policy.weights if deployment.strategy == "canary" else (100,)
    largest = max(high - low for low, high in pairwise((0, *weights)))
    return math.ceil(len(changing) * largest / 100)


def _history(deployment: Deployment) -> dict[str, int]:
    tried = Deployment.objects.filter(reverts=None).exclude(strategy=CONVERGENCE).exclude(pk=deployment.pk)
    of_version = tried.filter(BAD, version=deployment.version_id)
    here = Q(installation=deployment.installation_id)
    over = tried.filter(here & (BAD | Q(status=Status.DEPLOYED))).order_by("-created_at")
    in_a_row = 0
    for status in over.values_list("status", flat=True)[:LOOKED_BACK]:
        if status == Status.DEPLOYED:
            break
        in_a_row += 1
    return {
        "failed_here": of_version.filter(here).count(),
        "failed_elsewhere": of_version.exclude(here).count(),
        "in_a_row": in_a_row,
    }
