"""Deployments by the command: what is shown, and the exit codes that scripts read."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from django.conf import settings

from deployments import lifecycle
from deployments.models import Deployment, Installation
from releases.models import Version
from tests.cli.conftest import SPEC, deployment_of, run, speak_as
from tests.deployments.conftest import BOB
from tests.deployments.test_lifecycle import fail_verify_by_deadline
from tests.releases.keys import key, needs_ssh_keygen, signature

MISSING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "shop.json"
    path.write_text(json.dumps(SPEC))
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "shop.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("hello.txt")
        member.size = 2_000_000
        tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def register(spec: Path, number: str = "1.0.0", *more: str) -> str:
    done = run("version", "register", str(spec), "--version", number, "--json", *more)
    assert done.code == 0, done.err
    return str(done.json["id"])


def test_a_version_is_registered_with_its_bytes_and_listed(world, spec, archive):
    done = run("version", "register", str(spec), "--version", "v1.2.3", "--artifact", str(archive))
    assert done.code == 0, done.err
    version = Version.objects.get()
    assert f"shop@1.2.3 is registered as {version.pk}" in done.out
    assert version.artifact is not None
    assert version.artifact.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    [row] = run("version", "list", "--json").json
    assert (row["workflowId"], row["version"]) == ("shop", "1.2.3")
    assert "1.2.3" in run("version", "list", "-a", "shop").out
    assert run("version", "list", "-a", "other", "--json").json == []


def test_registering_the_same_again_is_the_same_version(world, spec):
    assert register(spec) == register(spec)


def test_a_list_is_read_over_all_its_pages(world, spec):
    for number in range(205):
        world.version(f"1.0.{number}")
    assert len(run("version", "list", "--limit", "1000", "--json").json) == 205
    world.environment("staging")
    assert run("deploy", "shop@1.0.0", "-e", "staging", "--json").code == 0, "the oldest is found as well"


def test_deploy_and_wait_ends_with_0_once_it_is_deployed(world, workers, spec):
    world.environment("staging")
    register(spec)
    with workers():
        done = run("deploy", "shop@v1.0.0", "--environment", "staging", "--wait", "--by", "github")
    assert done.code == 0, done.err
    assert "activate staging-2: passed: staging-2 was switched to 1.0.0" in done.out
    assert done.out.splitlines()[-1].startswith("1.0.0 to staging: deployed")
    assert Deployment.objects.get().label == "github"


def test_a_failed_deployment_ends_with_1_and_names_host_reason_and_rollback(world, spec, monkeypatch):
    world.environment("staging")
    world.deployed("1.0.0")
    world.sick.add(("staging-2", "1.1.0"))
    deployment = deployment_of(world, "1.1.0")
    fail_verify_by_deadline(world, deployment)
    done = run("watch", str(deployment.pk))
    assert done.code == 1
    assert "staging-2 is not healthy with 1.1.0" in done.out
    assert f"its rollback {deployment.rollbacks.get().pk} is deployed" in done.out
    shown = run("status", str(deployment.pk))
    assert shown.code == 0
    [line] = [line for line in shown.out.splitlines() if " verify" in line and "staging-2" in line]
    for word in ("failed", "it answers 503", "health", "every host it changed goes back"):
        assert word in line, f"{word!r} is missing in {line!r}"


def test_waiting_for_approval_ends_with_3_and_watching_goes_on_through_it(world, workers, monkeypatch):
    world.environment("staging", approvals=1)
    world.version("1.0.0")
    with workers():
        done = run("deploy", "shop@1.0.0", "-e", "staging", "--wait")
    assert done.code == 3
    assert "waits for 1 approval" in done.out
    deployment = Deployment.objects.get()
    assert run("watch", str(deployment.pk), "--timeout", "1").code == 3
    speak_as("anna", monkeypatch)
    assert run("approve", str(deployment.pk), "--comment", "fine").code == 0
    with workers():
        assert run("watch", str(deployment.pk)).code == 0


def test_what_does_not_end_in_time_ends_with_4_and_goes_on(world):
    world.environment("staging")
    deployment = deployment_of(world)
    done = run("watch", str(deployment.pk), "--timeout", "1")
    assert done.code == 4
    assert "it goes on by itself" in done.out
    deployment.refresh_from_db()
    assert deployment.status == "pending"


@pytest.mark.parametrize(
    "words",
    [("deploy", "shop", "-e", "staging"), ("watch", "xyz"), ("promote", "xyz"), ("deploy", "shop@1.0.0"), ("nonsense",),
     ("version", "register", "/nowhere.json", "--version", "1.0.0"), ("rollback", MISSING)],
)  # fmt: skip
def test_a_wrong_command_ends_with_2(world, words):
    assert run(*words).code == 2


def test_a_request_that_the_server_calls_wrong_ends_with_2_and_shows_every_error(world, spec):
    spec.write_text(json.dumps({"id": "shop", "name": "", "tasks": "none"}))
    done = run("version", "register", str(spec), "--version", "1.0.0")
    assert done.code == 2
    assert "workflowSpec.tasks" in done.err


def test_a_refusal_ends_with_1_and_its_own_sentence(world):
    world.environment("staging")
    world.environment("production", promote_from="staging")
    world.version("1.0.0")
    done = run("deploy", "shop@1.0.0", "-e", "production")
    assert done.code == 1
    assert "production takes versions by promotion" in done.err
    assert run("deploy", "shop@9.9.9", "-e", "staging").code == 1


def test_a_plan_is_shown_and_nothing_is_stored(world):
    world.environment("staging")
    world.deployed("1.0.0")
    world.version("1.1.0")
    done = run("deploy", "shop@1.1.0", "-e", "staging", "--dry-run")
    assert done.code == 0, done.err
    assert "activate" in done.out
    assert "WAY BACK" in done.out
    assert Deployment.objects.count() == 1


def test_a_schema_change_is_declared_shown_before_and_gone_back_over_by_its_flag_alone(world, spec):
    Installation.objects.filter(pk=world.environment("staging", hosts=1).pk).update(migrate_command="true")
    world.deployed("1.0.0")
    made = run("version", "register", str(spec), "--version", "1.1.0", "--schema-change", "contract", "--json")
    assert made.json["schemaChange"] == "contract"
    said = "no way back by itself, since 1.1.0 declares the schema change contract"
    assert said in one_line(run("deploy", "shop@1.1.0", "-e", "staging", "--dry-run").out)
    asked = run("deploy", "shop@1.1.0", "-e", "staging")
    assert said in one_line(asked.out)
    world.run()
    deployment = str(Deployment.objects.get(version__number="1.1.0").pk)
    refused = run("rollback", deployment, "--reason", "slow")
    assert refused.code == 1
    assert "1.0.0 last ran before it" in one_line(refused.err)
    assert run("rollback", deployment, "--reason", "slow", "--accept-schema-change").code == 0


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_promote_brings_what_was_tested_to_production(world, workers):
    world.environment("staging")
    world.environment("production", promote_from="staging")
    source = world.deployed("1.0.0")
    done = run("promote", str(source.pk), "--wait")
    assert done.code == 1
    assert "smoke" in done.err
    smoked(source)
    with workers():
        done = run("promote", str(source.pk), "--wait", "--by", "rita@example.com")
    assert done.code == 0, done.err
    promoted = Deployment.objects.get(source=source)
    assert (promoted.status, promoted.label) == ("deployed", "rita@example.com")


def smoked(source: Deployment) -> None:
    """A smoke run that passed, as the worker writes it."""
    from health.models import SmokeRun

    SmokeRun.objects.create(
        subject=source.pk, content=source.version.content, tests=[], asked_by="rita", verdict="passed",
        not_before=source.created_at,
    )  # fmt: skip


def test_rollback_brings_the_version_before_and_asking_twice_gives_the_same(world, workers):
    world.environment("staging")
    world.deployed("1.0.0")
    second = world.deployed("1.1.0")
    with workers():
        done = run("rollback", str(second.pk), "--reason", "wrong prices", "--wait", "--json")
    assert done.code == 0, done.err
    assert (done.json["version"], done.json["reverts"]) == ("1.0.0", str(second.pk))
    again = run("rollback", str(second.pk), "--reason", "wrong prices", "--json")
    assert again.json["id"] == done.json["id"]
    assert run("status", str(second.pk), "--json").json["status"] == "rolled_back"


def test_people_pause_resume_abort_abandon_and_retry(world, monkeypatch):
    world.environment("staging", approvals=1)
    deployment = str(deployment_of(world).pk)
    assert "is pending" in run("pause", deployment, "--reason", "lunch").out
    assert run("pause", deployment).code == 1, "it is paused already"
    assert run("resume", deployment).code == 0
    assert run("abort", deployment).code == 2, "an abort needs a reason"
    assert run("abort", deployment, "--reason", "no").code == 0
    assert run("abandon", deployment, "--reason", "enough").code == 0
    assert run("status", deployment, "--json").json["outcome"] == "abandoned"
    again = run("retry", deployment, "--json").json
    assert again["retryOf"] == deployment
    speak_as("anna", monkeypatch)
    done = run("reject", again["id"], "--comment", "not today")
    assert "is failed: rejected by anna: not today" in done.out


def test_exclude_goes_on_without_a_host(world):
    world.environment("staging", hosts=3)
    world.deployed("1.0.0")
    deployment = deployment_of(world, "1.1.0")
    world.play_until(lambda: deployment.targets.filter(claimed_at__isnull=False).exists())
    assert run("exclude", str(deployment.pk), "staging-2").code == 2, "it needs a reason"
    assert run("exclude", str(deployment.pk), "staging-9", "--reason", "no").code == 2
    assert "is in progress" in run("exclude", str(deployment.pk), "staging-2", "--reason", "its disk").out
    assert deployment.targets.get(name="staging-2").state == "owed"


def test_status_lists_the_newest_and_filters_them(world):
    world.environment("staging")
    world.environment("production")
    world.deployed("1.0.0")
    world.deployed("1.1.0")
    deployment_of(world, "1.1.0", "production")
    rows = run("status", "--json").json
    assert [(r["environment"], r["version"]) for r in rows] == [
        ("production", "1.1.0"),
        ("staging", "1.1.0"),
        ("staging", "1.0.0"),
    ]
    assert len(run("status", "-e", "staging", "--json").json) == 2
    assert [r["version"] for r in run("status", "-e", "staging", "--current", "--json").json] == ["1.1.0"]
    table = run("status").out.splitlines()
    assert table[0].split() == ["ENVIRONMENT", "APPLICATION", "VERSION", "STATUS", "ASKED", "ID", "WHY"]


def test_json_stands_alone_on_standard_output_while_it_waits(world, workers):
    world.environment("staging")
    deployment = deployment_of(world)
    with workers():
        done = run("watch", str(deployment.pk), "--json")
    assert done.json["status"] == "deployed"
    assert "activate" in done.err


def test_what_a_host_said_cannot_drive_the_terminal(world):
    world.environment("staging")
    deployment = deployment_of(world)
    Deployment.objects.filter(pk=deployment.pk).update(reason="\x1b[2Jgone\r\nnew [bold]line")
    out = run("status").out
    assert "\x1b" not in out
    assert "new [bold]line" in out


def test_a_requester_does_not_approve_by_the_command_either(world, monkeypatch):
    world.environment("staging", approvals=1)
    world.version("1.0.0")
    speak_as("cid", monkeypatch)
    deployment = run("deploy", "shop@1.0.0", "-e", "staging", "--json").json["id"]
    done = run("approve", deployment)
    assert done.code == 1
    assert "approver" in done.err


def test_retrying_a_convergence_says_how_it_is_done(world):
    here = world.environment("staging")
    world.deployed("1.0.0")
    convergence = lifecycle.converge(here, ["staging-1"], actor=BOB, reason="owed")
    lifecycle.abandon(convergence.pk, actor=BOB, reason="enough")
    done = run("retry", str(convergence.pk))
    assert done.code == 1
    assert "run aureus converge again" in done.err


def test_an_archive_that_the_application_has_is_not_sent_again(world, spec, archive):
    first = run("version", "register", str(spec), "--version", "1.0.0", "--artifact", str(archive))
    assert first.code == 0
    kept = next(path for path in Path(settings.AUREUS.ARTIFACT_DIR).rglob("*") if path.is_file())
    # Had the bytes come once more, the file would have been written anew.
    before = kept.stat().st_ino
    again = run("version", "register", str(spec), "--version", "1.0.1", "--artifact", str(archive))
    assert (again.code, kept.stat().st_ino) == (0, before)
    assert len({version.artifact_id for version in Version.objects.all()}) == 1


@needs_ssh_keygen
def test_an_archive_is_signed_where_the_command_runs(world, spec, archive, tmp_path):
    ada, eve = key(tmp_path, "ada"), key(tmp_path, "eve")
    words = ("version", "register", str(spec), "--version", "1.0.0", "--artifact", str(archive))
    done = run(*words, "--sign", str(ada), "--json")
    assert done.code == 0, done.err
    version, sha256 = done.json["id"], done.json["artifact"]["sha256"]
    assert len(done.json["signatures"]) == 1
    file = tmp_path / "by-hand.sig"
    file.write_bytes(signature(eve, sha256))
    done = run("version", "sign", version, "--signature", str(file))
    assert done.out == f"shop@1.0.0 has 2 signature(s) of {sha256[:12]}…\n"
    other = tmp_path / "other.tar"
    other.write_bytes(b"other")
    for wrong, word in (
        (("version", "sign", version), "say --key KEY"),
        (("version", "sign", version, "--key", str(tmp_path / "none")), "there is no key"),
        (("version", "sign", version, "--key", str(ada), "--artifact", str(other)), "is not what was sent"),
        ((*words[:5], "--sign", str(ada)), "only an archive can be signed"),
        ((*words, "--sign", str(ada), "--signature", str(file)), "not both"),
    ):
        done = run(*wrong)
        assert done.code == 2, wrong
        assert word in done.err
    done = run("version", "sign", version, "--key", str(other))
    assert done.code == 1
    assert "ssh-keygen has not signed with" in done.err


def test_an_environment_is_locked_frozen_and_set_free_again(world):
    world.environment("staging", hosts=1)
    assert run("lock", "staging").code == 2, "a lock needs a reason"
    assert "staging is locked by rita: moving house" in run("lock", "staging", "--reason", "moving house").out
    assert "not locked any more" in run("unlock", "staging").out
    made = run("freeze", "add", "staging", "--from", "fri 16:00", "--to", "mon 8:00", "--zone", "Europe/Berlin",
               "--reason", "the weekend", "--json").json  # fmt: skip
    assert (made["from"], made["to"]) == ("friday 16:00", "monday 08:00")
    listed = run("freeze", "list", "staging").out
    assert "friday 16:00" in listed and "rita" in listed
    assert run("freeze", "lift", "staging", str(made["id"])).code == 0
    assert run("freeze", "list", "staging", "--json").json == []


def test_status_tells_the_risk_the_way_back_and_who_let_it_past(world, monkeypatch):
    world.environment("production", hosts=1, promote_from="staging", direct=True, approvals=2)
    deployment = str(deployment_of(world, environment="production").pk)
    assert run("override", deployment, "--reason", "a hole").code == 1, "nothing of time holds it"
    assert run("break-glass", deployment, "--reason", "all orders fail").code == 0
    assert run("break-glass", deployment, "--confirm").code == 1, "a second person confirms"
    speak_as("anna", monkeypatch)
    assert run("approve", deployment, "--plan", "0" * 64).code == 1, "it is another plan"
    assert run("approve", deployment).code == 0
    assert run("break-glass", deployment, "--confirm").code == 0
    told = run("status", deployment).out
    for words in ("risk: medium", "medium: production takes versions by promotion", "way back: nothing runs there yet",
                  "approvals: 1 of 2", "yes of anna", "break glass by rita and anna", "plan: "):  # fmt: skip
        assert words in told, words
