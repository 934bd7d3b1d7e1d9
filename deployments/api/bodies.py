"""What requests about deployments may say."""

from __future__ import annotations

from rest_framework import serializers

from deployments.lifecycle import Wish
from releases.asking import Body, Free, FreeObject, Line, Words


class Strategy(Line):
    """The name of a strategy; whether there is one is for the verb to say."""

    def __init__(self) -> None:
        super().__init__(max_length=30, required=False, allow_null=True, default=None)


class Revision(serializers.IntegerField):
    """A revision of the installation's variables; whether there is one is for the verb to say."""

    def __init__(self) -> None:
        super().__init__(
            min_value=0, max_value=100_000, required=False, allow_null=True, default=None,
            help_text="A revision of the variables, 0 for none. Default: the newest one when it is asked for.",
        )  # fmt: skip


class Label(Line):
    """A name that is kept and echoed and grants nothing."""

    def __init__(self) -> None:
        super().__init__(
            max_length=200, required=False, allow_blank=True, default="", help_text="A label, kept and echoed."
        )


class Glass(Words):
    """Why it has to go past gates and promotion; a second person confirms it."""

    def __init__(self) -> None:
        super().__init__(
            required=False, allow_blank=True, default="",
            help_text="In an emergency, why it has to go past gates and promotion: it starts once a second person has "
            "confirmed that, and not otherwise.",
        )  # fmt: skip


class Accepted(serializers.BooleanField):
    """A person's word that code may go back over a schema change."""

    def __init__(self) -> None:
        super().__init__(
            required=False, default=False, help_text="Code may go back over a schema change: docs/schema-changes.md."
        )


class DeployBody(Body):
    versionId = serializers.UUIDField()
    environment = Line(max_length=60)
    deployedBy = Label()
    strategy = Strategy()
    configurationRevision = Revision()
    breakGlass = Glass()
    acceptSchemaChange = Accepted()
    metadata = FreeObject(required=False, default=dict)


class PromoteBody(Body):
    promotedBy = Label()
    targetEnvironment = Line(max_length=60, required=False, default="production")
    strategy = Strategy()
    configurationRevision = Revision()
    breakGlass = Glass()
    acceptSchemaChange = Accepted()
    metadata = FreeObject(required=False, default=dict)


class RollbackBody(Body):
    reason = Words()
    targetVersion = Line(max_length=128, required=False, allow_null=True, default=None)
    acceptSchemaChange = Accepted()


class RollbackByBody(RollbackBody):
    deploymentId = serializers.UUIDField()


class SmokeBody(Body):
    tests = Free(help_text="[{name, workflowId, expectedOutcome?} or {name, endpoint, expectedStatus?}]")


class CommentBody(Body):
    comment = Words(required=False, allow_blank=True, default="")


class ApproveBody(CommentBody):
    planHash = Line(
        max_length=64, required=False, allow_blank=True, default="", source="plan_hash",
        help_text="The hash of the plan that you saw: a yes to a plan that has changed since is refused.",
    )  # fmt: skip


class RejectBody(Body):
    comment = Words(help_text="Why.")


class ReasonBody(Body):
    reason = Words(help_text="Why.")


class ExcludeBody(ReasonBody):
    host = Line(max_length=100, help_text="A host of this deployment, as its targets name it.")


class OverrideBody(ReasonBody):
    holds = serializers.ListField(
        child=Line(max_length=20), required=False, default=list, max_length=10,
        help_text="Some of freeze, window, soak. Default: all that hold it now.",
    )  # fmt: skip


class MaybeReasonBody(Body):
    reason = Words(required=False, allow_blank=True, default="")


def wish_of(asked: dict, label: str) -> Wish:
    """What a request says beside what and where."""
    return Wish(
        strategy=asked["strategy"], configuration=asked["configurationRevision"], label=asked[label],
        metadata=asked["metadata"], break_glass=asked["breakGlass"], accept_schema_change=asked["acceptSchemaChange"],
    )  # fmt: skip
