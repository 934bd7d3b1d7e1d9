"""What variables an installation has, as numbered revisions that are only ever added."""

from __future__ import annotations

from django.db import models

from aureus.journal.models import ClockTimestamp
from deployments.models.fleet import Installation


class Configuration(models.Model):
    """One revision. Plain values lie here and nowhere else; of a secret there is its reference alone."""

    installation = models.ForeignKey(Installation, on_delete=models.PROTECT, related_name="configurations")
    number = models.PositiveIntegerField(help_text="1, 2, 3, … of its installation.")
    variables = models.JSONField(help_text='{"value": text} or {"secret": "env:NAME" or "file:/path"} by name.')
    digest = models.CharField(max_length=64, help_text="sha256 of names, plain values and references.")
    by = models.CharField(max_length=150)
    at = models.DateTimeField(db_default=ClockTimestamp())
    note = models.TextField(blank=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["installation", "number"], name="one_configuration_per_number"),
        ]

    def __str__(self) -> str:
        return f"configuration {self.number} of {self.installation}"
