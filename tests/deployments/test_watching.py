"""What verdicts do: a bake settles its step, the long window makes good or undoes, the unknown is held."""

from dataclasses import replace
from datetime import timedelta

import pytest

from aureus import clock
from aureus.journal.models import Event
from deployments import lifecycle, watching
from deployments.models import Deployment
from health import windows
from health.models import Window
from health.sampling import Measured
from health.verdicts import CAUSES, Sample
from tests.deployments.conftest import ALICE
from tests.deployments.test_policy import ASKED, QUEUE

STEP = timedelta(milliseconds=200)


def probes(window: Window, *, healthy: bool, count: int, names=None) -> list[Sample]:
    now = clock.now()
    return [
        Sample(name, window.content, "probe", "counts", now - n * STEP, healthy=healthy, seconds=0.01)
        for name in names or window.endpoints
        for n in range(count)
    ]


def traffic(window: Window, *, requests: int, errors: int, names=None) -> list[Sample]:
    return [
        Sample(name, window.content, "scrape", "counts", clock.now(), requests, errors, ((0.1, requests),))
        for name in names or window.endpoints
    ]


def backdate(window: Window, seconds: int = 120, *, close: bool = False) -> Window:
    """Let the window have been open for a while, and with `close` be due to close."""
    window.opens_at -= timedelta(seconds=seconds)
    window.closes_at = clock.now() if close else window.closes_at
    window.save()
    Window.objects.filter(subject=window.subject).update(opens_at=window.opens_at)
    return window


def judged(window: Window, samples: list[Sample]) -> list[tuple[str, str]]:
    return watching.judge(Measured(window, samples, {}))


@pytest.fixture
def second(fleet) -> Deployment:
    """1.1.0 deployed over a good 1.0.0, its long window open."""
    fleet.environment("staging")
    fleet.deployed("1.0.0")
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.run()
    return deployment


def window_of(deployment: Deployment) -> Window:
    return Window.objects.get(subject=deployment.pk, kind="after")


def test_a_window_that_passes_makes_the_content_good(second):
    window = backdate(window_of(second), close=True)
    judged(window, probes(window, healthy=True, count=30))
    second.refresh_from_db()
    assert second.good_at is not None
    window.refresh_from_db()
    assert (window.verdict, window.basis) == ("pass", "probe")
    assert window.record["figures"]["probes"] == 90


def test_a_window_that_fails_undoes_the_deployment_in_the_same_transaction(fleet, second):
    window = backdate(window_of(second))
    [(rollback, lane)] = judged(window, traffic(window, requests=50, errors=40))
    assert lane == "rollback"
    window.refresh_from_db()
    assert (window.verdict, window.record["rule"]) == ("fail", "hard_stop_errors")
    fleet.run()
    second.refresh_from_db()
    assert second.status == "rolled_back"
    assert str(second.rollbacks.get().pk) == rollback
    assert "requests failed" in second.rollbacks.get().because


def test_what_could_not_be_judged_is_held_and_people_are_told(second):
    window = backdate(window_of(second), close=True)
    assert judged(window, probes(window, healthy=True, count=2)) == []
    window.refresh_from_db()
    assert (window.closed_at, window.cause) == (None, "low_traffic")
    assert window.held_since is not None
    assert "cannot be judged (low_traffic)" in second.incidents.get().text


def test_a_hold_ends_by_policy_flagged_in_staging(second):
    window = backdate(window_of(second), close=True)
    window.held_since = clock.now() - timedelta(hours=2)
    window.save()
    judged(window, probes(window, healthy=True, count=2))
    window.refresh_from_db()
    second.refresh_from_db()
    assert (window.verdict, window.flagged, second.status) == ("inconclusive", True, "deployed")
    assert second.good_at is None


def test_a_hold_ends_by_policy_in_a_rollback_where_it_says_so(fleet):
    fleet.environment("staging", after_max_hold="rollback", max_hold=0)
    fleet.deployed("1.0.0")
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.run()
    window = backdate(window_of(deployment), close=True)
    judged(window, probes(window, healthy=True, count=2))
    assert deployment.rollbacks.exists()


def test_the_next_start_judges_the_open_window_on_what_it_has(fleet, second):
    window = backdate(window_of(second))
    judged(window, probes(window, healthy=True, count=30))
    lifecycle.deploy(fleet.version("1.2.0").pk, "staging", actor=ALICE)
    fleet.run()
    window.refresh_from_db()
    second.refresh_from_db()
    assert window.verdict == "pass"
    assert second.good_at is not None


def test_the_next_start_supersedes_a_window_that_has_too_little(fleet, second):
    lifecycle.deploy(fleet.version("1.2.0").pk, "staging", actor=ALICE)
    fleet.run()
    window = window_of(second)
    second.refresh_from_db()
    assert (window.verdict, second.good_at) == ("superseded", None)


def test_a_rollbacks_own_window_only_holds_and_pages(fleet, second):
    rollback, _ = lifecycle.roll_back(second.pk, actor=ALICE, reason="bad")
    fleet.run()
    window = backdate(window_of(rollback))
    assert judged(window, traffic(window, requests=50, errors=50)) == []
    rollback.refresh_from_db()
    assert rollback.status == "deployed"
    assert "nothing is undone by itself" in rollback.incidents.get().text


@pytest.fixture
def bake(fleet) -> tuple[Deployment, Window]:
    here = fleet.environment("staging")
    fleet.deployed("1.0.0")
    policy = here.environment.policy | {"bake": 10.0}
    type(here.environment).objects.filter(pk=here.environment_id).update(policy=policy)
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: Window.objects.filter(subject=deployment.pk, kind="bake").exists())
    fleet.play_until(lambda: not deployment.steps.filter(kind="watch", status="running").exists())
    return deployment, Window.objects.get(subject=deployment.pk, kind="bake")


def test_a_bake_watches_the_changed_hosts_beside_those_still_on_the_old_version(bake):
    _, window = bake
    assert sorted(window.endpoints) == ["staging-1"]
    assert sorted(window.baseline) == ["staging-2", "staging-3"]


def test_a_failed_bake_ends_the_deployment_and_begins_the_rollback_in_the_same_transaction(fleet, bake):
    deployment, window = bake
    woken = judged(backdate(window, 5), traffic(window, requests=50, errors=40))
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "error")
    assert (str(deployment.rollbacks.get().pk), "rollback") in woken
    step = deployment.steps.get(kind="watch", status="failed")
    assert step.rule == "hard_stop_errors"
    fleet.run()
    assert deployment.rollbacks.get().status == "deployed"
    assert not deployment.targets.exclude(name="staging-1").filter(claimed_at__isnull=False).exists()


def test_a_bake_that_passes_lets_the_next_batch_begin(fleet, bake):
    deployment, window = bake
    judged(backdate(window, 15, close=True), probes(window, healthy=True, count=15))
    fleet.play_until(lambda: deployment.targets.get(name="staging-2").claimed_at is not None)
    assert deployment.steps.filter(kind="watch", status="passed").count() == 1


def test_when_the_old_version_fails_the_same_rule_nothing_is_removed(bake):
    deployment, window = bake
    everywhere = [*window.endpoints, *window.baseline]
    assert judged(backdate(window, 5), traffic(window, requests=50, errors=40, names=everywhere)) == []
    deployment.refresh_from_db()
    window.refresh_from_db()
    assert (deployment.status, window.cause) == ("in_progress", "common_cause")
    assert not deployment.rollbacks.exists()


def test_each_decision_is_an_event_with_its_reason(second):
    window = backdate(window_of(second), close=True)
    judged(window, probes(window, healthy=True, count=30))
    event = Event.objects.get(stream=second.stream, kind="window.pass")
    assert "30 probes" in event.data["why"] or "90 probes" in event.data["why"]


def ten_minutes(window: Window, *, errors: int, source="scrape", kind="counts", requests=200) -> list[Sample]:
    """What one source counted in the last ten minutes of each endpoint, a sample a minute."""
    now = clock.now()
    return [
        Sample(name, window.content, source, kind, now - timedelta(seconds=30 + 60 * minute), requests, errors,
               ((0.1, requests),))
        for name in window.endpoints for minute in range(10)
    ]  # fmt: skip


def check(window: Window, value: float | None, kind="value") -> Sample:
    return Sample("", window.content, "check:queue", kind, clock.now(), value=value)


def made_of(cause: str, window: Window) -> list[Sample]:
    """Samples that cannot be judged, for that cause."""
    well = ten_minutes(window, errors=0)
    late = [replace(s, at=s.at - timedelta(minutes=5)) for s in well]
    return {
        "no_data": [],
        "low_traffic": probes(window, healthy=True, count=2),
        "source_down": [replace(s, kind="down", requests=0, buckets=()) for s in well],
        "stale": late,
        "degraded": ten_minutes(window, errors=6),
        "sources_disagree": [*ten_minutes(window, errors=30), *ten_minutes(window, errors=0, source="prometheus")],
        "common_cause": ten_minutes(window, errors=30),
    }[cause]


@pytest.fixture
def closing(fleet):
    """A long window that is due to close, in an environment that says what follows a hold."""

    def made(after_max_hold: str) -> tuple[Deployment, Window]:
        fleet.environment("staging", after_max_hold=after_max_hold)
        fleet.deployed("1.0.0")
        deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
        fleet.run()
        return deployment, backdate(window_of(deployment), 1200, close=True)

    return made


@pytest.mark.parametrize("cause", sorted(CAUSES))
@pytest.mark.parametrize("after", ["continue", "rollback"])
def test_each_cause_is_held_told_and_ended_as_the_policy_says(closing, cause, after):
    deployment, window = closing(after)
    samples = made_of(cause, window)
    if cause == "common_cause":
        # The last host stands in for one that still runs the old version.
        moved = max(window.endpoints)
        window.baseline = {moved: window.endpoints[moved]}
        window.endpoints = {name: spot for name, spot in window.endpoints.items() if name != moved}
        window.save()
    assert judged(window, samples) == []
    window.refresh_from_db()
    assert (window.closed_at, window.cause) == (None, cause)
    assert f"({cause})" in deployment.incidents.get().text
    assert window.record["policy"].startswith(f"Held because of {cause}")

    Window.objects.filter(pk=window.pk).update(held_since=clock.now() - timedelta(hours=2))
    woken = judged(window, [])
    window.refresh_from_db()
    deployment.refresh_from_db()
    if after == "rollback":
        assert window.verdict == "fail"
        assert [lane for _, lane in woken] == ["rollback"]
    else:
        assert (window.verdict, window.flagged, deployment.status) == ("inconclusive", True, "deployed")
        assert deployment.good_at is None


def test_a_window_keeps_the_checks_it_was_opened_with_and_one_that_fails_undoes(fleet):
    fleet.environment("staging", checks=[QUEUE], **ASKED)
    fleet.deployed("1.0.0")
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.run()
    window = backdate(window_of(deployment))
    assert [one.rule for one in windows.checks_of(window)] == ["check:queue"]
    woken = judged(window, [check(window, 200.0)])
    window.refresh_from_db()
    assert (window.verdict, window.record["rule"]) == ("fail", "check:queue")
    assert [lane for _, lane in woken] == ["rollback"]


@pytest.mark.parametrize(("kind", "cause"), [("down", "source_down"), ("absent", "no_data"), ("stale", "stale")])
def test_a_check_without_a_value_holds_a_window_that_would_pass(fleet, kind, cause):
    fleet.environment("staging", checks=[QUEUE], **ASKED)
    fleet.deployed("1.0.0")
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.run()
    window = backdate(window_of(deployment), close=True)
    assert judged(window, [*probes(window, healthy=True, count=30), check(window, None, kind)]) == []
    window.refresh_from_db()
    assert (window.closed_at, window.cause) == (None, cause)
