"""Removes artifacts that nobody needs any more, and nothing that a rollback, a retry or a convergence would need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import Max

from aureus import clock
from aureus.journal.actor import Actor
from aureus.journal.refusals import Invalid
from deployments.contents import current_of
from deployments.engine.status import OPEN
from deployments.models import Deployment, Installation, Target
from deployments.proven import goods
from releases import retention
from releases.keeping import FEWEST_DAYS, Rule, Use, why_kept
from releases.models import Artifact, Version
from releases.spec import number_of
from releases.store import ArtifactStore

GOODS_KEPT = 3
"""The last good contents of each installation that are always to be had (design, 5)."""
Needs = dict[str, str]
"""By whom each version number of an application is needed, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Looked:
    """One artifact that is old enough: the versions that have it, and why it stays; "" where it may go."""

    artifact: Artifact
    versions: tuple[str, ...]
    kept: str = ""


@dataclass(slots=True)
class Pruned:
    """What a run came to. `left`: why the bytes of something removed are in the store still."""

    removed: list[Looked] = field(default_factory=list)
    kept: list[Looked] = field(default_factory=list)
    deleted: int = 0
    left: str = ""


def look(rule: Rule) -> Pruned:
    """What `prune` would remove, and of what is old enough what it would keep; nothing is changed. Raises Invalid."""
    _usable(rule)
    now, known = clock.now(), dict[int, Needs]()
    found = Pruned()
    old = Artifact.objects.filter(removed_at=None, at__lt=rule.before(now))
    for artifact in old.exclude(versions__created_at__gte=rule.before(now)).order_by("at", "pk"):
        seen = _looked(artifact, rule, now, known)
        (found.kept if seen.kept else found.removed).append(seen)
    return found


def prune(rule: Rule, store: ArtifactStore, *, actor: Actor) -> Pruned:
    """Remove what may go, and delete the bytes of whatever was removed and is there still. Raises Invalid.

    Each artifact is decided upon anew while nobody can plan with it. One with which somebody plans just then stays
    until the next run. A run that is cut off is made good by the next.
    """
    asked, done = look(rule), Pruned()
    done.kept = asked.kept
    for one in asked.removed:
        seen = _remove(one, rule, actor)
        (done.kept if seen.kept else done.removed).append(seen)
    done.deleted, done.left = retention.delete_marked(store)
    return done


@transaction.atomic
def _remove(seen: Looked, rule: Rule, actor: Actor) -> Looked:
    taken = _applications(seen.artifact)
    if not retention.take(taken):
        return Looked(seen.artifact, seen.versions, "somebody plans a deployment of its application at this moment")
    free = Artifact.objects.select_for_update(skip_locked=True).filter(pk=seen.artifact.pk, removed_at=None)
    artifact = free.first()
    if artifact is None or _applications(artifact) != taken:
        return Looked(seen.artifact, seen.versions, "it is being sent, or removed, at this moment")
    again = _looked(artifact, rule, clock.now(), {})
    if not again.kept:
        retention.mark(artifact, actor)
    return again


def _applications(artifact: Artifact) -> list[int]:
    return sorted(set(artifact.versions.order_by().values_list("application_id", flat=True)))


def _looked(artifact: Artifact, rule: Rule, now: datetime, known: dict[int, Needs]) -> Looked:
    versions = list(artifact.versions.select_related("application").defer("spec", "metadata"))
    uses = [_use(version, known) for version in versions]
    return Looked(artifact, tuple(use.name for use in uses), why_kept(uses, artifact.at, rule, now))


def _use(version: Version, known: dict[int, Needs]) -> Use:
    application = version.application_id
    if application not in known:
        known[application] = needs(application)
    said = known[application]
    newer = Version.objects.filter(application=application, created_at__gt=version.created_at).count()
    asked = version.deployments.aggregate(created=Max("created_at"), ended=Max("ended_at"))
    last = max(filter(None, (version.created_at, asked["created"], asked["ended"])))
    return Use(str(version), newer, last, said.get(version.number, "") or said.get("*", ""))


def needs(application_id: int) -> Needs:
    """By whom the versions of an application are needed. A version is kept whatever variables it ran with.

    "*": all of them are, since the record of an installation is in doubt.
    """
    found: Needs = {}
    for installation in Installation.objects.filter(application=application_id).select_related("environment"):
        for content, why in _needed_by(installation):
            if content:
                found.setdefault(number_of(content), f"{why} {installation.environment}")
    return found


def _needed_by(installation: Installation) -> Iterator[tuple[str, str]]:
    if installation.unproven:
        yield "*", "may be needed: the database was restored, and is not compared yet with"
    for endpoint in installation.endpoints.filter(retired=False):
        yield endpoint.recorded, "runs, by our record, in"
        yield endpoint.observed, "was last seen in"
    current = current_of(installation)
    opened = list(installation.deployments.filter(status__in=list(OPEN)))
    for deployment in [*opened, *filter(None, [current])]:
        word = "has an open deployment in" if deployment in opened else "is the current one of"
        yield deployment.content, word
        yield from _named_by(deployment)
    for content in goods(installation)[:GOODS_KEPT]:
        yield content, f"is one of the last {GOODS_KEPT} good ones of"


def _named_by(deployment: Deployment) -> Iterator[tuple[str, str]]:
    """Where its hosts came from, belong, and would go back to."""
    columns = ("from_content", "to_content", "back_content", "observed")
    named = Target.objects.filter(deployment=deployment).values_list(*columns)
    for content in sorted({content for row in named for content in row}):
        yield content, f"is named by the {'rollback' if deployment.is_rollback else 'deployment'} {deployment.pk} in"


def _usable(rule: Rule) -> None:
    wrong: Sequence[tuple[str, str]] = [
        *([("days", f"must be at least {FEWEST_DAYS}")] if rule.days < FEWEST_DAYS else []),
        *([("newest", "must not be negative")] if rule.newest < 0 else []),
    ]
    if wrong:
        raise Invalid(
            "artifacts cannot be removed by this rule: " + "; ".join(" ".join(w) for w in wrong), errors=wrong
        )
