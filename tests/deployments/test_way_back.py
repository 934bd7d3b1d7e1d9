"""Where a rollback goes, and that it goes at all."""

import pytest

from aureus.journal.refusals import Conflict
from deployments import lifecycle
from deployments.models import Deployment, Endpoint, Host, Step
from health.models import Window
from releases import registry
from tests.deployments.conftest import ALICE, Fleet
from tests.deployments.test_watching import backdate, judged, traffic, window_of


def add_host(fleet: Fleet, installation, name: str, order: int) -> None:
    host = fleet._host(installation.environment, name, order)
    Endpoint.objects.create(installation=installation, host=host, port=8000)


def play_out(fleet: Fleet, deployment: Deployment) -> None:
    """Play to the end, with the patience and the deadlines of whatever fails already over."""
    for _ in range(80):
        mine = Step.objects.filter(deployment__installation=deployment.installation)
        mine.filter(failing_since__isnull=False).update(failing_since="2026-01-01T00:00:00Z")
        mine.filter(kind="verify", attempts__gt=0, status="pending").update(deadline_at="2026-01-01T00:00:00Z")
        fleet.hurry()
        try:
            fleet.run(rounds=3)
        except AssertionError:
            continue
        return
    raise AssertionError("it never ended")


def test_hosts_without_a_way_back_do_not_keep_the_others_from_theirs(fleet):
    here = fleet.environment("staging", hosts=1, strategy="all-at-once")
    first = fleet.deployed("1.0.0")
    add_host(fleet, here, "staging-2", 2)
    add_host(fleet, here, "staging-3", 3)
    fleet.sick |= {("staging-2", "1.0.0"), ("staging-3", "1.0.0")}
    again = lifecycle.deploy(first.version_id, "staging", actor=ALICE)
    play_out(fleet, again)
    again.refresh_from_db()
    assert again.status == "failed"
    rollback = again.rollbacks.get()
    assert rollback.ended_at is not None
    assert dict(rollback.targets.values_list("name", "state")) == {
        "staging-1": "on_to",
        "staging-2": "owed",
        "staging-3": "owed",
    }


@pytest.mark.parametrize("balanced", [False, True])
def test_a_first_host_out_of_reach_does_not_keep_the_others_from_going_back(fleet, balanced):
    here = fleet.environment("staging", balanced=balanced)
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    rollback, _ = lifecycle.roll_back(second.pk, actor=ALICE, reason="bad")
    fleet.hosts.at("staging-1").unreachable = True
    play_out(fleet, rollback)
    rollback.refresh_from_db()
    running = fleet.running(here)
    assert (running["staging-2"], running["staging-3"]) == ("1.0.0", "1.0.0"), rollback.reason
    assert (rollback.status, rollback.reason) == ("deployed", "every step passed; owed: staging-1")


def test_an_automatic_rollback_does_not_go_to_what_was_withdrawn_meanwhile(fleet):
    here = fleet.environment("staging")
    fleet.deployed("1.0.0")
    withdrawn = fleet.deployed("1.1.0")
    third = fleet.deployed("1.2.0")
    registry.withdraw(withdrawn.version_id, reason="a hole in it", actor=ALICE)
    judged(window := backdate(window_of(third)), traffic(window, requests=50, errors=50))
    fleet.run()
    assert set(fleet.running(here).values()) == {"1.0.0"}


def test_a_deployment_that_fails_does_not_go_back_to_what_was_withdrawn_meanwhile(fleet):
    here = fleet.environment("staging")
    fleet.deployed("1.0.0")
    withdrawn = fleet.deployed("1.1.0")
    fleet.sick.add(("staging-2", "1.2.0"))
    third = lifecycle.deploy(fleet.version("1.2.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: third.targets.filter(name="staging-2", claimed_at__isnull=False).exists())
    registry.withdraw(withdrawn.version_id, reason="a hole in it", actor=ALICE)
    play_out(fleet, third)
    running = fleet.running(here)
    assert (running["staging-1"], running["staging-2"]) == ("1.0.0", "1.0.0")


def test_what_was_rolled_back_since_it_proved_good_is_no_way_back(fleet):
    here = fleet.environment("staging")
    fleet.deployed("0.9.0")
    fleet.deployed("1.0.0")
    third = fleet.deployed("1.1.0")
    first_back, _ = lifecycle.roll_back(third.pk, actor=ALICE, reason="bad")
    fleet.run()
    assert set(fleet.running(here).values()) == {"1.0.0"}
    second_back, _ = lifecycle.roll_back(first_back.pk, actor=ALICE, reason="bad as well")
    fleet.run()
    assert set(fleet.running(here).values()) == {"0.9.0"}
    with pytest.raises(Conflict, match="no way back"):
        lifecycle.roll_back(second_back.pk, actor=ALICE, reason="where would it go?")


def test_what_was_brought_again_and_proved_good_again_is_a_way_back_again(fleet):
    here = fleet.environment("staging")
    fleet.deployed("0.9.0")
    bad = fleet.deployed("1.0.0")
    lifecycle.roll_back(bad.pk, actor=ALICE, reason="bad")
    fleet.run()
    fleet.deployed("1.0.0")
    third = fleet.deployed("1.1.0")
    lifecycle.roll_back(third.pk, actor=ALICE, reason="bad")
    fleet.run()
    assert set(fleet.running(here).values()) == {"1.0.0"}


def test_nobody_may_name_a_version_whose_window_failed_here(fleet):
    fleet.environment("staging", automatic_rollback=False)
    fleet.deployed("1.0.0")
    failed = fleet.deployed("1.1.0")
    Deployment.objects.filter(pk=failed.pk).update(good_at=None)
    judged(window := backdate(window_of(failed)), traffic(window, requests=50, errors=50))
    assert Window.objects.get(pk=window.pk).verdict == "fail"
    third = fleet.deployed("1.2.0")
    with pytest.raises(Conflict):
        lifecycle.roll_back(third.pk, actor=ALICE, reason="bad", target_version="1.1.0")


def test_where_every_host_was_retired_a_rollback_is_refused_in_words(fleet):
    here = fleet.environment("staging")
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    here.endpoints.update(retired=True)
    with pytest.raises(Conflict, match="retired"):
        lifecycle.roll_back(second.pk, actor=ALICE, reason="bad")


def test_a_host_retired_since_is_left_out_of_a_rollback(fleet):
    here = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    Host.objects.filter(name="staging-3").update(state="retired")
    fleet.hosts.at("staging-3").unreachable = True
    rollback, _ = lifecycle.roll_back(second.pk, actor=ALICE, reason="bad")
    fleet.run()
    rollback.refresh_from_db()
    assert (rollback.status, rollback.reason) == ("deployed", "every step passed")
    running = fleet.running(here)
    assert (running["staging-1"], running["staging-2"]) == ("1.0.0", "1.0.0")


def test_a_restart_that_takes_long_is_waited_for_in_a_rollback_not_begun_anew(fleet):
    fleet.environment("staging", hosts=1, strategy="all-at-once")
    fleet.deployed("1.0.0")
    bad = fleet.deployed("1.1.0")
    machine = fleet.hosts.at("staging-1")
    site, machine.restart_hangs = machine.site(fleet.root), True
    fleet.sick.add(("staging-1", "1.0.0"))
    rollback, _ = lifecycle.roll_back(bad.pk, actor=ALICE, reason="wrong prices")
    fleet.play_until(lambda: bool(site.running))
    [key] = site.running
    before = list(site.ledger)
    looked = len(machine.calls)
    step = Step.objects.get(deployment=rollback, kind="activate")
    fleet.play_until(lambda: fleet.hurry() and Step.objects.get(pk=step.pk).attempts > step.attempts + 2)
    assert list(site.running) == [key], f"{machine.calls[looked:]}"
    assert site.ledger == before, "the running restart was ended and begun anew"
    machine.restart_hangs = False
    machine.finish(fleet.root, key)
    fleet.sick.clear()
    fleet.run()
    rollback.refresh_from_db()
    assert rollback.status == "deployed"


def test_a_rollback_that_was_undone_itself_says_of_its_hosts_that_they_went_back(fleet):
    fleet.environment("staging")
    fleet.deployed("0.9.0")
    fleet.deployed("1.0.0")
    bad = fleet.deployed("1.1.0")
    rollback, _ = lifecycle.roll_back(bad.pk, actor=ALICE, reason="bad")
    fleet.run()
    assert set(rollback.targets.values_list("state", flat=True)) == {"on_to"}
    lifecycle.roll_back(rollback.pk, actor=ALICE, reason="that one was bad as well")
    fleet.run()
    rollback.refresh_from_db()
    assert rollback.status == "rolled_back"
    assert set(rollback.targets.values_list("state", flat=True)) == {"on_back"}


def test_what_waited_begins_with_what_went_before_it_even_on_hosts_that_it_never_looks_at(fleet):
    fleet.environment("staging", hosts=2)
    fleet.deployed("1.0.0")
    first = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    second = lifecycle.deploy(fleet.version("1.2.0").pk, "staging", actor=ALICE)
    second.steps.filter(kind="check").update(held=True)
    fleet.run()
    second.refresh_from_db()
    assert second.status == "in_progress"
    assert set(second.targets.values_list("from_content", flat=True)) == {first.version.content}
