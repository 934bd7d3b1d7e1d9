"""Where signatures are demanded nothing goes that nobody has signed who may: not at the request, not at the start."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from aureus.journal.refusals import Conflict, Invalid
from deployments import lifecycle
from deployments.doctor import State, record
from deployments.gating import checks
from deployments.models import Environment, Installation
from deployments.policy import PolicyError, parse, tightened
from deployments.snapshot import policy_of
from releases import registry
from releases.models import Version
from releases.store.directory import DirectoryStore
from tests.api.test_versions import archive
from tests.deployments.conftest import ALICE, BOB, Fleet
from tests.releases.keys import key, needs_ssh_keygen, signature, signer

pytestmark = needs_ssh_keygen
OCTETS, SHA256 = archive()


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return key(tmp_path_factory.mktemp("keys"), "ada")


@pytest.fixture
def signers(tmp_path: Path, ada: Path) -> Path:
    """A list in which ada stands."""
    file = tmp_path / "signers"
    file.write_text(signer(ada, "ada@example.com") + "\n")
    return file


@pytest.fixture
def staging(fleet: Fleet, signers: Path) -> Installation:
    return fleet.environment("staging", hosts=1, approvals=1, signed=True, signers=f"file:{signers}")


def version(fleet: Fleet, tmp_path: Path, signed_by: Path | None = None) -> Version:
    """With an artifact, and a signature of it."""
    made = fleet.version("1.0.0")
    signed = signature(signed_by, SHA256) if signed_by else None
    return registry.attach(
        made.pk, io.BytesIO(OCTETS), sha256=SHA256, store=DirectoryStore(tmp_path / "store"), max_size=10**6,
        actor=ALICE, signature=signed,
    )  # fmt: skip


def test_what_nobody_signed_is_not_deployed(fleet: Fleet, staging: Installation, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match=r"takes only signed artifacts, and 1\.0\.0 has none"):
        lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    made = version(fleet, tmp_path)
    with pytest.raises(Conflict, match=r"1\.0\.0 is not signed: have it signed, with aureus version sign") as refused:
        lifecycle.deploy(made.pk, "staging", actor=ALICE)
    assert refused.value.code == "not_signed"
    made.refresh_from_db()
    assert made.sealed_at is None


def test_what_another_key_signed_is_not_deployed(fleet: Fleet, staging: Installation, tmp_path: Path) -> None:
    made = version(fleet, tmp_path, key(tmp_path, "eve"))
    with pytest.raises(Conflict, match="by nobody who may sign for staging now"):
        lifecycle.deploy(made.pk, "staging", actor=ALICE)


def test_what_was_signed_is_deployed_and_a_later_signature_counts(
    fleet: Fleet, staging: Installation, tmp_path: Path, ada: Path
) -> None:
    made = version(fleet, tmp_path, key(tmp_path, "eve"))
    registry.sign(made.pk, signature(ada, SHA256), actor=BOB)
    registry.sign(made.pk, signature(ada, SHA256), actor=BOB)
    assert made.signatures.count() == 2
    assert lifecycle.deploy(made.pk, "staging", actor=ALICE).status == "pending"


def test_a_signer_who_was_taken_off_the_list_stops_what_waits(
    fleet: Fleet, staging: Installation, tmp_path: Path, ada: Path, signers: Path
) -> None:
    deployment = lifecycle.deploy(version(fleet, tmp_path, ada).pk, "staging", actor=ALICE)
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "awaiting_approval"
    signers.write_text("# nobody\n")
    lifecycle.approve(deployment.pk, actor=BOB)
    fleet.run()
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "stale")
    assert "by nobody who may sign for staging now" in deployment.reason
    assert fleet.running(staging) == {"staging-1": ""}


def test_the_target_says_whose_signatures_count(fleet: Fleet, tmp_path: Path, ada: Path) -> None:
    fleet.environment("staging", hosts=1)
    lines = [signer(key(tmp_path, "release"), "release@example.com")]
    production = fleet.environment("production", hosts=1, promote_from="staging", signed=True, signers=lines)
    source = lifecycle.deploy(version(fleet, tmp_path, ada).pk, "staging", actor=ALICE)
    answers = {one.name: one for one in checks(source, production, policy_of(production))}
    assert not answers["signed"].passed
    registry.sign(source.version_id, signature(tmp_path / "release", SHA256), actor=BOB)
    answers = {one.name: one for one in checks(source, production, policy_of(production))}
    assert answers["signed"].passed
    assert answers["signed"].reason == "release@example.com has signed the artifact, and may for production."


def test_a_signature_of_another_artifact_is_refused_before_the_archive_is_read(
    fleet: Fleet, tmp_path: Path, ada: Path
) -> None:
    made, unread = fleet.version("1.0.0"), io.BytesIO(OCTETS)
    for octets in (signature(ada, "0" * 64), signature(ada, SHA256, "git"), b"", b"x" * 2**20):
        with pytest.raises(Invalid) as refused:
            registry.attach(made.pk, unread, sha256=SHA256, store=DirectoryStore(tmp_path / "s"), max_size=10**6,
                            actor=ALICE, signature=octets)  # fmt: skip
        assert refused.value.code == "signature"
    assert unread.tell() == 0
    with pytest.raises(Conflict, match="no artifact that could be signed"):
        registry.sign(made.pk, signature(ada, SHA256), actor=ALICE)


def test_an_installation_may_demand_signatures_and_never_let_them_go(ada: Path) -> None:
    given = {"approvals": 0, "promote_from": None, "gates": "basic"}
    line, other = signer(ada, "ada@x"), signer(ada, "eve@x")
    plain = parse(given)
    assert tightened(plain, {"signed": True, "signers": [line]}).signed
    policy = parse({**given, "signed": True, "signers": [line, other]})
    assert tightened(policy, {"signers": [line]}).signers == (line,)
    elsewhere: list[object] = [[], ["file:/elsewhere"], "file:/elsewhere"]
    loosened: list[dict[str, object]] = [{"signed": False}, *({"signers": each} for each in elsewhere)]
    for looser in loosened:
        with pytest.raises(PolicyError):
            tightened(policy, looser)
    with pytest.raises(PolicyError, match="signers: must say whose signatures count"):
        parse({**given, "signed": True})


def test_the_doctor_says_where_signatures_cannot_be_verified(
    fleet: Fleet, staging: Installation, signers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> dict[str, State]:
        return {one.sentence: one.state for one in record.environments() if "signature" in one.sentence}

    assert list(found().values()) == [State.OK]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(found().items()) == [("it demands signatures, and ssh-keygen is not here to verify one", State.FAILED)]
    signers.unlink()
    [(sentence, state)] = found().items()
    assert state is State.FAILED
    assert "cannot be read where Aureus runs" in sentence
    assert Environment.objects.count() == 1
