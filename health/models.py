"""Is it well: smoke runs, monitoring windows, their samples, runs of workflows, and the canaries of Aureus itself.

`subject` is a deployment's id, without a key up.
"""

from __future__ import annotations

import uuid

from django.db import models

from aureus.journal.models import ClockTimestamp
from aureus.lease import Lease
from health.runs.facts import OPEN, Cause, RunStatus, TaskStatus
from health.runs.plan import Way
from releases.models import Version


class SmokeRun(Lease):
    """One run of active probes against the hosts of a deployment."""

    uuid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    subject = models.UUIDField(db_index=True)
    content = models.CharField(max_length=150)
    tests = models.JSONField()
    results = models.JSONField(default=list)
    observed = models.JSONField(default=dict, help_text="Content per host, before and after.")
    verdict = models.CharField(max_length=10, blank=True, choices=[(v, v) for v in ("passed", "failed")])
    asked_by = models.CharField(max_length=150)
    at = models.DateTimeField(db_default=ClockTimestamp())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-at", "-id"]


class Window(models.Model):
    """The time in which a version is watched: a bake between batches, or the long one after `deployed`."""

    class Kind(models.TextChoices):
        BAKE = "bake"
        AFTER = "after"

    class Verdict(models.TextChoices):
        PASS = "pass"  # noqa: S105 - a verdict
        FAIL = "fail"
        INCONCLUSIVE = "inconclusive"
        SUPERSEDED = "superseded"

    subject = models.UUIDField(db_index=True)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    content = models.CharField(max_length=150)
    endpoints = models.JSONField(help_text="What is watched: endpoint -> its addresses and expected content.")
    baseline = models.JSONField(default=dict, help_text="Endpoints still on `from`, watched for comparison.")
    before = models.JSONField(default=list, help_text="What each source counted of the old content before the start.")
    rules = models.JSONField(default=dict)
    checks = models.JSONField(default=list, help_text="Declared checks, their queries filled in.")
    armed = models.BooleanField(default=True, help_text="A failure starts the rollback by itself.")
    opens_at = models.DateTimeField()
    closes_at = models.DateTimeField()
    sample_seconds = models.FloatField(default=5.0)
    next_sample_at = models.DateTimeField(null=True, blank=True)
    readings = models.JSONField(default=dict, help_text="The last raw counters by endpoint, to subtract from.")
    held_since = models.DateTimeField(null=True, blank=True, help_text="Since when it could not be judged.")
    closed_at = models.DateTimeField(null=True, blank=True)
    verdict = models.CharField(max_length=20, blank=True, choices=Verdict.choices)
    cause = models.CharField(max_length=40, blank=True)
    basis = models.CharField(max_length=40, blank=True)
    flagged = models.BooleanField(default=False, help_text="Went on although it could not be judged, or degraded.")
    record = models.JSONField(default=dict, help_text="The decision: rule, values, samples, threshold, source, time.")

    class Meta:
        ordering = ["-opens_at", "-id"]
        indexes = [
            models.Index(fields=["next_sample_at"], condition=models.Q(closed_at=None), name="window_due"),
        ]


class Sample(models.Model):
    """One measurement of one host, in counts; or of a check, whose endpoint is empty where it speaks of all hosts."""

    window = models.ForeignKey(Window, on_delete=models.CASCADE, related_name="samples")
    endpoint = models.CharField(max_length=100, blank=True)
    content = models.CharField(max_length=150, blank=True)
    source = models.CharField(max_length=80, help_text="probe, a source of traffic, or check:NAME.")
    kind = models.CharField(max_length=20, default="counts")
    at = models.DateTimeField()
    seconds = models.FloatField(null=True, blank=True, help_text="How long a probe's answer took.")
    requests = models.IntegerField(default=0)
    errors = models.IntegerField(default=0)
    buckets = models.JSONField(default=list, help_text="Cumulative counts by upper bound in seconds; null: no bound.")
    healthy = models.BooleanField(null=True, blank=True)
    value = models.FloatField(null=True, blank=True, help_text="What a check's query answered.")
    why = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["at", "id"]
        indexes = [models.Index(fields=["window", "at"])]


class Canary(models.Model):
    """When a queue's worker last carried out the small message that asks whether it works."""

    name = models.CharField(max_length=40, primary_key=True)
    answered_at = models.DateTimeField()
    answered_by = models.CharField(max_length=100)

    class Meta:
        verbose_name_plural = "canaries"


class WorkflowRun(models.Model):
    """One run of a version's workflow: its tasks are rows, and so is each compensation."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="+")
    environment = models.CharField(
        max_length=60, blank=True, help_text="Where it runs the commands of an installation; empty: it runs none."
    )
    params = models.JSONField(default=dict)
    status = models.CharField(
        max_length=20, default=RunStatus.PENDING.value, choices=[(s.value, s.value) for s in RunStatus]
    )
    reason = models.TextField(default="", blank=True)
    cancel_reason = models.TextField(default="", blank=True)
    asked_by = models.CharField(max_length=150)
    at = models.DateTimeField(db_default=ClockTimestamp())
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    wake_at = models.DateTimeField(null=True, blank=True, help_text="When somebody has to look at it again.")
    hinted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["-at", "-id"]),
            models.Index(fields=["wake_at"], condition=models.Q(wake_at__isnull=False), name="workflow_run_due"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=[s.value for s in RunStatus]), name="workflow_run_status"
            ),
            models.CheckConstraint(
                condition=models.Q(ended_at=None, status__in=sorted(s.value for s in OPEN))
                | (models.Q(ended_at__isnull=False) & ~models.Q(status__in=sorted(s.value for s in OPEN))),
                name="workflow_run_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.id}"

    @property
    def stream(self) -> str:
        """Its stream of events."""
        return f"workflow-run:{self.id}"


class TaskRun(Lease):
    """One task of a run on one way: forward, or back as the compensation of a task."""

    run = models.ForeignKey(WorkflowRun, on_delete=models.CASCADE, related_name="tasks")
    task = models.CharField(max_length=128)
    way = models.CharField(max_length=10, choices=[(w.value, w.value) for w in Way])
    position = models.IntegerField()
    cause = models.CharField(max_length=10, blank=True, choices=[(c.value, c.value) for c in Cause if c])
    doubtful = models.BooleanField(default=False, help_text="Of some try nobody knows whether it happened.")
    picked = models.JSONField(default=list, help_text="The followers that a decision picked.")
    output = models.JSONField(default=dict)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["way", "position"]
        constraints = [
            models.UniqueConstraint(fields=["run", "way", "task"], name="task_once_a_way"),
            models.CheckConstraint(
                condition=models.Q(status__in=[s.value for s in TaskStatus]), name="task_run_status"
            ),
        ]
