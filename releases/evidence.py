"""The only writer of evidence: reports of tools as files, JSON reports, and what people attest."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from aureus.journal.actor import Actor, Role
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, Invalid, NotAllowed, NotFound
from releases import registry, reports
from releases.facts import Piece
from releases.models import Evidence, ReportFile, Version
from releases.reports.statements import ATTESTATIONS, judged
from releases.reports.summaries import ReportInvalid, Review, Summary

MOST_SUBJECTS = 100
"""Subjects of one version: each is read at every look at the gates."""
REPORT = frozenset({Role.CI, Role.RELEASE_MANAGER})
ATTEST = frozenset({Role.RELEASE_MANAGER, Role.APPROVER})


def add(version_id: UUID | str, kind: str, report: Any, *, subject: str = "", actor: Actor) -> tuple[Evidence, bool]:
    """Keep a JSON report or an attestation; (evidence, whether it is new). The same again is the same.

    A report of a kind that tools write files of is kept as it is, and no gate passes by it. Raises Invalid, NotAllowed,
    NotFound.
    """
    try:
        summary = judged(kind, report)
    except ReportInvalid as error:
        raise Invalid(f"the {kind} report cannot be used: {error}", errors=[("report", str(error))]) from None
    if kind in ATTESTATIONS:
        _may_attest(actor)
    else:
        _may_report(actor)
    name = reports.JSON if summary is not None else ""
    return _keep(version_id, kind, subject, name, summary, actor=actor, report=report)


def add_file(
    version_id: UUID | str, kind: str, octets: bytes, *, name: str = "", subject: str = "", actor: Actor
) -> tuple[Evidence, bool]:
    """Read and keep a report as a tool wrote it; name: its format, guessed where it is "". Otherwise as `add`."""
    _may_report(actor)
    try:
        name, summary = reports.read(kind, name, octets)
    except ReportInvalid as error:
        raise Invalid(str(error), code="bad_report", errors=[("report", str(error))]) from None
    return _keep(version_id, kind, subject, name, summary, actor=actor, octets=octets)


def _may_report(actor: Actor) -> None:
    if not actor.holds() & REPORT:
        raise NotAllowed("you need the role ci or release_manager to send reports: ask an admin", code="missing_role")


def _may_attest(actor: Actor) -> None:
    if actor.kind != "user" or not actor.holds() & ATTEST:
        raise NotAllowed(
            "only people attest: release managers and approvers by their own token, not API keys or CI",
            code="not_a_person",
        )


@transaction.atomic
def _keep(
    version_id: UUID | str, kind: str, subject: str, name: str, summary: Summary | None, *, actor: Actor,
    report: Any = None, octets: bytes | None = None,
) -> tuple[Evidence, bool]:  # fmt: skip
    # Locked, so that the digest is of the bytes that the version has now: an artifact that comes in beside waits.
    version = Version.objects.select_for_update(of=("self",)).filter(pk=registry.get(version_id).pk).get()
    if isinstance(summary, Review):
        subject = summary.reviewer.casefold()[:200]  # whatever was said: a later no takes back the same person's yes
    sha256 = hashlib.sha256(octets).hexdigest() if octets is not None else None
    report = {} if octets is not None else report
    there = Evidence.objects.filter(version=version, kind=kind, subject=subject)
    newest = there.select_related("file").defer("file__packed").first()
    if newest is None:
        _room_for(version)
    elif (newest.digest, newest.by, newest.format, newest.report, newest.file and newest.file.sha256) == (
        version.digest, actor.name, name, report, sha256
    ):  # fmt: skip
        return newest, False
    evidence = Evidence.objects.create(
        version=version, kind=kind, subject=subject, digest=version.digest, format=name, by=actor.name, report=report,
        summary=summary.as_json() if summary else {}, file=_file(sha256, octets) if octets is not None else None,
    )  # fmt: skip
    evidence.refresh_from_db()
    about = {"subject": subject, "format": name, "sha256": sha256 or "", "digest": version.digest}
    record(version.stream, "version.evidence", actor, evidence=kind, id=evidence.pk, **about)
    return evidence, True


def _room_for(version: Version) -> None:
    if Evidence.objects.filter(version=version).order_by().values("kind", "subject").distinct().count() < MOST_SUBJECTS:
        return
    raise Conflict(
        f"{version} has evidence of {MOST_SUBJECTS} kinds and subjects: send the next report under a subject it has",
        code="too_many_subjects",
    )


def _file(sha256: str | None, octets: bytes) -> ReportFile:
    packed = {"size": len(octets), "packed": zlib.compress(octets, 6)}
    return ReportFile.objects.defer("packed").get_or_create(sha256=sha256, defaults=packed)[0]


def pieces(version: Version) -> tuple[Piece, ...]:
    """The newest evidence of each kind and subject, as the gates read it; what was sent free is not loaded."""
    with connection.cursor() as cursor:
        cursor.execute(NEWEST, [version.pk])
        return tuple(
            Piece(number, kind, subject, digest, json.loads(summary), by)
            for number, kind, subject, digest, summary, by in cursor
        )


NEWEST = """
    SELECT DISTINCT ON (kind, subject) id, kind, subject, digest, summary, by
    FROM releases_evidence WHERE version_id = %s ORDER BY kind, subject, at DESC, id DESC
"""


def one(version_id: UUID | str, evidence_id: int) -> Evidence:
    """One piece of evidence of a version. Raises NotFound."""
    found = Evidence.objects.filter(version=registry.get(version_id), pk=evidence_id).defer("report").first()
    if found is None:
        raise NotFound(f"there is no evidence {evidence_id} of this version")
    return found


def raw(evidence: Evidence) -> bytes:
    """The file as it was sent. Raises NotFound where none was."""
    if evidence.file_id is None:
        raise NotFound(f"evidence {evidence.pk} was sent as JSON and has no file: read its report", code="no_file")
    return zlib.decompress(ReportFile.objects.get(pk=evidence.file_id).packed)
