"""Figures read from rows at each scrape, so that every process shows the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db import connection
from django.db.models import Count, Min
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from aureus import clock
from deployments.engine.status import OPEN
from deployments.engine.truth import Standing
from deployments.models import Deployment, Endpoint, Incident, Installation, Step
from health import canaries
from health.models import SmokeRun, Window, WorkflowRun

BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds; the upper bounds of a workflow's duration."""

WORKFLOWS = f"""
    SELECT result.value->>'status', (result.value->>'duration')::float / 1000
    FROM {SmokeRun._meta.db_table} run
    CROSS JOIN LATERAL jsonb_array_elements(run.results) WITH ORDINALITY AS result(value, place)
    WHERE run.verdict <> '' AND run.tests->(place::int - 1) ? 'workflowId'
    UNION ALL
    SELECT status, extract(epoch FROM ended_at - started_at)::float FROM {WorkflowRun._meta.db_table}
    WHERE ended_at IS NOT NULL
"""


STATES = (
    ("aureus_drifting_endpoints", "Endpoints seen twice to run what is not recorded.", Standing.DRIFTED),
    ("aureus_flapping_endpoints", "Endpoints whose service or version changes again and again.", Standing.FLAPPING),
    ("aureus_unreachable_endpoints", "Endpoints not reached in several looks.", Standing.UNREACHABLE),
)


class Rows:
    """A collector for prometheus_client."""

    def collect(self) -> Iterator[Metric]:
        yield from _deployments()
        yield from _waiting()
        yield from _fleet()
        yield from _workflows()
        yield from _journal()
        yield from _canaries()


def _deployments() -> Iterator[Metric]:
    total = CounterMetricFamily(
        "aureus_deployments",
        "Deployments by environment, status and outcome.",
        labels=["environment", "status", "outcome"],
    )
    rows = Deployment.objects.order_by().values_list("installation__environment__name", "status", "outcome")
    for environment, status, outcome, count in rows.annotate(Count("id")):
        total.add_metric([environment, status, outcome], count)
    yield total


def _waiting() -> Iterator[Metric]:
    now = clock.now()
    age = GaugeMetricFamily(
        "aureus_oldest_open_deployment_seconds",
        "Age of the oldest deployment that has not ended.",
        labels=["environment"],
    )
    opened = Deployment.objects.filter(status__in=list(OPEN)).order_by()
    for name, first in opened.values_list("installation__environment__name").annotate(Min("created_at")):
        age.add_metric([name], (now - first).total_seconds())
    yield age
    yield _gauge("aureus_due_deployments", "Deployments that somebody should look at by now.",
                 Deployment.objects.filter(wake_at__lte=now).count())  # fmt: skip
    yield _gauge("aureus_held_steps", "Steps that wait for a person.",
                 Step.objects.filter(held=True, deployment__status__in=list(OPEN)).count())  # fmt: skip
    windows = Window.objects.filter(closed_at=None)
    yield _gauge("aureus_open_windows", "Monitoring windows that are open.", windows.count())
    late = windows.aggregate(due=Min("next_sample_at"))["due"]
    yield _gauge("aureus_sampling_lateness_seconds", "How late the most overdue sample is.",
                 max((now - late).total_seconds(), 0) if late else 0)  # fmt: skip


def _fleet() -> Iterator[Metric]:
    labels = ["environment"]
    owed = GaugeMetricFamily("aureus_owed_endpoints", "Endpoints not brought where they belong.", labels=labels)
    living = Endpoint.objects.filter(retired=False).order_by().values_list("installation__environment__name")
    states = [
        (GaugeMetricFamily(name, told, labels=labels), living.filter(state=state, owed=""))
        for name, told, state in STATES
    ]
    for metric, found in [(owed, living.exclude(owed="")), *states]:
        for name, count in found.annotate(Count("id")):
            metric.add_metric([name], count)
        yield metric
    yield _gauge("aureus_unproven_installations", "Installations that change no host until they were compared.",
                 Installation.objects.exclude(unproven="").count())  # fmt: skip
    incidents = GaugeMetricFamily("aureus_open_incidents", "What a person must look at.", labels=["severity"])
    for severity, count in (
        Incident.objects.filter(resolved_at=None).order_by().values_list("severity").annotate(Count("id"))
    ):
        incidents.add_metric([severity], count)
    yield incidents


def _workflows() -> Iterator[Metric]:
    """A workflow execution is one workflow test of a smoke run, or one run of a version's workflow.

    Cancelling is a person's choice: it is counted as an execution, not as an error.
    """
    done = _query(WORKFLOWS)
    total = CounterMetricFamily("aureus_workflow_executions", "Workflow executions by status.", labels=["status"])
    for status in ("passed", "failed", "cancelled"):
        total.add_metric([status], sum(found == status for found, _ in done))
    yield total
    failed = sum(found == "failed" for found, _ in done)
    yield CounterMetricFamily("aureus_workflow_errors", "Workflow executions that failed.", value=failed)
    seconds = [duration or 0.0 for _, duration in done]
    buckets = [(str(bound), float(sum(s <= bound for s in seconds))) for bound in BOUNDS]
    yield HistogramMetricFamily(
        "aureus_workflow_execution_duration_seconds", "How long workflow executions took.",
        buckets=[*buckets, ("+Inf", float(len(seconds)))], sum_value=sum(seconds),
    )  # fmt: skip


def _journal() -> Iterator[Metric]:
    """Counting events would read them all; the sequence tells nearly the same at no cost."""
    [[written]] = _query("SELECT coalesce(max(seq), 0) FROM journal_event")
    yield CounterMetricFamily(
        "aureus_event_log_writes", "Events written, by the newest sequence number.", value=written
    )
    [[done]] = _query("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()")
    yield CounterMetricFamily("aureus_state_store_operations", "Transactions of the state store.", value=done)


def _canaries() -> Iterator[Metric]:
    age = GaugeMetricFamily(
        "aureus_queue_canary_age_seconds",
        "Seconds since the worker of a queue, or the dispatcher, last answered; absent before its first answer.",
        labels=["queue"],
    )
    for name, seconds in canaries.ages().items():
        if seconds is not None:
            age.add_metric([name], seconds)
    yield age


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _query(sql: str) -> Iterable[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()
