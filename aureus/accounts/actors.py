"""Who a request acts as: a user or a key with the grants it has at this very moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.contrib.auth.models import User

from aureus.accounts.models import ApiKey, Grant
from aureus.journal.actor import EVERYWHERE, Actor, Role

ANYBODY = Actor("anonymous", "user", {EVERYWHERE: frozenset(Role)})
"""Everybody, where ENABLE_AUTH=false; such a server listens on loopback alone."""

OF_SUPERUSER = frozenset({Role.ADMIN, Role.VIEWER})
"""Never more by being a superuser: deploying and approving are granted."""


def of_user(user: User) -> Actor:
    """A person."""
    always = [(EVERYWHERE, role) for role in OF_SUPERUSER] if user.is_superuser else []
    return Actor(user.get_username(), "user", _roles(Grant.objects.filter(user=user), always))


def of_key(key: ApiKey) -> Actor:
    """A machine. A user name holds no colon, so nobody is called like a key."""
    return Actor(f"key:{key.name}", "key", _roles(Grant.objects.filter(key=key)), key.created_by)


def _roles(grants: Iterable[Grant], always: Iterable[tuple[str, Role]] = ()) -> dict[str, frozenset[Role]]:
    found: dict[str, set[Role]] = defaultdict(set)
    for environment, role in always:
        found[environment].add(role)
    for grant in grants:
        found[grant.environment].add(Role(grant.role))
    return {environment: frozenset(roles) for environment, roles in found.items()}
