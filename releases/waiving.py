"""The only writer of waivers: a gate that need not pass for a version in an environment, for a time, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from aureus import clock
from aureus.journal.actor import Actor, Role
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, Invalid, NotAllowed
from releases import registry
from releases.facts import Waived
from releases.gates import NEVER_WAIVED, WAIVABLE
from releases.models import Version, Waiver

SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=30)


@transaction.atomic
def waive(
    version_id: UUID | str, gate: str, *, environment: str, owner: str, reason: str, expires_at: datetime, actor: Actor
) -> Waiver:
    """Let a gate not hold a version, as these bytes, until then; a waiver of the same gate is replaced.

    Raises Invalid, NotAllowed, NotFound.
    """
    _may_waive(actor, environment)
    version = Version.objects.select_for_update(of=("self",)).get(pk=registry.get(version_id).pk)
    if actor.name in _registrants(version) or actor.answerable in _registrants(version):
        raise NotAllowed("you registered this version: somebody else has to waive its gates", code="self_waiver")
    _usable(gate, owner, reason, expires_at)
    _standing(version, gate, environment).update(lifted_at=clock.now(), lifted_by=actor.name)
    waiver = Waiver.objects.create(
        version=version, digest=version.digest, environment=environment, gate=gate, owner=owner.strip(),
        reason=reason.strip(), expires_at=expires_at, by=actor.name,
    )  # fmt: skip
    waiver.refresh_from_db()
    about = {"environment": environment, "owner": owner, "until": expires_at.isoformat(), "digest": version.digest}
    record(version.stream, "version.waived", actor, gate=gate, reason=reason, **about)
    return waiver


@transaction.atomic
def unwaive(version_id: UUID | str, gate: str, *, environment: str, actor: Actor) -> None:
    """Let the gate hold again. Raises Conflict where no waiver stands."""
    _may_waive(actor, environment)
    version = registry.get(version_id)
    if not _standing(version, gate, environment).update(lifted_at=clock.now(), lifted_by=actor.name):
        raise Conflict(f"no waiver of {gate[:40]} stands for {version} in {environment[:60]}", code="not_waived")
    record(version.stream, "version.unwaived", actor, gate=gate, environment=environment)


def waived(version: Version, environment: str) -> tuple[Waived, ...]:
    """What was waived there and not taken back, expired or not: the gates say which counts."""
    rows = Waiver.objects.filter(version=version, environment=environment, lifted_at=None)
    return tuple(Waived(w.gate, w.owner, w.reason, w.expires_at, w.digest, w.by) for w in rows)


def _standing(version: Version, gate: str, environment: str) -> QuerySet[Waiver]:
    return Waiver.objects.filter(version=version, gate=gate, environment=environment, lifted_at=None)


def _registrants(version: Version) -> frozenset[str]:
    return frozenset(filter(None, (version.created_by, version.answerable)))


def _may_waive(actor: Actor, environment: str) -> None:
    if actor.kind != "user":
        raise NotAllowed("only people waive gates, not API keys", code="not_a_person")
    if Role.APPROVER not in actor.holds(environment):
        raise NotAllowed(
            f"you need the role approver in {environment[:60]}: ask an admin for the grant", code="missing_role"
        )


def _usable(gate: str, owner: str, reason: str, expires_at: datetime) -> None:
    errors = []
    if gate in NEVER_WAIVED:
        errors.append(("gate", f"{gate} is never waived: register a version that passes it"))
    elif gate not in WAIVABLE:
        errors.append(("gate", f"there is no gate {gate[:40]}; there is: {', '.join(WAIVABLE)}"))
    errors += [(name, "must not be empty") for name, text in (("owner", owner), ("reason", reason)) if not text.strip()]
    now = clock.now()
    if expires_at.tzinfo is None or not now + SHORTEST < expires_at <= now + LONGEST:
        errors.append(("expiresAt", f"must be a time within the next {LONGEST.days} days, with its time zone"))
    if errors:
        raise Invalid("the gate cannot be waived like this: " + "; ".join(m for _, m in errors), errors=errors)
