"""The event log: append-only, written in the transaction of what it tells of, and its own outbox."""

from django.db import models
from django.db.models.functions import Now

from aureus.journal.actor import Actor
from aureus.journal.plain import plain


class ClockTimestamp(Now):
    """The time of the statement, not of the transaction's start, so that events of one transaction have an order."""

    template = "CLOCK_TIMESTAMP()"

    def as_postgresql(self, compiler, connection, **context):
        return self.as_sql(compiler, connection, **context)


class Event(models.Model):
    """One transition. Rows are never changed or deleted; `delivered_at` IS NULL makes it the outbox."""

    seq = models.BigAutoField(primary_key=True)
    stream = models.CharField(max_length=100)
    kind = models.CharField(max_length=60)
    actor = models.CharField(max_length=150)
    at = models.DateTimeField(db_default=ClockTimestamp())
    data = models.JSONField(default=dict)
    compensates = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-seq"]
        indexes = [
            models.Index(fields=["stream", "seq"]),
            models.Index(fields=["seq"], condition=models.Q(delivered_at=None), name="event_undelivered"),
        ]

    def __str__(self) -> str:
        return f"{self.stream} {self.kind}"


def record(stream: str, kind: str, actor: Actor, /, **about: object) -> None:
    """Append an event; the caller's transaction commits it together with what it tells of."""
    Event.objects.create(stream=stream, kind=kind, actor=actor.name, data=plain(about))
