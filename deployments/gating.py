"""What the gates say of a deployment that somebody wants to promote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from aureus import clock
from deployments import schema
from deployments.contents import content_of, current_of, newest
from deployments.models import MAY_BE_CURRENT, Deployment, Installation
from deployments.policy import Policy
from deployments.proven import within_reach
from health import windows
from health.models import SmokeRun
from releases import evidence, gates, retention, semver, signing
from releases.bumping import difference
from releases.facts import GateCheck, SourceFacts
from releases.models import Version
from releases.schema import ONE_WAY, SchemaChange
from releases.waiving import waived


def checks(source: Deployment, to: Installation, policy: Policy, *, again: bool = False) -> tuple[GateCheck, ...]:
    """Judge a source by the gates of where it would go; policy: that installation's.

    again: it was judged when it was asked for. Tests that run once more since then have not broken anything yet, and
    gates of time hold it.
    """
    now = clock.now()
    facts = _facts(source, again=again)
    if policy.gates != "basic":
        facts = _more(facts, source.version, to, policy)
        facts = facts if again else _heard(facts, source, now)
    answers = gates.check(policy.gates, facts, waived(source.version, to.environment.name), now=now, again=again)
    return (*answers, *of_target(source.version, to, policy))


def of_target(version: Version, to: Installation, policy: Policy) -> tuple[GateCheck, ...]:
    """What the target asks of every version, whatever its preset and wherever it comes from. No waiver lets it pass."""
    return (
        *artifact(version),
        *release(version, to, policy),
        *signature(version, to, policy),
        *schema_change(version, to, policy),
    )


def release(version: Version, to: Installation, policy: Policy) -> tuple[GateCheck, ...]:
    """That it is no pre-release, where the policy takes none."""
    if policy.prereleases or not semver.parse(version.number).prerelease:
        return ()
    reason = (
        f"{to.environment} takes no pre-releases, and {version.number} is one: register the release, without the part "
        f"after the hyphen, or declare prereleases: true for {to.environment}."
    )
    return (GateCheck("no_prerelease", False, reason),)


def numbered(version: Version, to: Installation) -> GateCheck:
    """Whether its number says what it changes there. Where a version is deployed directly this is only told."""
    nowhere = SourceFacts("", "", "", version.number, "", version.digest, target=to.environment.name)
    return gates.version_bumped(_compared(nowhere, version, to))


def artifact(version: Version) -> tuple[GateCheck, ...]:
    """That its bytes are there; nothing is said where they are."""
    why = retention.why_gone(version)
    return (GateCheck("artifact_kept", False, why),) if why else ()


def never_passed(answers: Sequence[GateCheck]) -> tuple[GateCheck, ...]:
    """Those that hold in every emergency, as they hold in spite of every waiver: signatures, the bytes, withdrawals."""
    return tuple(one for one in answers if one.name not in gates.WAIVABLE)


def schema_change(version: Version, to: Installation, policy: Policy) -> tuple[GateCheck, ...]:
    """Whether a declared schema change can be made there, and be undone where it has to be. No waiver lets it pass."""
    if version.schema_change == SchemaChange.NONE:
        return ()
    why = schema.undeclared(version, to, policy)
    said = f"{to.environment} has what the schema change {version.schema_change} of {version.number} needs."
    about = {"schemaChange": version.schema_change, "backup": bool(to.backup_command)}
    return (GateCheck("schema_change", not why, f"{why}." if why else said, about),)


def signature(version: Version, to: Installation, policy: Policy) -> tuple[GateCheck, ...]:
    """Whether somebody who may has signed the version's bytes, where the policy demands it."""
    if not policy.signed:
        return ()
    where = to.environment.name
    if version.artifact is None:
        return (GateCheck("signed", False, f"{where} takes only signed artifacts, and {version.number} has none."),)
    sha256 = version.artifact.sha256
    kept = list(version.signatures.filter(sha256=sha256).values_list("key", "armoured"))
    evidence = {"sha256": sha256, "keys": [key for key, _ in kept]}
    try:
        who = signing.judge(sha256, [armoured for _, armoured in kept], policy.signers, clock.now())
    except signing.CannotVerify as error:
        return (GateCheck("signed", False, f"{where} takes only signed artifacts: {error}.", evidence),)
    if who:
        return (GateCheck("signed", True, f"{who} has signed the artifact, and may for {where}.", evidence),)
    how = f"have it signed, with aureus version sign {version.pk} --key KEY"
    if not kept:
        reason = f"{where} takes only signed artifacts, and {version.number} is not signed: {how}."
    else:
        keys = ", ".join(key for key, _ in kept)
        reason = f"{version.number} is signed by {keys}, and by nobody who may sign for {where} now: {how}."
    return (GateCheck("signed", False, reason, evidence),)


def of_version(version: Version, to: Installation, policy: Policy) -> dict[str, GateCheck]:
    """Every gate of the guide for a version, whatever preset holds, from its newest deployment in `promote_from`."""
    source = source_of(version, policy)
    if source is not None:
        return {one.name: one for one in checks(source, to, replace(policy, gates="guide"))}
    nowhere = SourceFacts("", policy.promote_from or "nothing", "missing", version.number, "", version.digest)
    facts = _more(nowhere, version, to, policy)
    answers = gates.check("guide", facts, waived(version, to.environment.name), now=clock.now())
    return {one.name: one for one in answers}


def source_of(version: Version, policy: Policy) -> Deployment | None:
    """The newest deployment that a promotion of the version would start from; one that was deployed comes first."""
    there = Deployment.objects.filter(
        version=version, installation__environment__name=policy.promote_from, reverts=None
    )
    rows = there.select_related("installation__environment", "version").order_by("-created_at")
    return rows.filter(MAY_BE_CURRENT).first() or rows.first()


def _facts(source: Deployment, *, again: bool) -> SourceFacts:
    runs = SmokeRun.objects.filter(subject=source.id).order_by("-at", "-id")
    run = (runs.exclude(verdict="") if again else runs).first()
    version = source.version
    return SourceFacts(
        deployment=str(source.id),
        environment=source.installation.environment.name,
        status=source.status,
        version=version.number,
        digest_deployed=source.digest,
        digest_now=version.digest,
        smoke=(run.verdict or "running") if run else None,
        smoke_run=str(run.uuid) if run else None,
        withdrawn=version.withdrawn_at is not None,
        withdrawn_reason=version.withdrawn_reason,
    )


def _more(facts: SourceFacts, version: Version, to: Installation, policy: Policy) -> SourceFacts:
    """What only the gates of the guide ask for."""
    brings = content_of(version, newest(to))
    return replace(
        _compared(facts, version, to),
        target=to.environment.name,
        registrants=frozenset(filter(None, (version.created_by, version.created_label, version.answerable))),
        evidence=evidence.pieces(version),
        way_back=next((content for content in within_reach(to) if content != brings), ""),
        one_way="" if version.schema_change not in ONE_WAY else version.schema_change,
        backup_command=bool(to.backup_command),
        numbers=policy.gate_numbers(),
    )


def _compared(facts: SourceFacts, version: Version, to: Installation) -> SourceFacts:
    """With what the target runs."""
    current = current_of(to)
    if current is None:
        return facts
    return replace(facts, running=current.version.number, changes=difference(current.version, version))


def _heard(facts: SourceFacts, source: Deployment, now: datetime) -> SourceFacts:
    """Whether the hosts of the source wrote errors to their journals."""
    seconds = timedelta(seconds=facts.numbers.quiet)
    quiet = windows.quietness(source.id, source.content, now, seconds)
    return replace(facts, quiet=quiet.quiet, quiet_said=quiet.sentence)


def soak_of(version: Version, environment: str, policy: Policy, now: datetime) -> float:
    """Seconds for which a promotion is held until journals are quiet: what the policy and its gates demand."""
    demanded = policy.gate_numbers().quiet if "logs_quiet" in gates.PRESETS[policy.gates] else 0.0
    if demanded <= policy.soak:
        return policy.soak
    if gates.standing(waived(version, environment), "logs_quiet", version.digest, now):
        return policy.soak
    return demanded


def reasons(answers: Sequence[GateCheck]) -> tuple[str, ...]:
    """Why it may not go on; nothing means it may."""
    return gates.reasons_against(answers)
