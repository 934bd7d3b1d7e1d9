"""How deployments, and what belongs to them, look in JSON."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from aureus import clock
from aureus.journal.models import Event
from deployments.api.figures import HealthShape, WindowShape, finite, health_of, window_of
from deployments.explain import next_of
from deployments.models import Deployment, Step
from deployments.outside import is_lossless
from deployments.picture import Point
from deployments.standing import passes_of, voices_of, way_back_of
from health.measured import add_up
from health.models import Sample
from health.windows import as_sample


class Shape(serializers.Serializer):
    """`optional` names the fields that are left out where they have no value."""

    optional: tuple[str, ...] = ()

    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown = super().to_representation(instance)
        return {name: value for name, value in shown.items() if name not in self.optional or value not in (None, "")}


class StepShape(Shape):
    id = serializers.IntegerField()
    kind = serializers.CharField()
    host = serializers.SerializerMethodField(help_text="Null: not on one host.")
    status = serializers.CharField()
    held = serializers.BooleanField(help_text="Waits for a person.")
    reason = serializers.CharField(help_text="What was seen.")
    rule = serializers.CharField(help_text="By which rule.")
    next = serializers.SerializerMethodField(help_text="What happens next.")
    attempts = serializers.IntegerField()
    failures = serializers.IntegerField()
    startedAt = serializers.DateTimeField(source="started_at", allow_null=True)
    endedAt = serializers.DateTimeField(source="ended_at", allow_null=True)

    def get_host(self, step: Step) -> str | None:
        return step.target or None

    def get_next(self, step: Step) -> str:
        return next_of(step)


class StepOfStageShape(StepShape):
    stage = serializers.CharField(source="stage.name")
    position = serializers.IntegerField(source="stage.position")


class StageShape(Shape):
    position = serializers.IntegerField()
    name = serializers.CharField()
    minServing = serializers.IntegerField(source="min_serving")
    maxFailures = serializers.IntegerField(source="max_failures")
    onFailure = serializers.CharField(source="on_failure")
    steps = StepShape(many=True, source="shown_steps")


class PlanShape(Shape):
    hash = serializers.CharField()
    lossless = serializers.BooleanField(help_text="Whether moving its traffic loses no request, with this balancer.")
    ifItFails = serializers.CharField(help_text="Where a failure leads; a rollback's plan says nothing.")
    intent = serializers.JSONField(help_text="What people approve.")
    stages = StageShape(many=True)


class TargetShape(Shape):
    host = serializers.CharField(source="name")
    state = serializers.CharField()
    to = serializers.CharField(source="to_content")
    back = serializers.CharField(source="back_content")
    serving = serializers.BooleanField()
    observed = serializers.CharField()
    observedAt = serializers.DateTimeField(source="observed_at", allow_null=True)
    why = serializers.CharField()

    def get_fields(self) -> dict[str, serializers.Field]:
        # `from` is a word of Python's grammar.
        return {**super().get_fields(), "from": serializers.CharField(source="from_content")}


class VoiceShape(Shape):
    by = serializers.CharField()
    yes = serializers.BooleanField()
    comment = serializers.CharField()
    at = serializers.DateTimeField()
    expiresAt = serializers.DateTimeField(source="expires_at", allow_null=True)
    counts = serializers.BooleanField(help_text="It is about the plan as it is, and has not expired.")


class ApprovalsShape(Shape):
    needed = serializers.IntegerField()
    given = serializers.IntegerField(help_text="Those that count now.")
    voices = VoiceShape(many=True)


class PassShape(Shape):
    optional = ("confirmedBy", "expiresAt", "usedAt")

    kind = serializers.CharField(help_text="override or break_glass")
    holds = serializers.ListField(child=serializers.CharField(), help_text="What it lets the deployment past.")
    by = serializers.CharField()
    confirmedBy = serializers.CharField(source="confirmed_by", required=False)
    reason = serializers.CharField()
    at = serializers.DateTimeField()
    expiresAt = serializers.DateTimeField(source="expires_at", required=False)
    usedAt = serializers.DateTimeField(source="used_at", required=False)
    counts = serializers.BooleanField(help_text="It is about the plan as it is, and has not expired.")


class RollbackShape(Shape):
    id = serializers.UUIDField()
    status = serializers.CharField()


class DeploymentShape(Shape):
    """A deployment in a list."""

    optional = ("outcome", "reverts", "rollback", "window", "retryOf", "promotedBy", "pausedBy", "risk")

    id = serializers.UUIDField()
    versionId = serializers.UUIDField(source="version_id")
    version = serializers.CharField(source="version.number")
    workflowId = serializers.CharField(source="version.application.key")
    environment = serializers.CharField(source="installation.environment.name")
    status = serializers.CharField()
    outcome = serializers.CharField(required=False)
    reason = serializers.CharField()
    strategy = serializers.CharField()
    risk = serializers.CharField(
        required=False, help_text="Of its plan: low, medium, high or critical; left out where nobody approves it."
    )
    createdAt = serializers.DateTimeField(source="created_at")
    startedAt = serializers.DateTimeField(source="started_at", allow_null=True)
    deployedAt = serializers.DateTimeField(source="deployed_at", allow_null=True)
    endedAt = serializers.DateTimeField(source="ended_at", allow_null=True)
    deployedBy = serializers.SerializerMethodField()
    promotedBy = serializers.SerializerMethodField()
    requestedBy = serializers.CharField(source="requested_by", help_text="Whose token it was.")
    sourceDeploymentId = serializers.UUIDField(source="source_id", allow_null=True)
    reverts = serializers.UUIDField(source="reverts_id", required=False)
    retryOf = serializers.UUIDField(source="retry_of_id", required=False)
    rollback = RollbackShape(source="newest_rollback", required=False)
    pausedBy = serializers.CharField(source="paused_by", required=False)
    health = serializers.SerializerMethodField()
    window = serializers.SerializerMethodField()
    metadata = serializers.JSONField()

    def get_deployedBy(self, deployment: Deployment) -> str:
        return deployment.label or deployment.requested_by

    def get_promotedBy(self, deployment: Deployment) -> str | None:
        return (deployment.label or deployment.requested_by) if deployment.source_id else None

    def get_health(self, deployment: Deployment) -> HealthShape:
        return health_of(deployment.newest_window)  # type: ignore[attr-defined]

    def get_window(self, deployment: Deployment) -> WindowShape | None:
        return window_of(deployment.newest_window)  # type: ignore[attr-defined]


class WholeDeploymentShape(DeploymentShape):
    """One deployment, with its plan and its hosts."""

    content = serializers.CharField(help_text="What it brings: the version's number, and a digest with its variables.")
    configurationRevision = serializers.IntegerField(
        source="configuration.number", default=None, allow_null=True, help_text="Null: the version has no variables."
    )
    riskReasons = serializers.JSONField(
        source="risk_reasons", help_text="[level, why] for each that speaks for one, the highest first."
    )
    wayBack = serializers.SerializerMethodField(help_text="Where a rollback would go, in one sentence.")
    approvals = serializers.SerializerMethodField()
    passes = serializers.SerializerMethodField(help_text="Overrides, and the glass that people asked to break.")
    plan = serializers.SerializerMethodField()
    targets = TargetShape(many=True)

    def to_representation(self, instance: Deployment) -> dict[str, Any]:
        self.now = clock.now()
        return super().to_representation(instance)

    def get_wayBack(self, deployment: Deployment) -> str:
        return way_back_of(deployment)

    def get_approvals(self, deployment: Deployment) -> ApprovalsShape:
        return ApprovalsShape(voices_of(deployment, self.now)).data  # type: ignore[return-value]

    @extend_schema_field(PassShape(many=True))
    def get_passes(self, deployment: Deployment) -> Any:
        return PassShape(passes_of(deployment, self.now), many=True).data

    def get_plan(self, deployment: Deployment) -> PlanShape:
        steps: dict[int, list[Step]] = {}
        stages = {stage.pk: stage for stage in deployment.stages.all()}
        for step in deployment.steps.all():
            step.stage = stages[step.stage_id]
            steps.setdefault(step.stage_id, []).append(step)
        for stage in stages.values():
            stage.shown_steps = steps.get(stage.pk, [])  # type: ignore[attr-defined]
        plan = {
            "hash": deployment.plan_hash,
            "lossless": is_lossless(deployment.installation),
            "ifItFails": deployment.intent.get("if_it_fails", ""),
            "intent": deployment.intent,
            "stages": list(stages.values()),
        }
        return PlanShape(plan).data  # type: ignore[return-value]


class EventShape(Shape):
    seq = serializers.IntegerField()
    kind = serializers.CharField()
    actor = serializers.CharField()
    at = serializers.DateTimeField()
    about = serializers.SerializerMethodField()

    def get_about(self, event: Event) -> dict[str, Any]:
        return event.data


class SampleShape(Shape):
    id = serializers.IntegerField()
    windowId = serializers.IntegerField(source="window_id")
    host = serializers.CharField(source="endpoint")
    content = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]  # a declared field is no attribute
    kind = serializers.CharField()
    at = serializers.DateTimeField()
    seconds = serializers.FloatField(allow_null=True)
    requests = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment]
    healthy = serializers.BooleanField(allow_null=True)
    buckets = serializers.JSONField(
        help_text="Answers no slower than a bound in seconds, as [[bound, count], …], cumulative; null is no bound."
    )
    p95 = serializers.SerializerMethodField(help_text="Seconds, of requests; null: not timed, or above every bound.")
    value = serializers.FloatField(allow_null=True, help_text="What a check answered.")
    why = serializers.CharField()

    def get_p95(self, sample: Sample) -> float | None:
        return finite(add_up([as_sample(sample)]).p95)


class PointShape(Shape):
    at = serializers.DateTimeField()
    requests = serializers.IntegerField()
    errorRate = serializers.FloatField(source="error_rate", allow_null=True, help_text="From 0 to 1.")
    p95 = serializers.SerializerMethodField(help_text="Seconds; null: not timed, or above every bound.")

    def get_p95(self, point: Point) -> float | None:
        return finite(point.p95)


class ShareShape(Shape):
    at = serializers.DateTimeField()
    percent = serializers.FloatField(help_text="Of the traffic, from then on.")


class VersionInPictureShape(Shape):
    version = serializers.CharField()
    points = PointShape(many=True)
    shares = ShareShape(many=True)


class DecisionShape(Shape):
    at = serializers.DateTimeField()
    verdict = serializers.CharField()
    sentence = serializers.CharField()


class BoundsShape(Shape):
    maxErrorRate = serializers.FloatField(source="max_error_rate", help_text="From 0 to 1: good below it.")
    rollbackErrorRate = serializers.FloatField(source="rollback_error_rate", help_text="From 0 to 1: undone above it.")
    maxP95 = serializers.FloatField(source="max_p95", help_text="Seconds: good below it.")


class PictureShape(Shape):
    begins = serializers.DateTimeField(allow_null=True, help_text="Null before the deployment has started.")
    ends = serializers.DateTimeField(allow_null=True)
    versions = VersionInPictureShape(many=True)
    decisions = DecisionShape(many=True)
    bounds = BoundsShape(allow_null=True)


class LogShape(Shape):
    stepId = serializers.IntegerField(source="id")
    kind = serializers.CharField()
    host = serializers.CharField(source="target")
    status = serializers.CharField()
    reason = serializers.CharField()
    at = serializers.DateTimeField(source="ended_at", allow_null=True)
    output = serializers.JSONField(help_text="What the step found: service state, last log lines, port owner, …")


class GateShape(Shape):
    name = serializers.CharField()
    passed = serializers.BooleanField()
    reason = serializers.CharField()
    evidence = serializers.JSONField()


class CanPromoteShape(Shape):
    canPromote = serializers.BooleanField()
    targetEnvironment = serializers.CharField()
    reasons = serializers.ListField(child=serializers.CharField())


class ExplanationShape(Shape):
    sentence = serializers.CharField()
    next = serializers.CharField()
    status = serializers.CharField()
    evidence = serializers.JSONField()
    seq = serializers.IntegerField(help_text="The newest event it was read from; poll with ?after=.")


class TestResultShape(Shape):
    optional = ("error",)

    name = serializers.CharField()
    status = serializers.CharField()
    duration = serializers.IntegerField(help_text="Milliseconds.")
    error = serializers.CharField(required=False)
    hosts = serializers.JSONField(required=False)


class SmokeRunShape(Shape):
    id = serializers.UUIDField()
    deploymentId = serializers.UUIDField()
    testResults = TestResultShape(many=True)
    overallStatus = serializers.ChoiceField(["running", "passed", "failed"])
    passedTests = serializers.IntegerField()
    failedTests = serializers.IntegerField()
    totalTests = serializers.IntegerField()
    url = serializers.CharField()


class DryRunShape(Shape):
    planHash = serializers.CharField()
    lossless = serializers.BooleanField(help_text="Whether moving its traffic loses no request, with this balancer.")
    warnings = serializers.ListField(
        child=serializers.CharField(), help_text="What is not refused, such as a number that says less than it changes."
    )
    ifItFails = serializers.CharField(help_text="Where a failure leads.")
    intent = serializers.JSONField()
    risk = serializers.CharField(help_text="low, medium, high or critical")
    riskReasons = serializers.JSONField(help_text="[level, why] for each that speaks for one, the highest first.")
    approvals = serializers.IntegerField(help_text="People who would have to say yes.")
    stages = serializers.JSONField()
    targets = serializers.JSONField()
