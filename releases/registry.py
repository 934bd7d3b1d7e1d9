"""The only writer of versions: register, attach an artifact, sign, seal, withdraw."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, BinaryIO
from uuid import UUID

from django.db import IntegrityError, transaction

from aureus import clock
from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, Invalid, NotFound, Refused, TooLarge, Unavailable
from releases import checker, retention, semver, signing, spec
from releases.archive import Limits, UnsafeArchive, inspect
from releases.checker import Finding, Severity
from releases.models import Application, Artifact, Signature, Version
from releases.schema import SchemaChange
from releases.store import ArtifactStore, StoreDown, StoreRefused
from releases.workflow import MAX_ERRORS, Workflow

MOST_SIGNATURES = 20
"""Of one version; each is asked about at every look at a waiting deployment."""
POLICY = "default"
"""The checker's policy where nobody has chosen one."""


@transaction.atomic
def register(
    workflow: object,
    number: str,
    *,
    actor: Actor,
    label: str = "",
    metadata: Mapping[str, Any] | None = None,
    policy: str = POLICY,
    schema_change: str = SchemaChange.NONE,
) -> tuple[Version, bool]:
    """Register a version; (version, whether it is new). The same content again is the same version.

    schema_change: what it does to the application's data; part of what it is, so that nobody takes it back later.
    policy: which of the checker's a new version has to pass; a version that is there already is not judged again.
    Raises Invalid for a label or spec that cannot be used, Conflict where the label stands for other content.
    """
    clean, parsed, canonical = _checked(workflow, number)
    change = _change(schema_change)
    key, name = parsed.id, parsed.name
    application, _ = Application.objects.get_or_create(key=key, defaults={"name": name})
    # Two at once for one label: the second waits here, and then finds the first one's version.
    Application.objects.select_for_update().get(pk=application.pk)
    known = Version.objects.filter(application=application, number=clean).select_related("application").first()
    if known is not None:
        return _same(known, canonical, change), False
    _refuse_errors(checker.check(parsed, policy))
    version = Version.objects.create(
        application=application,
        number=clean,
        spec=json.loads(canonical),
        metadata=dict(metadata or {}),
        schema_change=change,
        digest=spec.version_digest(json.loads(canonical), clean, None, change),
        created_by=actor.name,
        answerable=actor.answerable,
        created_label=label,
    )
    version.refresh_from_db()
    declared = {} if change == SchemaChange.NONE else {"schema_change": change}
    record(version.stream, "version.registered", actor, version=clean, application=key, **declared)
    return version, True


def _checked(workflow: object, number: str) -> tuple[str, Workflow, bytes]:
    try:
        clean = semver.normalise(number)
    except ValueError as error:
        raise Invalid(str(error), errors=[("version", str(error))]) from error
    try:
        parsed = spec.read(workflow)
        canonical = spec.canonical(workflow)
    except spec.SpecInvalid as error:
        errors = [(".".join(filter(None, ("workflowSpec", path))), message) for path, message in error.errors]
        raise Invalid("the workflow spec cannot be used", errors=errors) from error
    return clean, parsed, canonical


def _change(said: str) -> SchemaChange:
    try:
        return SchemaChange(said)
    except ValueError:
        known = f"must be one of {', '.join(SchemaChange)}"
        raise Invalid(f'there is no schema change "{said[:40]}"', errors=[("schemaChange", known)]) from None


def _refuse_errors(findings: Sequence[Finding]) -> None:
    """Raises Invalid with every finding that is an error; nothing is registered then."""
    wrong = [one for one in findings if one.severity is Severity.ERROR]
    if wrong:
        errors = [(f"workflowSpec.{one.path}", f"{one.message} [{one.rule}]") for one in wrong[:MAX_ERRORS]]
        raise Invalid("the workflow spec breaks the rules of this server", code="workflow_refused", errors=errors)


def warnings(version: Version, policy: str) -> list[Finding]:
    """What the checker finds in a version by this policy, errors too: it may have come in under a milder one."""
    try:
        return list(checker.check(spec.read(version.spec), policy))
    except spec.SpecInvalid as invalid:
        # Registered by a release that did not know the meaning of a field which this one does.
        return [Finding("unreadable", Severity.ERROR, message, (), path) for path, message in invalid.errors]


def _same(known: Version, canonical: bytes, change: SchemaChange) -> Version:
    spec_differs = spec.canonical(known.spec) != canonical
    if spec_differs or known.schema_change != change:
        other = "another workflow spec" if spec_differs else f"the schema change {known.schema_change}, not {change}"
        raise Conflict(
            f"{known} is registered with {other} ({known.id}): give the new content a new version",
            code="version_taken",
            about={"id": str(known.id)},
        )
    return known


def attach(
    version_id: UUID | str,
    stream: BinaryIO,
    *,
    sha256: str,
    store: ArtifactStore,
    max_size: int,
    actor: Actor,
    signature: bytes | None = None,
) -> Version:
    """Stream an archive in, check its bytes and every member, and make it the version's artifact.

    Raises Conflict for a sealed version or another artifact, Invalid for wrong bytes, an archive that could do harm, or
    a signature that is not of it.
    """
    _may_attach(get(version_id), sha256)
    # Before a byte of the archive is read: what is signed is its sha256.
    signed = _signed(signature, sha256) if signature is not None else None
    retention.expect(sha256)
    try:
        stored = store.put(stream, sha256, max_size)
    except StoreRefused as error:
        kind: type[Refused] = TooLarge if error.code == "too_large" else Invalid
        raise kind(error.sentence, code=error.code, errors=[("artifact", error.sentence)]) from error
    except StoreDown as error:
        raise _unavailable(error) from error
    if not Artifact.objects.filter(sha256=sha256).exists():
        _inspect(stored.key, sha256, store, max_size)
    return _attached(version_id, sha256, signed, actor, sent=True)


def attach_known(
    version_id: UUID | str, *, sha256: str, store: ArtifactStore, actor: Actor, signature: bytes | None = None
) -> Version:
    """Make bytes that another version of the application has the artifact of this one, without sending them again.

    Raises NotFound where no version of the same application has them: whoever knows no more than a sha256 learns
    nothing of another application's bytes, and cannot have them deployed. Otherwise as `attach`.
    """
    version = get(version_id)
    _may_attach(version, sha256)
    there = Artifact.objects.filter(sha256=sha256, removed_at=None, versions__application=version.application_id)
    known = there.first()
    try:
        here = known is not None and store.exists(known.store_key)
    except StoreDown as error:
        raise _unavailable(error) from error
    if not here:
        raise _unknown(version)
    signed = _signed(signature, sha256) if signature is not None else None
    return _attached(version_id, sha256, signed, actor)


def _unknown(version: Version) -> NotFound:
    return NotFound(
        f"no version of {version.application} has an artifact with this sha256: send the archive itself",
        code="bytes_unknown",
    )


@transaction.atomic
def _attached(
    version_id: UUID | str, sha256: str, signed: signing.Signed | None, actor: Actor, *, sent: bool = False
) -> Version:
    """sent: the bytes have come in just now; else they must not have been removed meanwhile."""
    locked = Version.objects.select_for_update(of=("self",)).select_related("application")
    version = locked.get(pk=version_id)
    artifact = Artifact.objects.select_for_update().get(sha256=sha256)
    if artifact.removed_at is not None and not sent:
        raise _unknown(version)
    _may_attach(version, sha256)
    if artifact.removed_at is not None:
        retention.unmark(artifact)
        record(version.stream, "version.artifact_sent_again", actor, sha256=sha256, size=artifact.size)
    if version.artifact_id is None:
        version.artifact = artifact
        change = SchemaChange(version.schema_change)
        version.digest = spec.version_digest(version.spec, version.number, sha256, change)
        version.save(update_fields=["artifact", "digest"])
        record(version.stream, "version.artifact_attached", actor, sha256=sha256, size=artifact.size)
    if signed is not None:
        _keep_signature(version, signed, actor)
    return version


@transaction.atomic
def sign(version_id: UUID | str, signature: bytes, *, actor: Actor) -> Version:
    """Keep a signature of the version's artifact; the same key's again is the same. Sealed versions take them too.

    Raises Conflict without an artifact, Invalid for what is no signature of it, Unavailable where none can be read.
    """
    version = get(version_id)
    if version.artifact is None:
        raise Conflict(f"{version} has no artifact that could be signed: send its archive first", code="no_artifact")
    signed = _signed(signature, version.artifact.sha256)
    Version.objects.select_for_update().get(pk=version.pk)
    _keep_signature(version, signed, actor)
    return version


def _signed(signature: bytes, sha256: str) -> signing.Signed:
    try:
        return signing.read(signature, sha256)
    except signing.SignatureWrong as error:
        raise Invalid(str(error), code="signature", errors=[("signature", str(error))]) from error
    except signing.CannotVerify as error:
        raise Unavailable(str(error), code="cannot_verify") from error


def _keep_signature(version: Version, signed: signing.Signed, actor: Actor) -> None:
    """The caller holds the version's lock."""
    assert version.artifact is not None
    sha256 = version.artifact.sha256
    if version.signatures.filter(sha256=sha256, key=signed.key).exists():
        return
    if version.signatures.count() >= MOST_SIGNATURES:
        raise Conflict(f"{version} has {MOST_SIGNATURES} signatures, and takes no more", code="too_many")
    Signature.objects.create(version=version, sha256=sha256, armoured=signed.armoured, key=signed.key, by=actor.name)
    record(version.stream, "version.signed", actor, sha256=sha256, key=signed.key)


def _unavailable(error: StoreDown) -> Unavailable:
    return Unavailable(
        f"the artifact store does not answer: {error.sentence}; send it again in a moment",
        code="store_down",
        about={"retryAfter": 10},
    )


def _inspect(key: str, sha256: str, store: ArtifactStore, max_size: int) -> None:
    """Look at every member before anybody may deploy it; what could do harm is not kept."""
    try:
        with store.open(key) as archive:
            seen = inspect(archive, limits=Limits(archive_size=max_size))
        if seen.sha256 != sha256:
            raise UnsafeArchive(f"the store gives back sha256 {seen.sha256}; send the archive again")
    except UnsafeArchive as error:
        # What stays in a store that does not answer is attached to nothing, and looked through again if it comes again.
        with suppress(StoreDown):
            store.delete(key)
        raise Invalid(str(error), code="unsafe_archive", errors=[("artifact", str(error))]) from error
    except StoreDown as error:
        raise _unavailable(error) from error
    try:
        with transaction.atomic():
            Artifact.objects.create(
                sha256=sha256, size=seen.size, unpacked_size=seen.unpacked_size, files=seen.files, store_key=key
            )
    except IntegrityError:
        return  # the same bytes came in twice at once: one row is enough


def _may_attach(version: Version, sha256: str) -> None:
    if version.artifact is not None and version.artifact.sha256 == sha256:
        return
    if version.sealed_at is not None:
        raise Conflict(f"{version} was deployed and is sealed: register a new version for other bytes", code="sealed")
    if version.artifact is not None:
        raise Conflict(f"{version} has another artifact already: register a new version", code="artifact_taken")


def seal(version: Version, *, actor: Actor) -> None:
    """From its first deployment on a version never changes again. The caller holds its lock."""
    if version.sealed_at is None:
        version.sealed_at = clock.now()
        version.save(update_fields=["sealed_at"])
        record(version.stream, "version.sealed", actor, digest=version.digest)


@transaction.atomic
def withdraw(version_id: UUID | str, *, reason: str, actor: Actor) -> Version:
    """Take a version out of use: it is not deployed again and nothing rolls back to it."""
    version = get(version_id)
    taken = Version.objects.filter(pk=version.pk, withdrawn_at=None)
    if taken.update(withdrawn_at=clock.now(), withdrawn_reason=reason):
        record(version.stream, "version.withdrawn", actor, reason=reason)
    version.refresh_from_db(fields=["withdrawn_at", "withdrawn_reason"])
    return version


def get(version_id: UUID | str) -> Version:
    """A version by its id. Raises NotFound."""
    try:
        return Version.objects.select_related("application", "artifact").get(pk=version_id)
    except (Version.DoesNotExist, ValueError, TypeError):
        raise NotFound(f"there is no version {version_id}") from None
