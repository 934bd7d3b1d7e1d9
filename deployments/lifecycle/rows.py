"""Plans as rows: stages, steps and targets of one deployment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from textwrap import shorten

from django.db.models import QuerySet

from deployments import schema
from deployments.assessing import assessed
from deployments.contents import content_of
from deployments.engine import plan as planning
from deployments.engine.plan_back import plan_rollback
from deployments.engine.stages import PlannedStage, Site
from deployments.engine.status import TargetState
from deployments.engine.way_back import if_it_fails
from deployments.models import Deployment, Endpoint, Installation, Stage, Step, Target
from deployments.policy import Policy
from deployments.proven import held_within_reach
from deployments.snapshot import back_for, policy_of, revisions
from releases.spec import number_of


def endpoints_of(installation: Installation) -> list[Endpoint]:
    """The living endpoints of an installation, in the order of the plan."""
    return list(
        installation.endpoints.filter(retired=False, host__state="active").select_related("host", "installation")
    )


def site_of(installation: Installation, endpoints: Sequence[Endpoint], policy: Policy) -> Site:
    """What of an installation a plan depends on."""
    commands = (("backup", installation.backup_command), ("migrate", installation.migrate_command))
    return Site(
        tuple(e.name for e in endpoints),
        balanced=installation.balancer_id is not None,
        smoke=bool(installation.smoke),
        hooks=tuple(installation.options.get("hooks", ())),
        once=tuple(kind for kind, command in commands if command),
        healthy_within=policy.healthy_within,
        drain_within=policy.drain_within,
        sides=sides(endpoints),
        serving=tuple(e.name for e in endpoints if e.serving),
    )


def sides(endpoints: Iterable[Endpoint]) -> dict[str, str]:
    """The slot of each endpoint where there are two sides of which one serves; nothing where all hosts serve."""
    return {e.name: e.slot for e in endpoints if e.slot != Endpoint.MAIN}


def forward(deployment: Deployment, now: datetime) -> tuple[tuple[PlannedStage, ...], list[Target]]:
    """The plan of a forward deployment; sets content, risk, intent, hash, revisions on it. Raises strategies.Unfit."""
    installation, version, configuration = deployment.installation, deployment.version, deployment.configuration
    deployment.content = content_of(version, configuration)
    policy, endpoints, proven = policy_of(installation), endpoints_of(installation), held_within_reach(installation)
    options = policy.options()
    if why := schema.undeclared(version, installation, policy):
        raise schema.Undeclared(why)
    one_way = schema.goes_one_way(version, endpoints)
    site = replace(
        site_of(installation, endpoints, policy),
        one_way=one_way,
        idle=sum(not e.serving for e in endpoints),
        zones={e.name: e.host.zone for e in endpoints},
        sick=tuple(e.name for e in endpoints if e.healthy is False),
        owed=tuple(e.name for e in endpoints if e.owed),
    )
    stages = planning.plan(site, deployment.strategy, options)
    changing = {p.target for s in stages for p in s.steps if p.kind == "activate"}
    targets = [
        Target(
            deployment=deployment,
            endpoint=e,
            name=e.name,
            from_content=e.recorded,
            to_content=deployment.content if e.name in changing else e.recorded,
            back_content=back_for(proven, running=e.recorded, to_content=deployment.content),
            serving=e.serving,
            resting=e.name not in changing,
        )
        for e in endpoints
    ]
    risk = assessed(deployment, stages, targets, policy)
    deployment.risk, deployment.risk_reasons = risk.risk.value, [[level.value, why] for level, why in risk.reasons]
    deployment.revisions = revisions(installation)
    deployment.intent = planning.intent(
        version=version.digest,
        configuration=configuration.digest if configuration else "",
        hosts=[e.name for e in endpoints],
        strategy=deployment.strategy,
        options={name: list(value) if isinstance(value, tuple) else value for name, value in asdict(options).items()},
        tests=installation.smoke,
        revision=deployment.revisions,
        way_back={t.name: t.back_content for t in targets},
        risk=deployment.risk,
        one_way=one_way,
        if_it_fails=if_it_fails(
            {t.name: number_of(t.back_content) for t in targets},
            version=version.number,
            change=version.schema_change,
            one_way=one_way,
            backup=_backup(installation, stages),
        ),
    )
    deployment.plan_hash = planning.plan_hash(deployment.intent)
    return stages, targets


def _backup(installation: Installation, stages: Sequence[PlannedStage]) -> str:
    """Where the plan makes one, and by which command."""
    where = next((step.input["endpoint"] for s in stages for step in s.steps if step.kind == "backup"), "")
    return f"on {where} by “{shorten(installation.backup_command, 80, placeholder=' …')}”" if where else ""


def write(deployment: Deployment, stages: Sequence[PlannedStage], targets: Sequence[Target], now: datetime) -> None:
    """Store a plan, in place of the one there was."""
    deployment.steps.all().delete()
    deployment.stages.all().delete()
    deployment.targets.all().delete()
    rows = Stage.objects.bulk_create(
        Stage(
            deployment=deployment,
            position=number,
            name=s.name,
            lane=s.lane,
            min_serving=s.min_serving,
            max_failures=s.max_failures,
            on_failure=s.on_failure,
            retries=s.retries,
            patience=s.patience,
        )
        for number, s in enumerate(stages)
    )
    Step.objects.bulk_create(
        Step(
            deployment=deployment,
            stage=row,
            kind=p.kind,
            target=p.target or "",
            removes=list(p.removes),
            within=p.within,
            input=dict(p.input),
            not_before=now,
        )
        for row, s in zip(rows, stages, strict=True)
        for p in s.steps
    )
    Target.objects.bulk_create(targets)


def served_by(deployment: Deployment | None) -> set[str]:
    """Of two sides the living endpoints that a deployment gave the traffic to, or was about to."""
    return {t.name for t in _living(deployment) if not t.resting} if deployment else set()


def left_by(deployment: Deployment) -> set[str]:
    """Of two sides the living endpoints that a deployment left without traffic, or was about to."""
    return {t.name for t in _living(deployment) if t.resting}


def _living(deployment: Deployment) -> QuerySet[Target]:
    return deployment.targets.filter(endpoint__retired=False, endpoint__host__state="active")


def undoing(
    rollback: Deployment, covered: Sequence[Target], to: dict[str, str], activated: Collection[str], now: datetime
) -> tuple[tuple[PlannedStage, ...], list[Target]]:
    """The plan that brings every covered host to `to`; hosts outside only count as serving."""
    installation = rollback.installation
    policy, endpoints = policy_of(installation), endpoints_of(installation)
    # Those that serve nothing first: nobody is missed while they go back.
    names = [t.name for t in sorted(covered, key=lambda t: t.serving)]
    by_name = {t.name: t for t in covered}
    untouched_serve = any(e.serving and e.name not in by_name for e in endpoints)
    site = site_of(installation, endpoints, policy)
    leaves = served_by(rollback.reverts) if site.sides else set()
    rests = [name for name in names if name in leaves]
    unchanged = [name for name in names if name not in (rests if site.sides else activated)]
    kept = unchanged if site.balanced else []
    stages = plan_rollback(
        site, names, untouched_serve=untouched_serve, kept=kept, resting=leaves,
        never_changed=[e.name for e in endpoints if e.name not in leaves and e.name not in activated],
    )  # fmt: skip
    targets = []
    for e in endpoints:
        known = by_name.get(e.name)
        targets.append(
            Target(
                deployment=rollback,
                endpoint=e,
                name=e.name,
                from_content=known.observed or known.from_content if known else e.recorded,
                to_content=to[e.name] if known else e.recorded,
                claimed_at=now if known else None,
                serving=known.serving if known else e.serving,
                state=TargetState.CHANGED if known else TargetState.UNTOUCHED,
                resting=e.name in leaves,
            )
        )
    return stages, targets
