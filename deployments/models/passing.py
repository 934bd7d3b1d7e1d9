"""What lets one deployment past what holds it: an override by one person, and the glass that two have to break."""

from __future__ import annotations

from django.db import models

from aureus.journal.models import ClockTimestamp
from deployments.models.deployment import Deployment
from deployments.models.operations import Incident


class Override(models.Model):
    """One person lets one plan past what holds it by time."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="overrides")
    plan_hash = models.CharField(max_length=64)
    holds = models.JSONField(help_text="Some of freeze, window, soak.")
    reason = models.TextField()
    by = models.CharField(max_length=150)
    at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        ordering = ["at", "id"]


class BreakGlass(models.Model):
    """An emergency: the one who asks and another one who confirms let one plan past approvals, gates and time."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="glasses")
    plan_hash = models.CharField(max_length=64)
    reason = models.TextField()
    asked_by = models.CharField(max_length=150)
    asked_at = models.DateTimeField(db_default=ClockTimestamp())
    confirmed_by = models.CharField(max_length=150, blank=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(help_text="Not confirmed, or not used by then, it counts for nothing.")
    used_at = models.DateTimeField(null=True, blank=True, help_text="When the deployment started by it.")
    incident = models.ForeignKey(Incident, null=True, blank=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["asked_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(confirmed_by=models.F("asked_by")), name="two_people_break_the_glass"
            ),
            models.CheckConstraint(
                condition=models.Q(used_at=None) | models.Q(confirmed_at__isnull=False),
                name="only_a_broken_glass_is_used",
            ),
        ]
