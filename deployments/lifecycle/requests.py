"""The verbs that ask for a forward deployment: deploy, promote, retry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction

from aureus import clock
from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, Invalid, NotFound
from deployments import schema
from deployments.configuring import named
from deployments.contents import current_of, newest
from deployments.engine import decide as core
from deployments.engine.stages import PlannedStage
from deployments.engine.status import OPEN, Outcome, Status
from deployments.engine.strategies import STRATEGIES, Unfit
from deployments.gating import checks, never_passed, numbered, of_target, reasons
from deployments.holding import glass_of
from deployments.lifecycle import accepting, passing, rows
from deployments.lifecycle.ending import finish
from deployments.lifecycle.moves import locked
from deployments.models import CONVERGENCE, Configuration, Deployment, Environment, Installation, Target
from deployments.outside import is_lossless
from deployments.snapshot import WAITING, policy_of
from releases import retention
from releases.models import Version
from releases.registry import seal

CODES = {
    "signed": "not_signed",
    "no_prerelease": "prerelease",
    "artifact_kept": "artifact_removed",
    "schema_change": "schema_undeclared",
}
"""What a refusal is called that says which of the target's own checks has failed."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What every request for a deployment may say beside what and where.

    configuration: the number of a revision of the variables, 0 for none; the newest one where it is not named.
    break_glass: why it has to go past gates and promotion; a second person confirms it, or it never starts.
    accept_schema_change: a version of before a schema change may come back over it.
    """

    strategy: str | None = None
    configuration: int | None = None
    accept_schema_change: bool = False
    label: str = ""
    break_glass: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


def installation_for(version: Version, environment: str) -> Installation:
    """Where a version lives in an environment. Raises NotFound with what to declare."""
    if not Environment.objects.filter(name=environment).exists():
        known = ", ".join(Environment.objects.values_list("name", flat=True)) or "none"
        raise NotFound(f'there is no environment "{environment}"; there is: {known}', code="no_environment")
    here = Installation.objects.select_related("environment", "application")
    found = here.filter(application=version.application_id, environment__name=environment).first()
    if found is None:
        raise Conflict(
            f"{version.application} is not installed in {environment}: declare the installation and run aureus apply",
            code="not_installed",
        )
    return found


@transaction.atomic
def deploy(version_id: UUID | str, environment: str, *, actor: Actor, wish: Wish | None = None) -> Deployment:
    """Ask for a version in an environment. Raises Refused; sealed by it, the version never changes again."""
    version = _version(version_id)
    installation = installation_for(version, environment)
    policy, wish = policy_of(installation), wish or Wish()
    skips = bool(policy.promote_from) and not policy.direct and not _already_there(installation, version)
    if skips and not wish.break_glass:
        raise Conflict(
            f"{environment} takes versions by promotion: deploy {version.number} to {policy.promote_from} first, then "
            f"POST /api/deployments/<its id>/promote",
            code="promotion_required",
        )
    if failed := [one for one in of_target(version, installation, policy) if not one.passed]:
        code = CODES[failed[0].name]
        raise Conflict(" ".join(reasons(failed)), code=code, errors=[(one.name, one.reason) for one in failed])
    return _create(installation, version, actor=actor, wish=wish, skips_promotion=skips)


@transaction.atomic
def promote(
    source_id: UUID | str, *, actor: Actor, environment: str = "production", wish: Wish | None = None
) -> tuple[Deployment, bool]:
    """Bring what was deployed and tested to the next environment; (deployment, whether it is a new one)."""
    source = locked(source_id)
    installation = installation_for(source.version, environment)
    policy = policy_of(installation)
    here = source.installation.environment.name
    if policy.promote_from != here:
        wanted = f"takes versions from {policy.promote_from}" if policy.promote_from else "is not promoted to"
        raise Conflict(f"{environment} {wanted}, this deployment is in {here}", code="wrong_source")
    already = source.promotions.filter(installation=installation, status__in=[*WAITING, Status.IN_PROGRESS]).first()
    wish = wish or Wish()
    if already is not None and wish.break_glass:
        said = f"it is promoted already: ask to break the glass for {already.id} itself"
        raise Conflict(said, code="already_promoted")
    if already is not None:
        return already, False
    answers = checks(source, installation, policy)
    if against := reasons(never_passed(answers) if wish.break_glass else answers):
        raise Conflict(
            f"{source.version.number} cannot be promoted: {' '.join(against)}",
            code="gates_failed",
            errors=[("gates", reason) for reason in against],
        )
    return _create(installation, source.version, actor=actor, wish=wish, source=source), True


@transaction.atomic
def retry_ended(deployment: Deployment, *, actor: Actor) -> Deployment:
    """A new attempt at what a failed deployment tried, with the same source."""
    if deployment.is_rollback:
        raise Conflict("a rollback is not retried: ask for the rollback again")
    if deployment.is_convergence:
        raise Conflict("run aureus converge again: it looks anew at which hosts are astray", code="convergence")
    again = deployment.retries.filter(status__in=OPEN).exclude(strategy=CONVERGENCE).first()
    if again is not None:
        raise Conflict(f"{again.requested_by} has retried it already: {again.id}", code="already_retried")
    used = deployment.configuration.number if deployment.configuration else 0
    wish = Wish(strategy=deployment.strategy, configuration=used, label=deployment.label, metadata=deployment.metadata)
    if deployment.source_id is not None:
        new, _ = promote(
            deployment.source_id, actor=actor, environment=deployment.installation.environment.name, wish=wish
        )
    else:
        new = deploy(deployment.version_id, deployment.installation.environment.name, actor=actor, wish=wish)
    if new.retry_of_id is None:
        Deployment.objects.filter(pk=new.pk).update(retry_of=deployment)
        new.retry_of = deployment
    return new


@transaction.atomic
def dry_run(version_id: UUID | str, environment: str, *, wish: Wish | None = None) -> dict[str, Any]:
    """The plan a deployment would have, and what would change on each host; nothing is stored."""
    version, wish = _version(version_id), wish or Wish()
    retention.demand(version)
    installation = installation_for(version, environment)
    draft = Deployment(
        installation=installation,
        version=version,
        configuration=_configuration(installation, wish),
        strategy=_strategy(installation, wish),
    )
    stages, targets = _planned(draft)
    return {
        "intent": draft.intent,
        "plan_hash": draft.plan_hash,
        "risk": draft.risk,
        "risk_reasons": draft.risk_reasons,
        "approvals": policy_of(installation).needs(draft.risk),
        "lossless": is_lossless(installation),
        "warnings": _warnings(version, installation),
        "stages": [{"name": s.name, "steps": [(p.kind, p.target) for p in s.steps]} for s in stages],
        "targets": [
            {"host": t.name, "from": t.from_content, "to": t.to_content, "back": t.back_content} for t in targets
        ],
    }


def _version(version_id: UUID | str) -> Version:
    try:
        version = (
            Version.objects.select_for_update(of=("self",)).select_related("application", "artifact").get(pk=version_id)
        )
    except (Version.DoesNotExist, ValueError, TypeError):
        raise NotFound(f"there is no version {version_id}: register it first") from None
    if version.withdrawn_at is not None:
        raise Conflict(f"version {version.number} was withdrawn: {version.withdrawn_reason}", code="withdrawn")
    return version


def _warnings(version: Version, installation: Installation) -> list[str]:
    """What is told and refuses nothing."""
    number = numbered(version, installation)
    return [] if number.passed else [number.reason]


def _strategy(installation: Installation, wish: Wish) -> str:
    name = wish.strategy or installation.strategy or policy_of(installation).strategy
    if name not in STRATEGIES:
        known = ", ".join(sorted(STRATEGIES))
        raise Invalid(f'there is no strategy "{name}"; choose one of {known}', errors=[("strategy", f"one of {known}")])
    return name


def _configuration(installation: Installation, wish: Wish) -> Configuration | None:
    if wish.configuration is None:
        return newest(installation)
    return named(installation, wish.configuration) if wish.configuration else None


def _already_there(installation: Installation, version: Version) -> bool:
    current = current_of(installation)
    return current is not None and current.version_id == version.pk


def _create(
    installation: Installation,
    version: Version,
    *,
    actor: Actor,
    wish: Wish,
    source: Deployment | None = None,
    skips_promotion: bool = False,
) -> Deployment:
    # Deployments before their installation, as everywhere: two orders would be a deadlock.
    waiting = installation.deployments.filter(status__in=WAITING, reverts=None)
    list(waiting.select_for_update().order_by("pk").values_list("pk"))
    Installation.objects.select_for_update().get(pk=installation.pk)
    retention.demand(version)
    over = schema.crossing_forward(version, installation)
    accepting.demand(over, accepted=wish.accept_schema_change, actor=actor)
    now = clock.now()
    seal(version, actor=actor)
    deployment = Deployment(
        installation=installation,
        version=version,
        configuration=_configuration(installation, wish),
        strategy=_strategy(installation, wish),
        source=source,
        skips_promotion=skips_promotion,
        requested_by=actor.name,
        answerable=actor.answerable,
        label=wish.label,
        metadata=dict(wish.metadata),
        digest=version.digest,
        wake_at=now,
    )
    stages, targets = _planned(deployment)
    deployment.save(force_insert=True)
    rows.write(deployment, stages, targets, now)
    deployment.refresh_from_db(fields=["created_at"])
    configuration = deployment.configuration.number if deployment.configuration else None
    record(deployment.stream, "deployment.requested", actor, version=version.number, configuration=configuration,
           plan_hash=deployment.plan_hash, risk=deployment.risk,
           warnings=_warnings(version, installation))  # fmt: skip
    accepting.tell(deployment, over, actor=actor)
    if wish.break_glass:
        passing.ask(deployment, actor=actor, reason=wish.break_glass)
    _supersede(deployment, actor)
    return deployment


def _planned(deployment: Deployment) -> tuple[tuple[PlannedStage, ...], list[Target]]:
    """Its plan. Raises Conflict where its schema change cannot be made there, Invalid where no strategy fits."""
    try:
        return rows.forward(deployment, clock.now())
    except schema.Undeclared as error:
        raise Conflict(str(error), code="schema_undeclared", errors=[("schemaChange", str(error))]) from error
    except Unfit as error:
        raise Invalid(str(error), errors=[("strategy", str(error))]) from error


def _supersede(newer: Deployment, actor: Actor) -> None:
    """Where the newest wins, older ones still waiting end here, unless people said more yes to them."""
    if policy_of(newer.installation).queue != "supersede":
        return
    waiting, now = newer.installation.deployments.filter(status__in=WAITING, reverts=None), clock.now()
    waiting = waiting.exclude(pk=newer.pk)
    for older in waiting.select_for_update():
        if older.approvals.filter(plan_hash=older.plan_hash, yes=True).exists() or glass_of(older, now) is not None:
            continue
        reason = f"superseded by {newer.version.number} ({newer.id})"
        finish(older, core.Finish(Status.FAILED, reason, Outcome.SUPERSEDED), actor=actor)
