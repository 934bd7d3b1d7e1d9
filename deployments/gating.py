"""What the gates say of a deployment that somebody wants to promote."""

from __future__ import annotations

from collections.abc import Sequence

from deployments.models import Deployment
from health.models import SmokeRun
from releases import gates
from releases.gates import GateCheck


def checks(source: Deployment, preset: str, *, again: bool = False) -> tuple[GateCheck, ...]:
    """Judge a source by the preset of the environment it would go to.

    again: it was judged when it was asked for; tests that run once more since then have not broken anything yet.
    """
    runs = SmokeRun.objects.filter(subject=source.id).order_by("-at", "-id")
    run = (runs.exclude(verdict="") if again else runs).first()
    version = source.version
    facts = gates.SourceFacts(
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
    return gates.check(preset, facts)


def reasons(answers: Sequence[GateCheck]) -> tuple[str, ...]:
    """Why it may not go on; nothing means it may."""
    return gates.reasons_against(answers)
