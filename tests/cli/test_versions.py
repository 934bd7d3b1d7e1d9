"""What the command does with versions: git tags, release notes, withdrawal, artifacts that come and go."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from aureus import clock
from releases import registry
from releases.models import Artifact, Version
from tests.cli.conftest import SPEC, deployment_of, run, speak_as
from tests.deployments.conftest import ALICE

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A repository with one commit in the current folder, and a bare one that it is pushed to."""
    for name, value in {
        "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.com", "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.com",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    here = tmp_path / "source"
    here.mkdir()
    monkeypatch.chdir(here)

    def call(*words: str) -> str:
        return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()

    call("init", "-q", "-b", "main")
    call("commit", "-q", "--allow-empty", "-m", "first")
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "origin")], check=True)
    call("remote", "add", "origin", str(tmp_path / "origin"))
    return call


def made_of(commit: str | None, number: str = "1.2.3") -> Version:
    metadata = {} if commit is None else {"gitCommit": commit}
    return registry.register(SPEC, number, actor=ALICE, metadata=metadata)[0]


def test_a_version_is_tagged_on_the_commit_that_it_was_made_of_as_the_guide_shows(world, git):
    commit = git("rev-parse", "HEAD")
    git("commit", "-q", "--allow-empty", "-m", "second")
    made_of(commit[:10])
    done = run("version", "tag", "shop@1.2.3", "--push")
    assert done.code == 0, done.err
    assert git("rev-parse", "v1.2.3^{commit}") == commit
    assert git("for-each-ref", "--format=%(objecttype) %(contents)", "refs/tags/v1.2.3") == "tag Release version 1.2.3"
    assert git("ls-remote", "origin", "refs/tags/v1.2.3^{}").split()[0] == commit
    again = run("version", "tag", "v1.2.3".replace("v", "shop@"), "--push", "--json")
    assert again.json == {"tag": "v1.2.3", "commit": commit, "created": False, "pushed": True}


def test_without_a_commit_in_its_metadata_the_one_that_is_checked_out_is_taken(world, git):
    made_of(None, "1.3.0-rc.1")
    assert run("version", "tag", "shop@1.3.0-rc.1").code == 0
    assert git("rev-parse", "v1.3.0-rc.1^{commit}") == git("rev-parse", "HEAD")
    assert git("ls-remote", "origin") == ""


def test_a_tag_on_another_commit_stays_where_it_is(world, git):
    commit = git("rev-parse", "HEAD")
    git("tag", "v1.2.3")
    git("commit", "-q", "--allow-empty", "-m", "second")
    made_of(git("rev-parse", "HEAD"))
    done = run("version", "tag", "shop@1.2.3")
    assert (done.code, f"v1.2.3 tags {commit[:12]} already" in done.err) == (1, True)
    assert git("rev-parse", "v1.2.3") == commit


@pytest.mark.parametrize(
    ("commit", "words", "said"),
    [
        ("deadbeef" * 5, (), "this repository has no commit deadbeef"),
        ("--upload-pack=touch x", (), "is no id of a commit"),
        ("main", (), "is no id of a commit"),
        (7, (), "is no id of a commit"),
        (None, ("--commit", "nowhere"), "has no commit nowhere"),
        (None, ("--commit=--help",), "has no commit --help"),
        ("HEAD", ("--commit", "HEAD~1"), "was made of"),
    ],
)
def test_a_commit_that_is_not_there_or_not_the_versions_is_refused(world, git, commit, words, said):
    git("commit", "-q", "--allow-empty", "-m", "second")
    made_of(git("rev-parse", "HEAD") if commit == "HEAD" else commit)
    done = run("version", "tag", "shop@1.2.3", *words)
    assert (done.code, said in done.err) == (1, True), done.err
    assert git("tag") == ""


def test_a_push_that_fails_leaves_the_tag_here_and_says_so(world, git):
    made_of(None)
    done = run("version", "tag", "shop@1.2.3", "--push", "--remote", "nobody")
    assert (done.code, "v1.2.3 is tagged here, and git does not push it to nobody" in done.err) == (1, True)
    assert git("tag") == "v1.2.3"
    assert run("version", "tag", "shop@1.2.3", "--push").code == 0


def test_no_repository_and_a_withdrawn_version_are_no_place_for_a_tag(world, git, tmp_path, monkeypatch):
    version = made_of(None)
    registry.withdraw(version.pk, reason="It lost orders.", actor=ALICE)
    done = run("version", "tag", "shop@1.2.3")
    assert (done.code, "was withdrawn: It lost orders." in done.err) == (1, True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    made_of(None, "1.2.4")
    done = run("version", "tag", "shop@1.2.4")
    assert (done.code, "no git repository" in done.err) == (2, True)


def test_a_version_is_withdrawn_with_a_reason_and_the_notes_say_so(world, monkeypatch):
    world.environment("staging", hosts=1)
    deployment_of(world, "1.0.0")
    made_of("abc1234", "1.1.0")
    made_of(None, "1.2.0")
    assert run("version", "withdraw", "shop@1.1.0").code == 2
    done = run("version", "withdraw", "shop@1.1.0", "--reason", "It lost orders.")
    assert (done.code, done.out.strip()) == (0, "shop@1.1.0 was withdrawn: It lost orders.")
    speak_as("cid", monkeypatch)
    assert run("version", "withdraw", "shop@1.2.0", "--reason", "no").code == 1
    text = run("version", "notes", "shop@1.2.0", "--since", "1.0.0").out
    assert "**Withdrawn**: It lost orders." in text and ", commit abc1234." in text
    assert run("version", "notes", "shop@1.2.0", "--json").json["since"] == "1.0.0"
    since_staging = run("version", "notes", "shop@1.2.0", "-e", "staging")
    assert since_staging.out.startswith("# shop 1.2.0")
    assert run("version", "notes", "shop@1.2.0", "-e", "nowhere").code == 1
    assert run("version", "notes", "shop@1.2.0", "-e", "staging", "--since", "1.0.0").code == 2


def test_an_old_artifact_is_removed_and_sent_again(world, tmp_path):
    archive = tmp_path / "app.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("app.py"), io.BytesIO())
    for number in ("1.0.0", "1.1.0"):
        made_of(None, number)
    assert run("version", "upload", "shop@1.0.0", str(tmp_path / "none")).code == 2
    sent = run("version", "upload", "shop@1.0.0", str(archive))
    assert (sent.code, "has its artifact" in sent.out) == (0, True), sent.err
    past = clock.now() - timedelta(days=60)
    Version.objects.update(created_at=past)
    Artifact.objects.update(at=past)
    assert (run("artifact", "prune").code, run("artifact", "prune", "--days", "0").code) == (2, 2)
    assert "0 would be removed" in run("artifact", "prune", "--days", "30", "--dry-run").out, "one of the newest"
    words = ("artifact", "prune", "--days", "30", "--newest", "0")
    asked = run(*words, "--dry-run", "--json").json
    assert [one["versions"] for one in asked["removed"]] == [["shop 1.0.0"]]
    assert Artifact.objects.get().removed_at is None
    done = run(*words)
    assert (done.code, "1 removed" in done.out) == (0, True), done.err
    assert "removed" in run("version", "list").out
    assert run("version", "upload", "shop@1.0.0", str(archive)).code == 0
    assert Artifact.objects.get().removed_at is None
    assert not list((tmp_path / "artifacts").rglob(".put-*"))
