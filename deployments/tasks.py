"""The Celery tasks: each carries ids, decides nothing, and may be lost or repeated at any time."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from aureus.journal.actor import AUREUS
from deployments import execution, hints, keeping, leases, smoke, tools, watching
from deployments.fleet import looking
from deployments.hints import hint, hint_smoke, hint_workflow
from deployments.outside import artifact_store, real
from health import canaries
from health.runs import carrying
from health.runs import lifecycle as runs
from releases.keeping import Rule


@shared_task(name=hints.ADVANCE)
def advance(deployment_id: str, lane: str) -> None:
    """Carry a deployment on."""
    execution.work_on(deployment_id, lane, real(), hint)


@shared_task(name=hints.TRANSFER, time_limit=3700, soft_time_limit=3600)
def transfer(deployment_id: str, lane: str) -> None:
    """Carry a deployment on where it sends bytes, which may take long."""
    execution.work_on(deployment_id, lane, real(), hint)


@shared_task(name="wake due deployments", ignore_result=True)
def sweep() -> None:
    """Hint whatever is due."""
    for deployment_id, lane in leases.sweep():
        hint(deployment_id, lane)
    for run in smoke.due():
        hint_smoke(run)
    for workflow_run in runs.due():
        hint_workflow(workflow_run)


@shared_task(name="sample open windows")
def watch() -> None:
    """Sample and judge the monitoring windows that are due."""
    watching.sample_due(hint, real().hosts)


@shared_task(name="look at hosts")
def look_at_hosts() -> None:
    """See what hosts really run, where no deployment is under way. Nothing is changed on them."""
    looking.take_round(real(), settings.AUREUS.HOST_LOOK_INTERVAL)


@shared_task(name=hints.SMOKE)
def run_smoke(run: str) -> None:
    """Carry out a smoke run that CI asked for."""
    smoke.carry_out_asked(run, real(), hint)


@shared_task(name=hints.WORKFLOW, time_limit=700, soft_time_limit=660)
def run_workflow(run: str) -> None:
    """Carry a run of a workflow on; one try of a task may take ten minutes."""
    carrying.work_on(run, tools.configured(settings.AUREUS, run, real().hosts), hint_workflow)


@shared_task(name="prune artifacts", time_limit=3700, soft_time_limit=3600)
def prune_artifacts() -> None:
    """Remove artifacts that nobody needs any more."""
    rule = Rule(settings.AUREUS.ARTIFACT_RETENTION_DAYS, settings.AUREUS.ARTIFACT_RETENTION_COUNT)
    keeping.prune(rule, artifact_store(), actor=AUREUS)


@shared_task(name=hints.CANARY)
def answer_canary(queue: str) -> None:
    """Say that this queue's worker works."""
    canaries.answered([queue])
