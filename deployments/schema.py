"""Schema changes: what they demand of an installation, and whether code may go back over the last one of one way."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from deployments.engine.strategies import Unfit
from deployments.models import Deployment, Endpoint, Installation, Step
from deployments.policy import Policy
from releases.models import Version
from releases.schema import ONE_WAY, SchemaChange
from releases.spec import number_of


class Undeclared(Unfit):
    """The version changes its schema, and the installation does not say how that is done, or undone."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A schema change of one way, and the versions that ran here before it and not since."""

    version: str
    change: str
    back: tuple[str, ...]
    backup: str = ""

    @property
    def sentence(self) -> str:
        """Why the code does not go back, and what a person can do."""
        older = ", ".join(self.back)
        return (
            f"{self.version} has begun its schema change ({self.change}) here, and {older} last ran before it. Deploy "
            f"a mended version; or restore the backup ({self.backup or 'none was made by the plan'}); or take the code "
            f"back with acceptSchemaChange, if {older} can work with the schema as it is"
        )


@dataclass(frozen=True, slots=True)
class _Barrier:
    version: str
    change: str
    at: datetime
    deployment: Deployment


def undeclared(version: Version, installation: Installation, policy: Policy) -> str:
    """Why a version's schema change cannot be made here, or not be undone by anything; "" where it can."""
    change = version.schema_change
    if change == SchemaChange.NONE:
        return ""
    where = f"{installation.application} in {installation.environment}"
    if not installation.migrate_command:
        return (
            f"{version.number} declares the schema change {change}, and {where} has no command for it: declare migrate "
            f"(the command true, where the application does it by itself)"
        )
    needs_backup = change == SchemaChange.IRREVERSIBLE and not policy.irreversible_without_backup
    if needs_backup and not installation.backup_command:
        return (
            f"{version.number} declares an irreversible schema change, and {where} makes no backup: declare backup, or "
            f"irreversible_without_backup in the environment's policy"
        )
    return ""


def goes_one_way(version: Version, endpoints: Iterable[Endpoint]) -> bool:
    """Whether deploying it leaves no way back to code that runs now. Where it runs already, its change is made."""
    elsewhere = any(number_of(e.recorded) != version.number for e in endpoints)
    return version.schema_change in ONE_WAY and elsewhere


def crossing(installation: Installation, contents: Collection[str]) -> Crossing | None:
    """The schema change that lies between now and any of these contents; None where none does."""
    barrier = _barrier(installation) if contents else None
    if barrier is None:
        return None
    since = _since(installation, barrier, contents)
    before = sorted({number_of(content) for content in contents} - since)
    return Crossing(barrier.version, barrier.change, tuple(before), _backup_of(barrier)) if before else None


def crossing_forward(version: Version, installation: Installation) -> Crossing | None:
    """The same for a version that somebody wants to deploy: one that never ran here is none of before."""
    barrier = _barrier(installation)
    ran = Q(version=version, deployed_at__isnull=False)
    if barrier is None or not installation.deployments.filter(ran, deployed_at__lte=barrier.at).exists():
        return None
    return crossing(installation, [version.content])


def this_side(installation: Installation, contents: Sequence[str]) -> list[str]:
    """Those of some contents that no schema change lies before."""
    barrier = _barrier(installation) if contents else None
    if barrier is None:
        return list(contents)
    since = _since(installation, barrier, contents)
    return [content for content in contents if number_of(content) in since]


def has_begun(deployment: Deployment) -> bool:
    """Whether its migration was ever claimed: from then on the schema counts as changed."""
    return deployment.steps.filter(kind="migrate", attempts__gt=0).exists()


def no_return(deployment: Deployment) -> bool:
    """Whether hosts run, or may run, what a change of one way was made for: undoing them is for a person to say."""
    one_way = bool(deployment.intent.get("one_way"))
    return one_way and deployment.steps.filter(kind="activate", attempts__gt=0).exists()


def _barrier(installation: Installation) -> _Barrier | None:
    """The newest change of one way that was begun here."""
    kinds = [change.value for change in ONE_WAY]
    versions = Version.objects.filter(application=installation.application_id, schema_change__in=kinds)
    made = Step.objects.filter(
        kind="migrate", attempts__gt=0, deployment__installation=installation, deployment__version__in=versions
    )
    step = made.select_related("deployment__version").order_by("-started_at").first()
    if step is None or step.started_at is None:
        return None
    version = step.deployment.version
    return _Barrier(version.number, version.schema_change, step.started_at, step.deployment)


def _since(installation: Installation, barrier: _Barrier, contents: Iterable[str]) -> set[str]:
    """The versions of these contents that ran here after it: itself, later ones, and what a person has taken back."""
    numbers = {number_of(content) for content in contents}
    ran = installation.deployments.filter(deployed_at__gt=barrier.at, version__number__in=numbers)
    return {barrier.version, *ran.values_list("version__number", flat=True)}


def _backup_of(barrier: _Barrier) -> str:
    """Where its backup was made, and what the command said last."""
    step = barrier.deployment.steps.filter(kind="backup", status="passed").first()
    if step is None:
        return ""
    last = str(step.output.get("said", "")).strip().splitlines()
    return f"made on {step.input['endpoint']}{': ' + last[-1][:200] if last else ''}"
