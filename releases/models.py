"""What may be shipped: applications, their versions, the bytes, and what is known about them."""

import uuid
from datetime import datetime

from django.db import models

from aureus.journal.models import ClockTimestamp
from releases.schema import ONE_WAY, SchemaChange


class Application(models.Model):
    """What is shipped; its key is the `workflowId` of the API."""

    key = models.CharField(max_length=128, unique=True)
    name = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return self.key


class Artifact(models.Model):
    """A version's bytes, kept in an artifact store under their own sha256."""

    sha256 = models.CharField(max_length=64, unique=True)
    size = models.BigIntegerField(help_text="Bytes of the archive.")
    unpacked_size = models.BigIntegerField(help_text="Bytes of its files.")
    files = models.IntegerField()
    store_key = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=ClockTimestamp(), help_text="When it was last sent.")
    removed_at = models.DateTimeField(null=True, blank=True, help_text="Since when its bytes are not to be had.")
    deleted_at = models.DateTimeField(null=True, blank=True, help_text="When the store forgot them.")

    class Meta:
        indexes = [
            models.Index(
                fields=["removed_at"],
                condition=models.Q(removed_at__isnull=False, deleted_at=None),
                name="artifact_to_delete",
            )
        ]

    def __str__(self) -> str:
        return self.sha256[:12]


class Version(models.Model):
    """What an application registered under a label; sealed (unchangeable) by its first deployment."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    application = models.ForeignKey(Application, on_delete=models.PROTECT, related_name="versions")
    number = models.CharField(max_length=128, help_text="SemVer 2.0.0, without a leading v.")
    spec = models.JSONField(help_text="The workflow spec.")
    metadata = models.JSONField(default=dict, blank=True)
    schema_change = models.CharField(
        max_length=12, choices=[(c.value, c.value) for c in SchemaChange], default=SchemaChange.NONE.value
    )
    digest = models.CharField(max_length=64, help_text="sha256 of spec, number, artifact and schema change.")
    artifact = models.ForeignKey(Artifact, null=True, blank=True, on_delete=models.PROTECT, related_name="versions")
    created_by = models.CharField(max_length=150)
    answerable = models.CharField(max_length=150, blank=True, help_text="The person behind who registered it.")
    created_label = models.CharField(max_length=200, blank=True, help_text="createdBy of the request, kept and echoed.")
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    sealed_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_reason = models.TextField(blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["application", "number"], name="one_version_per_label"),
            models.CheckConstraint(
                condition=models.Q(schema_change__in=[c.value for c in SchemaChange]), name="schema_change_is_legal"
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at", "-id"]),
            # Few versions go one way; they are asked for at every look at a way back.
            models.Index(
                fields=["application"],
                condition=models.Q(schema_change__in=[c.value for c in ONE_WAY]),
                name="version_one_way",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.application} {self.number}"

    @property
    def content(self) -> str:
        """What really runs: the name of this version's folder on a host."""
        return f"{self.number}-{self.digest[:12]}"

    @property
    def artifact_removed_at(self) -> datetime | None:
        """Since when its bytes are not to be had; None where they are, or it has none."""
        return self.artifact.removed_at if self.artifact else None

    @property
    def stream(self) -> str:
        """The name of its events' stream."""
        return f"version:{self.id}"


class Signature(models.Model):
    """Somebody's signature of a version's artifact, by `ssh-keygen -Y sign`. Who may sign is a policy's to say."""

    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="signatures")
    sha256 = models.CharField(max_length=64, help_text="Of the artifact that is signed.")
    armoured = models.TextField()
    key = models.CharField(max_length=60, help_text="Fingerprint of the signer's key.")
    by = models.CharField(max_length=150, help_text="Who sent it.")
    at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        ordering = ["at", "id"]
        constraints = [models.UniqueConstraint(fields=["version", "sha256", "key"], name="one_signature_per_key")]

    def __str__(self) -> str:
        return f"{self.key} of {self.version}"


class ReportFile(models.Model):
    """The bytes of a report as a tool wrote them, packed, kept once however often they are sent."""

    sha256 = models.CharField(max_length=64, unique=True)
    size = models.BigIntegerField(help_text="Bytes of the file.")
    packed = models.BinaryField(help_text="The file as zlib packs it.")
    at = models.DateTimeField(db_default=ClockTimestamp())

    def __str__(self) -> str:
        return self.sha256[:12]


class Evidence(models.Model):
    """A report about a version, or what a person attests of it. What it is worth is for the gates to say."""

    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="evidence")
    kind = models.CharField(max_length=40)
    subject = models.CharField(max_length=200, blank=True)
    digest = models.CharField(max_length=64, blank=True, help_text="The version's digest when it was sent.")
    format = models.CharField(max_length=20, blank=True, help_text="How it was read; empty: it is not judged.")
    summary = models.JSONField(default=dict, help_text="What it comes to; empty: it is not judged.")
    report = models.JSONField(help_text="As it was sent; empty where a file was.")
    file = models.ForeignKey(ReportFile, null=True, blank=True, on_delete=models.PROTECT, related_name="evidence")
    by = models.CharField(max_length=150)
    at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = "evidence"
        # The newest of each kind and subject is read at every look at the gates.
        indexes = [models.Index(fields=["version", "kind", "subject", "-at", "-id"], name="evidence_newest")]


class Waiver(models.Model):
    """One gate that need not pass for one version, as these bytes, in one environment, until then."""

    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="waivers")
    digest = models.CharField(max_length=64, help_text="The version's digest when it was given.")
    environment = models.CharField(max_length=60, help_text="Where the version may go without that gate.")
    gate = models.CharField(max_length=40)
    owner = models.CharField(max_length=150, help_text="Who sees to it that the gate passes.")
    reason = models.TextField()
    expires_at = models.DateTimeField()
    by = models.CharField(max_length=150)
    at = models.DateTimeField(db_default=ClockTimestamp())
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(expires_at__gt=models.F("at")), name="waiver_expires_after_it_was_given"
            )
        ]

    def __str__(self) -> str:
        return f"{self.gate} of {self.version} in {self.environment}"
