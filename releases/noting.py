"""Release notes of a version, from what was registered and what is known of each version in between."""

from __future__ import annotations

from uuid import UUID

from aureus.journal.refusals import Invalid, NotFound
from releases import bumping, evidence, registry, semver
from releases.models import Version, Waiver
from releases.notes import Entry, Notes, evidence_said, said_in

MOST_VERSIONS = 50


def of(version_id: UUID | str, since: str | None = None) -> Notes:
    """What came with the versions above `since` up to this one, which is named by number or id.

    Default: the release before it. Raises NotFound, and Invalid where `since` is not lower.
    """
    version = registry.get(version_id)
    lower = bumping.before(version) if since is None else _named(version, since)
    upto, floor = semver.parse(version.number).precedence, semver.parse(lower.number).precedence if lower else None
    if floor is not None and floor >= upto:
        raise Invalid(f"{lower} is not lower than {version}", errors=[("since", "must be a lower version")])
    numbers = Version.objects.filter(application=version.application_id).values_list("number", "pk")
    known = sorted((semver.parse(number).precedence, number, pk) for number, pk in numbers)
    chosen = [(number, pk) for rank, number, pk in known if rank <= upto and (floor is None or rank > floor)]
    shown = chosen[-MOST_VERSIONS:]
    before = Version.objects.get(pk=chosen[-MOST_VERSIONS - 1][1]) if len(chosen) > len(shown) else lower
    rows = Version.objects.select_related("application").in_bulk([pk for _, pk in shown])
    entries = []
    for _, pk in shown:
        entries.append(_entry(rows[pk], before))
        before = rows[pk]
    since_number = lower.number if lower else ""
    return Notes(version.application.key, version.number, since_number, tuple(reversed(entries)),
                 len(chosen) - len(shown))  # fmt: skip


def _named(version: Version, since: str) -> Version:
    there = Version.objects.filter(application=version.application_id)
    try:
        found = there.filter(number=semver.normalise(since)).first()
    except semver.NotSemVer:
        try:
            found = there.filter(pk=UUID(since)).first()
        except ValueError:
            raise Invalid("since must be a version's number or id", errors=[("since", "no number, no id")]) from None
    if found is None:
        raise NotFound(f"{version.application} has no version {since[:100]}")
    return found


def _entry(version: Version, before: Version | None) -> Entry:
    commit = version.metadata.get("gitCommit")
    said = (
        (piece, evidence_said(piece.kind, piece.summary))
        for piece in evidence.pieces(version)
        if piece.digest == version.digest
    )
    waivers = Waiver.objects.filter(version=version, lifted_at=None).order_by("at")
    return Entry(
        number=version.number,
        id=str(version.pk),
        by=version.created_label or version.created_by,
        at=version.created_at,
        commit=commit[:200] if isinstance(commit, str) else "",
        notes=said_in(version.metadata),
        after=before.number if before else "",
        changes=bumping.difference(before, version) if before else (),
        evidence=tuple(f"{piece.name}: {text}" for piece, text in said if text),
        waived=tuple(f"{w.gate} in {w.environment} by {w.by}: {w.reason}" for w in waivers),
        withdrawn=version.withdrawn_reason if version.withdrawn_at else None,
        schema_change=version.schema_change,
    )
