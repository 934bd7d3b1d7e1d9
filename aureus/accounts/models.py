"""Who may do what: API keys, grants of roles per environment, and answers kept for a repeated request."""

import hashlib
import secrets

from django.conf import settings
from django.db import models

from aureus.journal.actor import EVERYWHERE, Role
from aureus.journal.models import ClockTimestamp


class ApiKey(models.Model):
    """A machine's way in. Only its hash is kept; the key itself is shown once."""

    PREFIX = "aur"

    name = models.CharField(max_length=100, unique=True)
    identity = models.CharField(max_length=16, unique=True)
    hash = models.CharField(max_length=64)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"
        verbose_name_plural = "API keys"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def issue(cls, name: str, *, by: str, expires_at) -> tuple["ApiKey", str]:
        """A new key and, this one time, its text."""
        identity, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        key = cls.objects.create(
            name=name, identity=identity, hash=cls.digest(secret), created_by=by, expires_at=expires_at
        )
        return key, f"{cls.PREFIX}_{identity}_{secret}"

    @staticmethod
    def digest(secret: str) -> str:
        """256 random bits need no slow hash."""
        return hashlib.sha256(secret.encode()).hexdigest()


class Grant(models.Model):
    """A role of a user or a key, in one environment by its exact name or everywhere."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="grants"
    )
    key = models.ForeignKey(ApiKey, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    role = models.CharField(max_length=20, choices=[(r.value, r.value.replace("_", " ")) for r in Role])
    environment = models.CharField(max_length=60, default=EVERYWHERE, help_text="Its exact name; * for everywhere.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user=None, key__isnull=False) | models.Q(user__isnull=False, key=None),
                name="a_grant_is_to_one",
            ),
            models.UniqueConstraint(
                fields=["user", "key", "role", "environment"], name="one_grant_each", nulls_distinct=False
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user or self.key}: {self.role} in {self.environment}"


class Replay(models.Model):
    """The answer to a request with an Idempotency-Key, given again to the same request."""

    key = models.CharField(max_length=200)
    actor = models.CharField(max_length=150)
    request_hash = models.CharField(max_length=64)
    status = models.IntegerField(null=True, blank=True)
    response = models.JSONField(null=True, blank=True)
    at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["actor", "key"], name="one_answer_per_key")]
        indexes = [models.Index(fields=["at"], name="replay_age")]


class LoginTry(models.Model):
    """One try to log in that has not succeeded (yet); it counts for its name and its network."""

    name = models.CharField(max_length=150)
    network = models.CharField(max_length=60)
    at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["name", "at"], name="login_try_by_name"),
            models.Index(fields=["network", "at"], name="login_try_by_network"),
            models.Index(fields=["at"], name="login_try_age"),
        ]
