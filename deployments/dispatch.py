"""The emergency path: wakes what is due each second, and does the urgent work itself while the broker is away.

Beat and the workers need the broker; a rollback must not. When publishing has failed for ten seconds this process
samples and judges the open windows and carries rollbacks and aborts; forward steps wait until the broker is back.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from celery import current_app
from django.db import Error, close_old_connections, connection
from kombu.exceptions import OperationalError

from deployments import execution, leases, smoke, watching
from deployments.hints import hint, hint_smoke
from deployments.models import Deployment
from deployments.outside import Outside, real
from health import canaries

log = structlog.get_logger(__name__)

TICK = 1.0
BROKER_AWAY_FOR = 10.0
"""Seconds of failed publishing after which this process works itself."""
CANARY_EVERY = 5.0
TURN = 5.0
"""Seconds spent on one deployment before the others and the windows are looked at again."""


def broker_answers() -> bool:
    """Whether the broker takes messages now; asked with a time limit of its own."""
    try:
        with current_app.connection_for_write(connect_timeout=2) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=2)
            broker.default_channel.client.ping()
    except (OperationalError, OSError):
        return False
    except Exception as error:  # redis raises its own family; whatever it is, the broker did not answer
        log.warning("the broker does not answer", error=f"{type(error).__name__}: {error}")
        return False
    return True


@dataclass
class Dispatcher:
    """One instance per machine; several side by side do no harm, since sweep and claims are rows."""

    outside: Outside
    answers: Callable[[], bool] = broker_answers
    away_since: float | None = None
    urgent: list[tuple[str, str]] = field(default_factory=list)

    def tick(self, now: float) -> None:
        """One look: publish what is due, or, with the broker away for long, do what cannot wait."""
        if self.answers():
            if self.away_since is not None:
                log.info("the broker is back", seconds=round(now - self.away_since))
            self.away_since = None
            for deployment_id, lane in leases.sweep():
                hint(deployment_id, lane)
            for run in smoke.due():
                hint_smoke(run)
            return
        self.away_since = now if self.away_since is None else self.away_since
        if now - self.away_since >= BROKER_AWAY_FOR:
            self.work()

    def work(self) -> None:
        """Sample, judge, and carry what must not wait for the broker."""
        watching.sample_due(self.remember, self.outside.hosts)
        for deployment_id, lane in [*self.take_urgent(), *leases.sweep()]:
            if lane == "rollback" or _is_aborting(deployment_id):
                self.carry(deployment_id, lane)

    def carry(self, deployment_id: str, lane: str) -> None:
        """One deployment's turn. What goes wrong in it keeps no other from its own."""
        try:
            execution.work_on(deployment_id, lane, self.outside, self.remember, budget=TURN)
        except Error:
            raise
        except Exception:
            log.exception("a deployment could not be carried on", deployment=deployment_id)

    def remember(self, deployment_id: str, lane: str) -> None:
        """A hint to ourselves."""
        self.urgent.append((deployment_id, lane))

    def take_urgent(self) -> list[tuple[str, str]]:
        """What was remembered, once each."""
        taken, self.urgent = list(dict.fromkeys(self.urgent)), []
        return taken


def _is_aborting(deployment_id: str) -> bool:
    return Deployment.objects.filter(pk=deployment_id).exclude(abort_reason="").exists()


def run() -> int:
    """Dispatch until SIGTERM or SIGINT."""
    stop, answered_at = threading.Event(), -CANARY_EVERY
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    dispatcher = Dispatcher(real())
    log.info("dispatching")
    while not stop.wait(TICK):
        close_old_connections()
        try:
            dispatcher.tick(time.monotonic())
            if time.monotonic() - answered_at >= CANARY_EVERY:
                canaries.answered([canaries.DISPATCHER])
                answered_at = time.monotonic()
        except Error as error:
            log.warning("the database does not answer", error=str(error))
            connection.close()
    return 0
