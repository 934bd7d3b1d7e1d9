"""Holding an installation until a person has looked."""

from __future__ import annotations

from aureus.journal.actor import AUREUS
from aureus.journal.models import record
from deployments.models import Installation


def hold_for_future_fence(installation: Installation, host: str, fence: int) -> None:
    """A host saw a higher fence than we ever gave: the database was restored to the past. Nothing starts until a
    person ran `aureus recover`."""
    why = (
        f"{host} saw fence {fence}, which this database never gave: it was probably restored from an older dump. "
        f"Compare the hosts with the record, then run aureus recover"
    )
    if Installation.objects.filter(pk=installation.pk, held="").update(held=why):
        record(f"installation:{installation.pk}", "installation.held", AUREUS, why=why)
