"""What people say to a deployment, and what becomes of it."""

import pytest

from aureus import lease
from aureus.journal.refusals import Conflict, Invalid, NotAllowed
from deployments import lifecycle
from deployments.models import Deployment, Installation
from tests.deployments.conftest import ALICE, BOB
from tests.deployments.test_lifecycle import fail_verify_by_deadline


@pytest.fixture
def under_way(fleet) -> Deployment:
    """1.1.0 on its way over a good 1.0.0, its first host claimed."""
    fleet.environment("staging")
    fleet.deployed("1.0.0")
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.sick.add(("staging-1", "1.1.0"))
    fleet.play_until(lambda: deployment.targets.filter(claimed_at__isnull=False).exists())
    deployment.refresh_from_db()
    return deployment


def ended(deployment: Deployment) -> tuple[str, str]:
    deployment.refresh_from_db()
    return deployment.status, deployment.outcome


def test_paused_nothing_begins_and_resumed_it_goes_on_to_its_end(fleet, under_way):
    lifecycle.pause(under_way.pk, actor=BOB, reason="lunch")
    claims = under_way.steps.filter(attempts__gt=0).count()
    fleet.sick.clear()
    for _ in range(3):
        fleet.hurry()
        fleet.play_until(lambda: True)
    under_way.refresh_from_db()
    assert under_way.steps.filter(attempts__gt=0).count() == claims
    with pytest.raises(Conflict, match="bob has paused it already"):
        lifecycle.pause(under_way.pk, actor=ALICE)
    lifecycle.resume(under_way.pk, actor=BOB)
    fleet.run()
    assert ended(under_way) == ("deployed", "")


def test_an_abort_in_mid_way_brings_back_what_was_changed(fleet, under_way):
    lifecycle.abort(under_way.pk, actor=BOB, reason="wrong version")
    fleet.run()
    assert ended(under_way) == ("failed", "aborted")
    assert under_way.reason == "aborted by bob: wrong version"
    assert set(fleet.running(Installation.objects.get()).values()) == {"1.0.0"}
    assert under_way.rollbacks.get().status == "deployed"


def test_an_abort_while_preparing_ends_without_a_rollback(fleet):
    fleet.environment("staging")
    fleet.deployed("1.0.0")
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: deployment.steps.filter(kind="check", status="passed").exists())
    lifecycle.abort(deployment.pk, actor=BOB, reason="not now")
    fleet.run()
    assert ended(deployment) == ("failed", "aborted")
    assert not deployment.rollbacks.exists()
    assert not deployment.targets.filter(claimed_at__isnull=False).exists()


def test_an_abort_before_the_start_cancels(fleet):
    fleet.environment("staging", approvals=1)
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    lifecycle.abort(deployment.pk, actor=ALICE, reason="a mistake")
    fleet.run(rounds=5)
    assert ended(deployment) == ("failed", "cancelled")


def test_a_rollback_is_neither_paused_nor_aborted_but_may_be_abandoned_and_its_hosts_are_owed(fleet):
    fleet.environment("staging")
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    rollback, _ = lifecycle.roll_back(second.pk, actor=ALICE, reason="bad")
    with pytest.raises(Conflict, match="abandon it"):
        lifecycle.pause(rollback.pk, actor=BOB)
    with pytest.raises(Conflict, match="abandon it"):
        lifecycle.abort(rollback.pk, actor=BOB, reason="no")
    lifecycle.abandon(rollback.pk, actor=BOB, reason="we go forward")
    assert ended(rollback) == ("failed", "abandoned")
    assert set(rollback.targets.values_list("state", flat=True)) == {"owed"}


def test_a_failed_deployment_is_retried_as_a_new_one(fleet, under_way):
    fail_verify_by_deadline(fleet, under_way)
    assert ended(under_way) == ("failed", "error")
    fleet.sick.clear()
    again = lifecycle.retry(under_way.pk, actor=BOB)
    assert again.retry_of_id == under_way.pk
    fleet.run()
    assert ended(again) == ("deployed", "")


def test_a_failed_migration_is_held_and_a_retry_runs_it_again(fleet, tmp_path):
    here = fleet.environment("staging", hosts=2)
    flag = tmp_path / "fixed"
    command = f"test -e {flag} && test -e here"
    Installation.objects.filter(pk=here.pk).update(migrate_command=command, root=str(tmp_path))
    (tmp_path / "releases").mkdir()
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    content = deployment.version.content
    (tmp_path / "releases" / content).mkdir()
    (tmp_path / "releases" / content / "here").touch()
    fleet.play_until(lambda: deployment.steps.filter(kind="migrate", held=True).exists())
    deployment.refresh_from_db()
    assert deployment.status == "in_progress"
    assert not deployment.targets.filter(claimed_at__isnull=False).exists()
    flag.touch()
    lifecycle.retry(deployment.pk, actor=BOB)
    fleet.play_until(lambda: deployment.steps.filter(kind="migrate", status="passed").exists())


def test_a_host_out_of_reach_in_a_rollback_becomes_owed_and_the_others_go_back(fleet):
    here = fleet.environment("staging")
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    rollback, _ = lifecycle.roll_back(second.pk, actor=ALICE, reason="bad")
    fleet.hosts.at("staging-2").unreachable = True
    for _ in range(40):
        rollback.steps.filter(failing_since__isnull=False).update(failing_since="2026-01-01T00:00:00Z")
        fleet.hurry()
        fleet.play_until(lambda: True)
        try:
            fleet.run(rounds=3)
        except AssertionError:
            continue
        break
    assert ended(rollback) == ("deployed", "")
    assert rollback.reason == "every step passed; owed: staging-2"
    running = fleet.running(here)
    assert (running["staging-1"], running["staging-3"]) == ("1.0.0", "1.0.0")
    assert here.endpoints.get(host__name="staging-2").owed


def test_ended_deployments_take_no_more_orders(fleet):
    fleet.environment("staging")
    done = fleet.deployed("1.0.0")
    for verb in (lifecycle.pause, lifecycle.resume):
        with pytest.raises(Conflict, match="is deployed"):
            verb(done.pk, actor=BOB)
    with pytest.raises(Conflict, match="is deployed"):
        lifecycle.abort(done.pk, actor=BOB, reason="late")


def test_a_reason_is_demanded_where_something_is_undone(under_way):
    for verb in (lifecycle.abort, lifecycle.abandon, lifecycle.roll_back):
        with pytest.raises(Invalid, match="say why"):
            verb(under_way.pk, actor=BOB, reason=" ")


def test_a_key_is_no_person_and_does_not_approve(fleet):
    fleet.environment("staging", approvals=1)
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    with pytest.raises(NotAllowed, match="only people"):
        lifecycle.approve(deployment.pk, actor=type(BOB)("robot", "key"))


def test_who_issued_a_key_does_not_approve_what_that_key_asked_for(fleet):
    fleet.environment("staging", approvals=1)
    robot = type(BOB)("key:ci", "key", person="bob")
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=robot)
    with pytest.raises(NotAllowed, match="somebody else"):
        lifecycle.approve(deployment.pk, actor=BOB)
    lifecycle.approve(deployment.pk, actor=ALICE)


@pytest.mark.parametrize("first", [True, False], ids=["with nowhere to go back to", "with a way back"])
def test_after_an_abort_nothing_of_it_runs_on_any_host(fleet, first):
    fleet.environment("staging", hosts=2)
    if not first:
        fleet.deployed("1.0.0")
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.hosts.at("staging-1").restart_hangs = True
    site = fleet.hosts.at("staging-1").site(fleet.root)
    fleet.play_until(lambda: bool(site.running))
    lifecycle.abort(deployment.pk, actor=BOB, reason="wrong version")
    fleet.hosts.at("staging-1").restart_hangs = False
    fleet.run()
    assert ended(deployment) == ("failed", "aborted")
    assert site.running == {}
    assert any(line[4] == "stale_fence" for line in site.ledger), "the act was ended, not let run out"


def test_a_migration_under_a_fence_that_its_host_has_outlived_is_not_run(fleet, tmp_path):
    here = fleet.environment("staging")
    Installation.objects.filter(pk=here.pk).update(migrate_command=f"touch {tmp_path}/run", root=str(tmp_path))
    version = fleet.version("1.0.0")
    (tmp_path / "releases" / version.content).mkdir(parents=True)
    deployment = lifecycle.deploy(version.pk, "staging", actor=ALICE)
    migration = deployment.steps.filter(kind="migrate")
    fleet.play_until(lambda: deployment.steps.filter(kind="prepare", target="staging-1", status="passed").exists())
    # Of the one sequence, which other tests raise: a number of our own might be one that was given long ago.
    fleet.hosts.at("staging-1").site(str(tmp_path)).fence = lease.highest_fence() + 1000
    fleet.play_until(lambda: migration.filter(held=True).exists())
    assert "fence" in migration.get().reason
    assert not (tmp_path / "run").exists()


def migrating(fleet, tmp_path, command: str) -> Deployment:
    """1.0.0 with a migration, asked for."""
    fleet.root = str(tmp_path)
    here = fleet.environment("staging")
    fleet.root = str(tmp_path)
    Installation.objects.filter(pk=here.pk).update(migrate_command=command, root=fleet.root)
    version = fleet.version("1.0.0")
    (tmp_path / "releases" / version.content).mkdir(parents=True)
    return lifecycle.deploy(version.pk, "staging", actor=ALICE)


def test_an_abort_ends_a_migration_that_runs(fleet, tmp_path):
    deployment = migrating(fleet, tmp_path, "true")
    machine = fleet.hosts.at("staging-1")
    machine.once_hangs = True
    site = machine.site(str(tmp_path))
    fleet.play_until(lambda: bool(site.running))
    lifecycle.abort(deployment.pk, actor=BOB, reason="wrong version")
    fleet.run()
    assert ended(deployment) == ("failed", "aborted")
    assert site.running == {}
    assert [line[4] for line in site.ledger if line[2] == "once"] == ["started", "stale_fence"]


def test_a_migration_that_failed_is_held_with_what_it_said_and_runs_again_when_a_person_says_so(fleet, tmp_path):
    deployment = migrating(
        fleet, tmp_path, f"echo 1 >>{tmp_path}/ran; test -e {tmp_path}/mended || {{ echo no disk; exit 3; }}"
    )
    migration = deployment.steps.filter(kind="migrate")
    fleet.play_until(lambda: migration.filter(held=True).exists())
    assert "exit 3: no disk" in migration.get().reason
    (tmp_path / "mended").touch()
    lifecycle.retry(deployment.pk, actor=BOB, reason="there is room now")
    fleet.run()
    assert ended(deployment) == ("deployed", "")
    assert (tmp_path / "ran").read_text().split() == ["1", "1"]


def test_a_migration_that_takes_long_is_asked_for_until_it_has_ended(fleet, tmp_path):
    deployment = migrating(fleet, tmp_path, "true")
    machine = fleet.hosts.at("staging-1")
    machine.once_hangs = True
    site = machine.site(str(tmp_path))
    fleet.play_until(lambda: deployment.steps.filter(kind="migrate", attempts__gt=2).exists())
    assert not deployment.steps.filter(kind="activate", attempts__gt=0).exists()
    site_key = next(iter(site.running))
    machine.finish(str(tmp_path), site_key)
    machine.once_hangs = False
    fleet.run()
    assert ended(deployment) == ("deployed", "")
    assert [line[4] for line in site.ledger if line[2] == "once"] == ["started", "done"]
