"""What people are told about: incidents."""

from django.db import models

from aureus.journal.models import ClockTimestamp
from deployments.models.deployment import Deployment


class Incident(models.Model):
    """Something a person must look at."""

    class Severity(models.TextChoices):
        WARNING = "warning"
        CRITICAL = "critical"

    deployment = models.ForeignKey(
        Deployment, null=True, blank=True, on_delete=models.PROTECT, related_name="incidents"
    )
    severity = models.CharField(max_length=10, choices=Severity.choices)
    text = models.TextField()
    opened_at = models.DateTimeField(db_default=ClockTimestamp())
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-opened_at"]
