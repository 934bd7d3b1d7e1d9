"""Publishing hints: by a task's name, without ever waiting for a broker that is away. The sweep is the retry."""

from __future__ import annotations

import structlog
from celery import current_app
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)

STALE = 60
"""Seconds after which a hint is not worth following: the sweep has given a newer one."""
ADVANCE, TRANSFER, SMOKE = "advance deployment", "send release to hosts", "run smoke tests"
WORKFLOW = "advance workflow run"
CANARY = "answer canary"
"""Tasks by name: their module brings the SSH drivers along, which the web has no use for."""
IMPATIENT = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
    "connect_retries_timeout": 1,
    "socket_connect_timeout": 1,
    "socket_timeout": 1,
    "retry_on_timeout": False,
}
"""Measured with the settings of workers: a broker that refuses holds a publisher up for 6 s, a silent one longer."""


def hint(deployment_id: str, lane: str) -> bool:
    """Tell a worker of that lane to look at a deployment; False where the broker does not take it."""
    return publish(TRANSFER if lane == "transfer" else ADVANCE, [deployment_id, lane], lane)


def hint_smoke(run: str) -> bool:
    """Tell a worker of a smoke run that was asked for."""
    return publish(SMOKE, [run], "smoke")


def hint_workflow(run: str) -> bool:
    """Tell a worker to look at a run of a workflow."""
    return publish(WORKFLOW, [run], "workflow")


def publish(task: str, args: list[str], queue: str) -> bool:
    """Publish one message; False, within about a second, where the broker does not take it."""
    options = {**current_app.conf.broker_transport_options, **IMPATIENT}
    try:
        with current_app.connection_for_write(connect_timeout=1, transport_options=options) as broker:
            current_app.send_task(task, args, queue=queue, expires=STALE, retry=False, connection=broker)
    except (OperationalError, OSError) as error:
        log.warning("the broker does not take a hint", queue=queue, error=str(error))
        return False
    return True
