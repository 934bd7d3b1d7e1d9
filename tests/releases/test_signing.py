"""A signature counts for the artifact that was signed, by a key of the list, at that time, and for nothing else."""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from releases.signing import LARGEST, CannotVerify, SignatureWrong, is_here, judge, read, wrong_signers
from tests.releases.keys import key, needs_ssh_keygen, signature, signer

pytestmark = needs_ssh_keygen
SHA256, OTHER = "a1" * 32, "b2" * 32
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE"
NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return key(tmp_path_factory.mktemp("keys"), "ada")


@pytest.fixture(scope="module")
def bob(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return key(tmp_path_factory.mktemp("keys"), "bob", "ecdsa")


def test_a_signature_of_an_allowed_key_counts(ada: Path, bob: Path) -> None:
    kept = read(signature(ada, SHA256), SHA256)
    assert kept.key.startswith("SHA256:")
    assert judge(SHA256, [kept.armoured], [signer(bob, "bob@x"), signer(ada, "ada@x,release@x")], NOW) == "ada@x"
    both = [read(signature(bob, SHA256), SHA256).armoured, kept.armoured]
    assert judge(SHA256, both, [signer(ada, "ada@x")], NOW) == "ada@x"


def test_a_file_with_other_line_ends_is_the_same_signature(ada: Path) -> None:
    made = signature(ada, SHA256)
    assert read(b"\n" + made.replace(b"\n", b"\r\n"), SHA256).armoured == read(made, SHA256).armoured


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ("", True),
        ('namespaces="aureus-artifact"', True),
        ('namespaces="git,file"', False),
        ('valid-before="20261129"', False),
        ('valid-before="202611291201"', True),
        ('valid-after="202611291201"', False),
        ("cert-authority", False),
    ],
)
def test_what_the_list_says_of_a_key_holds(ada: Path, options: str, counts: bool) -> None:
    found = judge(SHA256, [signature(ada, SHA256).decode()], [signer(ada, "ada@x", options)], NOW)
    assert found == ("ada@x" if counts else "")


def test_another_key_another_artifact_or_nobody_counts_for_nothing(ada: Path, bob: Path) -> None:
    made = signature(ada, SHA256).decode()
    assert judge(SHA256, [made], [signer(bob, "ada@x")], NOW) == ""
    assert judge(OTHER, [made], [signer(ada, "ada@x")], NOW) == ""
    assert judge(SHA256, [signature(ada, SHA256, "git").decode()], [signer(ada, "ada@x")], NOW) == ""
    assert judge(SHA256, [], [signer(ada, "ada@x")], NOW) == ""
    assert judge(SHA256, [made], [], NOW) == ""


def test_a_list_of_signers_is_read_anew_from_its_file(ada: Path, tmp_path: Path) -> None:
    file, made = tmp_path / "signers", signature(ada, SHA256).decode()
    file.write_text(f"# those who release\n{signer(ada, 'ada@x')}\n")
    assert judge(SHA256, [made], [f"file:{file}"], NOW) == "ada@x"
    file.write_text("# nobody now\n")
    assert judge(SHA256, [made], [f"file:{file}"], NOW) == ""
    file.write_bytes(b"#" * 70_000)
    with pytest.raises(CannotVerify, match="make it smaller"):
        judge(SHA256, [made], [f"file:{file}"], NOW)
    file.unlink()
    with pytest.raises(CannotVerify, match="cannot be read where Aureus runs"):
        judge(SHA256, [made], [f"file:{file}"], NOW)


def damaged(made: bytes) -> bytes:
    lines = made.split(b"\n")
    blob = bytearray(base64.b64decode(b"".join(lines[1:-2])))
    blob[-1] ^= 1
    return b"\n".join([lines[0], base64.b64encode(blob), lines[-2], b""])


def test_what_is_no_signature_of_the_artifact_is_refused_when_it_comes(ada: Path) -> None:
    made = signature(ada, SHA256)
    begin, end = b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----\n"
    rows: list[tuple[bytes, str]] = [
        (b"", "empty"),
        (b" \n", "empty"),
        (os.urandom(2**20), "at most 16384 bytes"),
        (made + b"#" * LARGEST, "at most 16384 bytes"),
        (b"hello", "no SSH signature"),
        (ada.with_suffix(".pub").read_bytes(), "no SSH signature"),
        (made + made, "no SSH signature"),
        (begin + b"AAAA\n" + end, "damaged"),
        (begin + base64.b64encode(b"SSHSIG\x00\x00\x00\x01\xff\xff\xff\xff") + b"\n" + end, "damaged"),
        (begin + b"=A=A\n" + end, "damaged"),
        (signature(ada, SHA256, "git"), "namespace 'git'"),
        (signature(ada, OTHER), "not of this artifact"),
        (damaged(made), "not of this artifact"),
    ]
    for octets, words in rows:
        with pytest.raises(SignatureWrong, match=words):
            read(octets, SHA256)


def test_without_ssh_keygen_it_is_said_and_nothing_counts(
    ada: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = signature(ada, "c3" * 32)
    assert is_here()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not is_here()
    for ask in (lambda: read(made, "c3" * 32), lambda: judge("c3" * 32, [made.decode()], [signer(ada, "a@x")], NOW)):
        with pytest.raises(CannotVerify, match="install openssh-client"):
            ask()


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        (["file:relative"], "absolute"),
        (["file:/a", "file:/b"], "stands alone"),
        ([PUBLIC], "must be a line"),
        ([f"ada@x {PUBLIC}\nbob@x {PUBLIC}"], "must be a line"),
        ([f'ada@x namespaces="a\nb" {PUBLIC}'], "must be a line"),
        ([""], "must be a line"),
        (["# nobody"], "must be a line"),
        (["x" * 70_000], "at most 65536"),
    ],
)  # fmt: skip
def test_signers_that_cannot_be_are_refused_in_the_declaration(lines: list[str], word: str) -> None:
    assert word in wrong_signers(lines)


def test_signers_as_ssh_knows_them_are_taken(ada: Path) -> None:
    options = 'cert-authority,namespaces="aureus-artifact",valid-before="20270101"'
    assert wrong_signers([signer(ada, "*@example.com,!bob@example.com", options) + " a comment"]) == ""
    assert wrong_signers(["file:/etc/aureus/signers"]) == ""
