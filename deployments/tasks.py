"""The Celery tasks: each carries ids, decides nothing, and may be lost or repeated at any time."""

from __future__ import annotations

import structlog
from celery import shared_task
from kombu.exceptions import OperationalError

from deployments import execution, leases, smoke, watching
from deployments.outside import real

log = structlog.get_logger(__name__)
STALE = 60
"""Seconds after which a hint is not worth following: the sweep has given a newer one."""


def hint(deployment_id: str, lane: str) -> bool:
    """Tell a worker of that lane to look at a deployment; False where the broker does not take it."""
    return publish(transfer if lane == "transfer" else advance, [deployment_id, lane], lane)


def publish(task, args: list[str], queue: str) -> bool:
    """Publish without waiting for a broker that is away: the sweep is the retry."""
    try:
        task.apply_async(args, queue=queue, expires=STALE, retry=False)
    except (OperationalError, OSError) as error:
        log.warning("the broker does not take a hint", queue=queue, error=str(error))
        return False
    return True


@shared_task(name="advance deployment")
def advance(deployment_id: str, lane: str) -> None:
    """Carry a deployment on."""
    execution.work_on(deployment_id, lane, real(), hint)


@shared_task(name="send release to hosts", time_limit=3700, soft_time_limit=3600)
def transfer(deployment_id: str, lane: str) -> None:
    """Carry a deployment on where it sends bytes, which may take long."""
    execution.work_on(deployment_id, lane, real(), hint)


@shared_task(name="wake due deployments", ignore_result=True)
def sweep() -> None:
    """Hint whatever is due."""
    for deployment_id, lane in leases.sweep():
        hint(deployment_id, lane)


@shared_task(name="sample open windows")
def watch() -> None:
    """Sample and judge the monitoring windows that are due."""
    watching.sample_due(hint)


@shared_task(name="run smoke tests")
def run_smoke(run: str) -> None:
    """Carry out a smoke run that CI asked for."""
    smoke.carry_out_asked(run, real(), hint)
