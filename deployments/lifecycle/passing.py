"""Letting one deployment past what holds it: one person overrides time, two break the glass."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.db import transaction

from aureus import clock
from aureus.journal.actor import Actor, Role
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, Invalid, NotAllowed
from deployments import holding
from deployments.lifecycle.moves import locked, said_of
from deployments.models import BreakGlass, Deployment, Incident, Override
from deployments.snapshot import WAITING, policy_of

GLASS_LIVES = timedelta(hours=1)
"""Within so long a second person confirms, and again within so long the deployment starts."""
OVERRIDES = frozenset({Role.RELEASE_MANAGER})
"""Who may override: whoever may also lift the freeze."""
BREAKS = frozenset({Role.RELEASE_MANAGER, Role.APPROVER})


@transaction.atomic
def override(deployment_id: UUID | str, *, actor: Actor, reason: str, holds: Sequence[str] = ()) -> Deployment:
    """Let this plan past a freeze, the deployment windows or its soak. Without names: past all that hold it now.

    Approvals and gates are asked all the same. Raises Invalid, NotAllowed, Conflict.
    """
    deployment = _waiting(deployment_id)
    _may(deployment, actor, OVERRIDES)
    _demand(reason)
    if strange := sorted(set(holds) - set(holding.KINDS)):
        known = ", ".join(holding.KINDS)
        raise Invalid(
            f"nothing called {strange[0][:40]} is overridden; there is: {known}", errors=[("holds", f"some of {known}")]
        )
    now, policy = clock.now(), policy_of(deployment.installation)
    there = [hold.kind for hold in holding.holds(deployment, policy, now)]
    wanted = [kind for kind in holding.KINDS if kind in (holds or there)]
    if not set(wanted) - holding.overridden(deployment):
        raise Conflict("no freeze, window or soak holds it now, or it was overridden already", code="nothing_held")
    Override.objects.create(
        deployment=deployment, plan_hash=deployment.plan_hash, holds=wanted, reason=reason, by=actor.name
    )
    record(deployment.stream, "deployment.overridden", actor, holds=wanted, reason=reason)
    _wake(deployment)
    return deployment


@transaction.atomic
def break_glass(deployment_id: UUID | str, *, actor: Actor, reason: str) -> Deployment:
    """In an emergency, ask to let this plan past approvals, gates, freezes, windows and soak. Another one confirms."""
    deployment = _waiting(deployment_id)
    ask(deployment, actor=actor, reason=reason)
    return deployment


def ask(deployment: Deployment, *, actor: Actor, reason: str) -> None:
    """The first of two people. The caller holds the deployment's lock, or has just made it."""
    _may(deployment, actor, BREAKS)
    _demand(reason)
    now = clock.now()
    if (there := holding.glass_of(deployment, now)) is not None:
        if there.confirmed_at is not None:
            raise Conflict(f"{there.asked_by} and {there.confirmed_by} have broken it already", code="glass_broken")
        raise Conflict(f"{there.asked_by} has asked already: confirm it, if you are somebody else", code="glass_asked")
    BreakGlass.objects.create(
        deployment=deployment,
        plan_hash=deployment.plan_hash,
        reason=reason,
        asked_by=actor.name,
        expires_at=now + GLASS_LIVES,
    )
    record(deployment.stream, "deployment.glass_asked", actor, reason=reason, plan_hash=deployment.plan_hash)
    _wake(deployment)


@transaction.atomic
def confirm_break_glass(deployment_id: UUID | str, *, actor: Actor, comment: str = "") -> Deployment:
    """The second person: the glass is broken, people are told, and the deployment starts unless something else is up.

    Raises NotAllowed for who asked, Conflict where nobody did.
    """
    deployment = _waiting(deployment_id)
    _may(deployment, actor, BREAKS)
    now = clock.now()
    glass = holding.glass_of(deployment, now)
    if glass is None:
        raise Conflict("nobody has asked to break the glass for this plan, or it expired: ask first", code="not_asked")
    if glass.confirmed_at is not None:
        raise Conflict(f"{glass.confirmed_by} has confirmed it already", code="glass_broken")
    if actor.name == glass.asked_by:
        raise NotAllowed("you asked for it: a second person has to confirm", code="self_approval")
    text = f"{deployment} goes past its approvals and gates: {glass.asked_by} and {actor.name} broke the glass"
    incident = Incident.objects.create(
        deployment=deployment, severity=Incident.Severity.CRITICAL, text=f"{text}: {glass.reason}"
    )
    glass.confirmed_by, glass.confirmed_at, glass.incident = actor.name, now, incident
    glass.expires_at = now + GLASS_LIVES
    glass.save()
    record(deployment.stream, "deployment.glass_broken", actor, asked_by=glass.asked_by, reason=glass.reason,
           comment=comment, plan_hash=deployment.plan_hash)  # fmt: skip
    _wake(deployment)
    return deployment


def use(glass: BreakGlass, *, by: Actor) -> None:
    """The deployment starts by it; once."""
    BreakGlass.objects.filter(pk=glass.pk).update(used_at=clock.now())
    people = f"{glass.asked_by} and {glass.confirmed_by}"
    record(glass.deployment.stream, "deployment.glass_used", by, people=people, reason=glass.reason)


def _waiting(deployment_id: UUID | str) -> Deployment:
    deployment = locked(deployment_id)
    if deployment.is_rollback or deployment.status not in WAITING:
        raise Conflict(f"nothing holds it: the deployment {said_of(deployment)}", code="not_waiting")
    return deployment


def _may(deployment: Deployment, actor: Actor, roles: frozenset[Role]) -> None:
    if actor.kind != "user":
        raise NotAllowed("only people do this, not API keys", code="not_a_person")
    environment = deployment.installation.environment.name
    if not roles & actor.holds(environment):
        named = " or ".join(sorted(roles))
        raise NotAllowed(f"you need the role {named} in {environment}: ask an admin for the grant", code="missing_role")


def _demand(reason: str) -> None:
    if not reason.strip():
        raise Invalid("say why", errors=[("reason", "must not be empty")])


def _wake(deployment: Deployment) -> None:
    now = clock.now()
    Deployment.objects.filter(pk=deployment.pk).update(wake_at=now, hinted_at=None)
    deployment.wake_at = now
