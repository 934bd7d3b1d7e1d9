"""A policy tried on the windows of real rows: it finds what it would have stopped, and changes nothing."""

from datetime import timedelta

import pytest

from aureus import clock
from aureus.journal.models import Event
from aureus.journal.refusals import Invalid, NotFound
from deployments import lifecycle, replay
from deployments.models import Deployment
from health import windows
from health.models import Sample, Window
from tests.deployments.conftest import ALICE
from tests.deployments.test_policy import ASKED, QUEUE
from tests.deployments.test_watching import backdate, judged, probes, ten_minutes, window_of

STRICT = {"rules": {"max_error_rate": 0.001, "rollback_error_rate": 0.002}}


def passing(fleet) -> Deployment:
    """1.1.0 on staging: its window passed with 0.5 % errors, and it became good."""
    fleet.environment("staging", window=600)
    fleet.deployed("1.0.0")
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.run()
    window = backdate(window_of(deployment), 600, close=True)
    judged(window, [*ten_minutes(window, errors=1), *probes(window, healthy=True, count=2)])
    deployment.refresh_from_db()
    assert deployment.good_at is not None
    return deployment


@pytest.fixture
def passed(fleet) -> Deployment:
    return passing(fleet)


def tried(declared=None, **how) -> list[replay.Tried]:
    return list(replay.try_on("staging", replay.policy_from("staging", declared or {}), **how))


def newest(found: list[replay.Tried]) -> replay.Tried:
    return next(one for one in found if one.deployment.version.number == "1.1.0")


def test_the_policy_that_holds_decides_as_it_did(passed):
    one = newest(tried())
    assert (one.then, one.now.result, one.stopped) == ("pass", "pass", False)


def test_a_stricter_policy_would_have_stopped_what_became_good(passed):
    found = tried(STRICT)
    one = newest(found)
    assert (one.now.result, one.now.rule, one.stopped, one.good) == ("fail", "error_rate", True, True)
    assert one.now.decided_at and one.window.closed_at and one.now.decided_at < one.window.closed_at
    told = replay.summary(found)
    assert (told["stopped"], told["stoppedAndLaterGood"]) == (1, 1)


def test_it_changes_nothing(passed):
    before = (Event.objects.count(), list(Window.objects.order_by("pk").values()), list(Deployment.objects.values()))
    tried(STRICT)
    after = (Event.objects.count(), list(Window.objects.order_by("pk").values()), list(Deployment.objects.values()))
    assert before == after


def test_a_window_whose_samples_were_pruned_says_so(passed):
    Sample.objects.all().delete()
    found = tried(STRICT)
    assert newest(found).now.result == "undecided"
    assert "No samples are kept" in newest(found).now.sentence
    assert replay.summary(found)["withoutSamples"] == len(found)


def test_a_window_that_failed_then_may_be_let_go_or_cannot_be_told(fleet):
    fleet.environment("staging", window=600)
    fleet.deployed("1.0.0")
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.run()
    window = backdate(window_of(deployment), 600, close=True)
    judged(window, ten_minutes(window, errors=14))
    loose = {"rules": {"max_error_rate": 0.2, "rollback_error_rate": 0.5}}
    assert newest(tried()).then == "fail"
    assert newest(tried(loose)).let_go


def test_checks_that_were_not_measured_then_are_left_out_and_named(passed):
    one = newest(tried({**ASKED, "checks": [QUEUE]}))
    assert (one.left_out, one.now.result) == (("queue",), "pass")


def test_sources_that_the_policy_does_not_name_are_left_out(passed):
    assert newest(tried({**STRICT, "sources": ["probe"]})).now.rule != "error_rate"


def test_only_the_last_ones_and_only_one_application(passed):
    assert len(tried(last=1)) == 1
    assert tried(application="other") == []
    with pytest.raises(Invalid):
        tried(last=0)


def test_every_error_of_a_policy_is_told_at_once(passed):
    with pytest.raises(Invalid) as refusal:
        replay.policy_from("staging", {"queue": "random", "rules": {"alpha": 2}, "checks": [{"name": "Q"}]})
    places = {path for path, _ in refusal.value.errors}
    assert {"queue", "rules", "checks[0].name", "checks[0].bound"} <= places
    with pytest.raises(Invalid):
        replay.policy_from("staging", ["rules"])
    with pytest.raises(NotFound, match="there is: staging"):
        replay.policy_from("production", {})


def test_an_open_window_is_not_tried(fleet):
    fleet.environment("staging")
    deployment = fleet.deployed("1.0.0")
    assert window_of(deployment).closed_at is None
    assert tried() == []
    windows.close(window_of(deployment), "superseded", None, clock.now() + timedelta(seconds=1))
    assert len(tried()) == 1
