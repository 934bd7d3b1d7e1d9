"""What people are told about, what looks at hosts saw, and which database this is."""

from django.db import models

from aureus.journal.models import ClockTimestamp
from deployments.models.deployment import Deployment
from deployments.models.fleet import Endpoint


class Incident(models.Model):
    """Something a person must look at."""

    class Severity(models.TextChoices):
        WARNING = "warning"
        CRITICAL = "critical"

    deployment = models.ForeignKey(
        Deployment, null=True, blank=True, on_delete=models.PROTECT, related_name="incidents"
    )
    endpoint = models.ForeignKey(Endpoint, null=True, blank=True, on_delete=models.PROTECT, related_name="incidents")
    severity = models.CharField(max_length=10, choices=Severity.choices)
    text = models.TextField()
    opened_at = models.DateTimeField(db_default=ClockTimestamp())
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-opened_at"]


class Sighting(models.Model):
    """What one look at an endpoint saw; nothing was changed for it. Old ones are deleted by the look that follows."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="sightings")
    at = models.DateTimeField()
    reached = models.BooleanField()
    error = models.TextField(blank=True)
    content = models.CharField(max_length=150, blank=True)
    fence = models.BigIntegerField(default=0)
    service = models.CharField(max_length=40, blank=True, help_text="The unit's state, as systemd calls it.")
    started_at = models.BigIntegerField(null=True, blank=True, help_text="Seconds since 1970 by the host's clock.")
    restarts = models.BigIntegerField(null=True, blank=True, help_text="systemd's own count.")
    healthy = models.BooleanField(null=True, blank=True)
    version = models.CharField(max_length=200, null=True, blank=True, help_text="What its health answer declares.")

    class Meta:
        ordering = ["at", "id"]
        indexes = [models.Index(fields=["endpoint", "at"])]


class Identity(models.Model):
    """Two rows. The mark has no seal and is never updated, so that whatever restores it writes it anew; the other says
    in which database our record was last known to be the truth, and under which transaction the mark was written.
    """

    known = models.TextField(blank=True, help_text="What aureus_identity() said then.")
    seal = models.TextField(blank=True, help_text="The xmin of the mark then.")
    changed_at = models.DateTimeField(null=True, blank=True, help_text="When it last said something else.")

    class Meta:
        verbose_name_plural = "identities"
