"""One attempt to bring one version to one installation: its plan as rows, and what became of it."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from aureus.journal.models import ClockTimestamp
from aureus.lease import Lease
from deployments.engine.facts import OnFailure
from deployments.engine.risk import Risk
from deployments.engine.status import OPEN, Outcome, Status, StepStatus, TargetState
from deployments.models.configuration import Configuration
from deployments.models.fleet import Endpoint, Installation
from releases.models import Version


def choices(words: type) -> list[tuple[str, str]]:
    """An enumeration of the engine as Django's choices."""
    return [(word.value, word.value.replace("_", " ")) for word in words]  # type: ignore[attr-defined]


CONVERGENCE = "converge"
"""The strategy of what brings owed and drifted hosts where the current deployment belongs: it completes that one."""
MAY_BE_CURRENT = Q(status=Status.DEPLOYED) & ~Q(strategy=CONVERGENCE)
OPEN_OR_DEPLOYED = [*sorted(s.value for s in OPEN), Status.DEPLOYED.value]


class Deployment(models.Model):
    """One attempt. A rollback is a deployment with `reverts` set."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    installation = models.ForeignKey(Installation, on_delete=models.PROTECT, related_name="deployments")
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="deployments")
    configuration = models.ForeignKey(
        Configuration, null=True, blank=True, on_delete=models.PROTECT, related_name="deployments"
    )
    content = models.CharField(max_length=150, help_text="What it brings: version and configuration, by their digests.")
    strategy = models.CharField(max_length=30)
    status = models.CharField(max_length=20, choices=choices(Status), default=Status.PENDING)
    outcome = models.CharField(max_length=20, choices=choices(Outcome), blank=True)
    reason = models.TextField(blank=True)
    intent = models.JSONField(default=dict, help_text="What the plan hash is of.")
    plan_hash = models.CharField(max_length=64, blank=True)
    risk = models.CharField(
        max_length=10, choices=choices(Risk), blank=True, help_text="Of its plan; empty for what nobody approves."
    )
    risk_reasons = models.JSONField(default=list, blank=True, help_text="[level, why] for each, the highest first.")
    revisions = models.JSONField(
        default=dict, help_text="Revisions of environment and installation it was planned for."
    )
    source = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="promotions")
    reverts = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="rollbacks")
    skips_promotion = models.BooleanField(
        default=False, help_text="It never was where versions come from: it starts by a broken glass or not at all."
    )
    retry_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="retries")
    because = models.TextField(blank=True, help_text="Why it was asked for, where a reason was demanded.")
    requested_by = models.CharField(max_length=150)
    answerable = models.CharField(max_length=150, blank=True, help_text="The person behind who asked for it.")
    label = models.CharField(max_length=200, blank=True, help_text="deployedBy or promotedBy of the request, echoed.")
    metadata = models.JSONField(default=dict, blank=True)
    digest = models.CharField(max_length=64, help_text="The version's digest when this was asked for.")
    lane = models.CharField(max_length=20, default="deploy")
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    started_at = models.DateTimeField(null=True, blank=True)
    deployed_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    good_at = models.DateTimeField(null=True, blank=True, help_text="When its window passed.")
    paused_by = models.CharField(max_length=150, blank=True)
    pause_reason = models.TextField(blank=True)
    abort_reason = models.TextField(blank=True)
    wake_at = models.DateTimeField(null=True, blank=True, help_text="When somebody must look at it again.")
    hinted_at = models.DateTimeField(null=True, blank=True, help_text="When a worker was last told to.")

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in Status]), name="deployment_status_is_legal"
            ),
            models.CheckConstraint(
                condition=Q(status=Status.FAILED) & ~Q(outcome="") | ~Q(status=Status.FAILED) & Q(outcome=""),
                name="a_failure_has_an_outcome",
            ),
            models.UniqueConstraint(
                fields=["installation"], condition=Q(status=Status.IN_PROGRESS), name="one_active_per_installation"
            ),
            models.UniqueConstraint(
                fields=["reverts"], condition=Q(status__in=OPEN_OR_DEPLOYED), name="one_rollback_per_deployment"
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at", "-id"]),
            models.Index(fields=["installation", "-created_at"]),
            models.Index(fields=["installation", "content"], name="deployment_content"),
            models.Index(fields=["wake_at"], condition=Q(wake_at__isnull=False), name="deployment_due"),
            models.Index(
                fields=["version"],
                condition=Q(status__in=(Status.PENDING, Status.AWAITING_APPROVAL)),
                name="deployment_waiting",
            ),
            models.Index(
                fields=["installation", "-deployed_at"], condition=Q(status=Status.DEPLOYED), name="deployment_current"
            ),
            models.Index(
                fields=["installation", "status"], condition=~Q(status=Status.FAILED), name="deployment_living"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} to {self.installation.environment}"

    @property
    def brings(self) -> str:
        """The version, and the revision of its variables where it has one, in words."""
        revision = f" with configuration {self.configuration.number}" if self.configuration else ""
        return f"{self.version.number}{revision}"

    @property
    def is_rollback(self) -> bool:
        """It undoes another deployment."""
        return self.reverts_id is not None

    @property
    def is_convergence(self) -> bool:
        """It completes the deployment in `retry_of`, changes no more than single hosts, and is never current itself."""
        return self.strategy == CONVERGENCE

    @property
    def environment(self):
        """The environment it goes to."""
        return self.installation.environment

    @property
    def stream(self) -> str:
        """The name of its events' stream."""
        return f"deployment:{self.id}"


class Stage(models.Model):
    """Steps that may run side by side, with their guards."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="stages")
    position = models.IntegerField()
    name = models.CharField(max_length=120)
    lane = models.CharField(max_length=20)
    min_serving = models.IntegerField()
    max_failures = models.IntegerField()
    on_failure = models.CharField(max_length=20, choices=choices(OnFailure))
    retries = models.IntegerField()
    patience = models.FloatField(help_text="Seconds of continuous failure that are borne.")

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["deployment", "position"], name="one_stage_per_position")]


class Step(Lease):
    """One row of the plan: one kind, at most one host."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="steps")
    stage = models.ForeignKey(Stage, on_delete=models.CASCADE, related_name="steps")
    kind = models.CharField(max_length=30)
    target = models.CharField(max_length=100, blank=True)
    removes = models.JSONField(default=list)
    input = models.JSONField(default=dict)
    output = models.JSONField(default=dict)
    rule = models.CharField(max_length=100, blank=True, help_text="The rule by which it was judged.")
    window = models.ForeignKey("health.Window", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    smoke_run = models.ForeignKey("health.SmokeRun", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=[s.value for s in StepStatus]), name="step_status_is_legal"),
        ]
        indexes = [models.Index(fields=["deployment", "id"])]


class Target(models.Model):
    """One host's part in one deployment."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="targets")
    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="targets")
    name = models.CharField(max_length=100)
    from_content = models.CharField(max_length=150, blank=True)
    back_content = models.CharField(max_length=150, blank=True)
    to_content = models.CharField(max_length=150, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True, help_text="When its activation was first claimed.")
    serving = models.BooleanField(default=False)
    resting = models.BooleanField(default=False, help_text="It has no traffic when this has ended well.")
    observed = models.CharField(max_length=150, blank=True)
    observed_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=choices(TargetState), default=TargetState.UNTOUCHED)
    why = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["deployment", "endpoint"], name="one_target_per_endpoint"),
            models.CheckConstraint(condition=Q(state__in=[s.value for s in TargetState]), name="target_state_is_legal"),
        ]


class Approval(models.Model):
    """One person's recorded yes or no on one plan hash."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="approvals")
    plan_hash = models.CharField(max_length=64)
    by = models.CharField(max_length=150)
    yes = models.BooleanField()
    comment = models.TextField(blank=True)
    at = models.DateTimeField(db_default=ClockTimestamp())
    renewed_at = models.DateTimeField(null=True, blank=True, help_text="It had expired, and was given anew then.")

    class Meta:
        ordering = ["at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["deployment", "plan_hash", "by"],
                condition=Q(renewed_at=None),
                name="one_voice_per_person_and_plan",
            )
        ]
