"""The verbs that lock an environment with a reason, and unlock it: nothing forward starts there meanwhile."""

from __future__ import annotations

from django.db import transaction

from aureus import clock
from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, Invalid, NotFound
from deployments.edits import wake_who_waits
from deployments.models import Environment


@transaction.atomic
def lock(name: str, *, actor: Actor, reason: str) -> Environment:
    """Let no deployment start there until somebody unlocks it. What has started goes on, and a rollback passes.

    No plan depends on it: approvals stand. Raises Invalid, NotFound, Conflict naming who was first.
    """
    if not reason.strip():
        raise Invalid("say why", errors=[("reason", "must not be empty")])
    environment = _locked_row(name)
    if environment.lock_reason:
        if (environment.locked_by, environment.lock_reason) == (actor.name, reason.strip()):
            return environment
        raise Conflict(f"{environment.locked}; unlock it first", code="already_locked")
    return _write(environment, "locked", actor, reason.strip(), locked_by=actor.name, locked_at=clock.now())


@transaction.atomic
def unlock(name: str, *, actor: Actor, reason: str = "") -> Environment:
    """Let deployments start there again; whoever waited goes on. Raises NotFound, Conflict where nothing is locked."""
    environment = _locked_row(name)
    if not environment.lock_reason:
        raise Conflict(f"{name} is not locked", code="not_locked")
    was = {"locked_by": environment.locked_by, "lock_reason": environment.lock_reason}
    record(environment.stream, "environment.unlocked", actor, reason=reason, **was)
    return _write(environment, "", actor, "", locked_by="", locked_at=None)


def _locked_row(name: str) -> Environment:
    known = Environment.objects.filter(name=name).first()
    if known is None:
        raise NotFound(f'there is no environment "{name}"', code="no_environment")
    # Deployments before their environment, as everywhere: two orders would be a deadlock.
    wake_who_waits(known)
    return Environment.objects.select_for_update(no_key=True).get(pk=known.pk)


def _write(environment: Environment, word: str, actor: Actor, reason: str, **columns: object) -> Environment:
    Environment.objects.filter(pk=environment.pk).update(lock_reason=reason, **columns)
    environment.refresh_from_db()
    if word:
        record(environment.stream, f"environment.{word}", actor, reason=reason)
    return environment
