"""Celery: every setting, every queue and the whole beat table in sight.

A message is a hint that carries ids; rows are the truth.
"""

import os
import warnings
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from django.conf import settings
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aureus.settings")

from aureus import broker, servers

QUEUES = ("deploy", "rollback", "transfer", "watch", "sweep", "smoke", "workflow", "notify")
TICK = 1.0
LOOK_EVERY = 5.0
"""Seconds between two rounds of looking at hosts; which hosts are due is a matter of rows."""
CANARY_EVERY = 5.0
PRUNE_EVERY = 3600.0

# Workers run as whoever started Aureus, who must be able to read the SSH keys; as root Celery warns at each start.
warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")


def pruning(days: int) -> dict[str, Any]:
    """The entry that removes artifacts; none where they are kept for ever."""
    options = {"queue": "transfer", "expires": PRUNE_EVERY}
    return {"prune": {"task": "prune artifacts", "schedule": PRUNE_EVERY, "options": options}} if days else {}


app = Celery("aureus", amqp=broker.Amqp, set_as_current=True)
app.conf.update(
    broker_url=servers.broker(settings.AUREUS),
    broker_transport_options={
        "visibility_timeout": 120,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # Without a socket timeout one half-open connection stops the worker for good.
        "socket_timeout": 3,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 3,
        "retry_on_timeout": True,
        "global_keyprefix": "aureus:",
        "client_name": "aureus-worker",
    },
    broker_connection_retry=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_pool_limit=10,
    broker_pool_acquire_timeout=5,
    # Fail fast: the sweep is the retry.
    task_publish_retry=True,
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2},
    result_backend=None,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    task_track_started=False,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_retry_on_worker_lost=False,
    task_acks_on_failure=True,
    task_acks_on_timeout=True,
    task_time_limit=60,
    task_soft_time_limit=45,
    task_serializer="json",
    accept_content=["json"],
    result_serializer="json",
    task_queues=[Queue(name) for name in QUEUES],
    task_default_queue="deploy",
    task_create_missing_queues=False,
    task_send_sent_event=False,
    worker_send_task_events=True,
    event_queue_expires=60,
    event_queue_ttl=5,
    worker_enable_remote_control=True,
    worker_hijack_root_logger=False,
    worker_pool="prefork",
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=False,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    worker_deduplicate_successful_tasks=False,
    worker_soft_shutdown_timeout=30,
    worker_enable_soft_shutdown_on_idle=False,
    worker_max_tasks_per_child=1000,
    worker_max_memory_per_child=300_000,
    worker_eta_task_limit=100,
    timezone="UTC",
    enable_utc=True,
    beat_max_loop_interval=1,
    beat_schedule={
        "sweep": {"task": "wake due deployments", "schedule": TICK, "options": {"queue": "sweep", "expires": 5}},
        "watch": {"task": "sample open windows", "schedule": TICK, "options": {"queue": "watch", "expires": 5}},
        "look": {"task": "look at hosts", "schedule": LOOK_EVERY, "options": {"queue": "watch", "expires": 5}},
        **{
            f"canary {queue}": {
                "task": "answer canary",
                "args": (queue,),
                "schedule": CANARY_EVERY,
                "options": {"queue": queue, "expires": 15},
            }
            for queue in QUEUES
        },
        **pruning(settings.AUREUS.ARTIFACT_RETENTION_DAYS),
    },
)
app.autodiscover_tasks()


@setup_logging.connect
def _keep_our_logging(**_: object) -> None:
    """Settings have set up logging already; a receiver keeps Celery from doing it again."""
