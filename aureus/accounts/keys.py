"""API keys: a machine's way in. Made once with an end, looked up by their id, revoked for good."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.db.models import Q

from aureus import clock
from aureus.accounts.models import ApiKey, Grant
from aureus.journal.actor import EVERYWHERE, Actor, Role
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, Invalid, NotFound

LONGEST = timedelta(days=366)
SEEN_EVERY = timedelta(seconds=60)
"""`last_used_at` is no older than this, so that a busy key does not write a row at each request."""


@transaction.atomic
def issue(
    name: str, *, by: Actor, lives: timedelta, roles: Iterable[tuple[Role, str]] = ((Role.CI, EVERYWHERE),)
) -> tuple[ApiKey, str]:
    """A new key and, this one time, its text. roles: (role, environment or *)."""
    if not timedelta(0) < lives <= LONGEST:
        raise Invalid(f"a key lives from 1 to {LONGEST.days} days", errors=[("expires", "too long or in the past")])
    if ApiKey.objects.filter(name=name).exists():
        raise Conflict(f"there is a key {name} already: revoke it, or choose another name")
    key, text = ApiKey.issue(name, by=by.name, expires_at=clock.now() + lives)
    Grant.objects.bulk_create(Grant(key=key, role=role, environment=environment) for role, environment in roles)
    record(f"key:{key.identity}", "key.issued", by, name=name, expires=key.expires_at.isoformat())
    return key, text


@transaction.atomic
def revoke(name: str, *, by: Actor) -> ApiKey:
    """From now on nobody comes in with it."""
    key = ApiKey.objects.select_for_update().filter(name=name).first()
    if key is None:
        raise NotFound(f"there is no key {name}")
    if key.revoked_at is None:
        key.revoked_at = clock.now()
        key.save(update_fields=["revoked_at"])
        record(f"key:{key.identity}", "key.revoked", by, name=name)
    return key


def key_of(text: str) -> ApiKey | None:
    """The living key that a text is of; None for any other text."""
    prefix, _, rest = text.partition("_")
    identity, _, secret = rest.partition("_")
    if prefix != ApiKey.PREFIX or not secret or len(text) > 200:
        return None
    now = clock.now()
    key = ApiKey.objects.filter(identity=identity, revoked_at=None, expires_at__gt=now).first()
    if key is None or not hmac.compare_digest(key.hash, ApiKey.digest(secret)):
        return None
    long_ago = Q(last_used_at=None) | Q(last_used_at__lt=now - SEEN_EVERY)
    if key.last_used_at is None or key.last_used_at < now - SEEN_EVERY:
        ApiKey.objects.filter(long_ago, pk=key.pk).update(last_used_at=now)
    return key
