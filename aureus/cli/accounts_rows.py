"""Users and grants as the command writes them. Imported once Django is set up."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from aureus.accounts.models import ApiKey, Grant
from aureus.journal.actor import EVERYWHERE, Actor, Role
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, Invalid, NotFound
from deployments.models import Environment


@transaction.atomic
def add_user(name: str, password: str, roles: Sequence[tuple[Role, str]], *, by: Actor) -> str:
    """A user who may log in; the password where it was made up, "" where it was given. Raises Invalid, Conflict."""
    if User.objects.filter(username=name).exists():
        raise Conflict(f"there is a user {name} already: give more roles with aureus grant")
    user = User(username=name)
    chosen = password or secrets.token_urlsafe(12)
    try:
        validate_password(chosen, user)
        user.set_password(chosen)
        user.full_clean(exclude=["password"])
    except ValidationError as error:
        raise Invalid("that user cannot be made", errors=[("", text) for text in error.messages]) from None
    user.save()
    record(f"user:{name}"[:100], "user.created", by, name=name)
    for role, environment in roles:
        set_grant(name, role, environment, held=True, by=by)
    return "" if password else chosen


@transaction.atomic
def set_grant(who: str, role: Role, environment: str, *, held: bool, by: Actor) -> bool:
    """Give or take a role; whether that changed anything. Raises NotFound."""
    if held and environment != EVERYWHERE and not Environment.objects.filter(name=environment).exists():
        known = ", ".join(Environment.objects.values_list("name", flat=True)) or "none"
        raise NotFound(f"there is no environment {environment}; there is: {known}")
    owner = _owner(who)
    rows = Grant.objects.filter(**owner, role=role, environment=environment)
    changed = held != rows.exists()
    if changed and held:
        Grant.objects.create(**owner, role=role, environment=environment)
    elif changed:
        rows.delete()
    if changed:
        word = "granted" if held else "ungranted"
        record(f"grants:{who}"[:100], f"role.{word}", by, who=who, role=role.value, environment=environment)
    return changed


def _owner(who: str) -> dict[str, User | ApiKey]:
    if who.startswith("key:"):
        key = ApiKey.objects.filter(name=who.removeprefix("key:"), revoked_at=None).first()
        if key is None:
            raise NotFound(f"there is no living {who}")
        return {"key": key}
    user = User.objects.filter(username=who).first()
    if user is None:
        raise NotFound(f"there is no user {who}; a key is named key:NAME")
    return {"user": user}
