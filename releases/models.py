"""What may be shipped: applications, their versions, the bytes, and what is known about them."""

import uuid

from django.db import models

from aureus.journal.models import ClockTimestamp


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
    at = models.DateTimeField(db_default=ClockTimestamp())

    def __str__(self) -> str:
        return self.sha256[:12]


class Version(models.Model):
    """What an application registered under a label; sealed (unchangeable) by its first deployment."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    application = models.ForeignKey(Application, on_delete=models.PROTECT, related_name="versions")
    number = models.CharField(max_length=128, help_text="SemVer 2.0.0, without a leading v.")
    spec = models.JSONField(help_text="The workflow spec.")
    metadata = models.JSONField(default=dict, blank=True)
    digest = models.CharField(max_length=64, help_text="sha256 of spec, number and artifact.")
    artifact = models.ForeignKey(Artifact, null=True, blank=True, on_delete=models.PROTECT, related_name="versions")
    created_by = models.CharField(max_length=150)
    created_label = models.CharField(max_length=200, blank=True, help_text="createdBy of the request, kept and echoed.")
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    sealed_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_reason = models.TextField(blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["application", "number"], name="one_version_per_label")]
        indexes = [models.Index(fields=["-created_at", "-id"])]

    def __str__(self) -> str:
        return f"{self.application} {self.number}"

    @property
    def content(self) -> str:
        """What really runs: the name of this version's folder on a host."""
        return f"{self.number}-{self.digest[:12]}"


class Evidence(models.Model):
    """A report that CI sent about a version. What it is worth is for the gates to say."""

    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="evidence")
    kind = models.CharField(max_length=40)
    subject = models.CharField(max_length=200, blank=True)
    report = models.JSONField()
    by = models.CharField(max_length=150)
    at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = "evidence"
