"""A canary: weight after weight, watched at each, and back to nothing first when it fails."""

import pytest

from aureus.journal.models import Event
from aureus.journal.refusals import Conflict, Invalid
from deployments import lifecycle
from deployments.models import Deployment, Installation, Step
from health.models import Window
from tests.deployments.conftest import ALICE, BOB, Fleet
from tests.deployments.test_watching import backdate, judged, probes, traffic


@pytest.fixture
def here(fleet) -> Installation:
    installation = fleet.environment("staging", hosts=4, balanced=True)
    fleet.deployed("1.0.0")
    return installation


def begun(fleet: Fleet, here: Installation, **policy: object) -> Deployment:
    """1.1.0 as a canary over a good 1.0.0."""
    environment = here.environment
    environment.policy |= {"strategy": "canary", "weights": [5, 50, 100], "bake": 10.0, **policy}
    environment.save()
    type(here).objects.filter(pk=here.pk).update(strategy="canary")
    return lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)


def watched(fleet: Fleet, deployment: Deployment) -> Window:
    """Play until it is watched at its next weight."""
    fleet.play_until(lambda: Window.objects.filter(subject=deployment.pk, kind="bake", closed_at=None).exists())
    fleet.play_until(lambda: not Step.objects.filter(deployment=deployment, status="running").exists())
    return Window.objects.get(subject=deployment.pk, kind="bake", closed_at=None)


def passes(window: Window) -> None:
    judged(backdate(window, 15, close=True), probes(window, healthy=True, count=15))


def new_share(fleet: Fleet, deployment: Deployment) -> float:
    """Percent of the traffic that the balancer gives to hosts which run the new version."""
    weights = fleet.traffic.read()
    new = deployment.targets.filter(state="on_to").values_list("name", flat=True)
    return round(100 * sum(weights[name] for name in new) / sum(weights.values()), 1)


def test_each_weight_is_given_watched_and_only_then_followed_by_the_next(fleet, here):
    deployment = begun(fleet, here)
    first = watched(fleet, deployment)
    assert new_share(fleet, deployment) == 5.0
    assert sorted(fleet.running(here).values()) == ["1.0.0", "1.0.0", "1.0.0", "1.1.0"]
    assert (sorted(first.endpoints), len(first.baseline)) == (["staging-1"], 3)
    passes(first)
    second = watched(fleet, deployment)
    assert new_share(fleet, deployment) == 50.0
    assert sorted(second.endpoints) == ["staging-1", "staging-2"]
    passes(second)
    passes(watched(fleet, deployment))
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "deployed", deployment.reason
    assert set(fleet.running(here).values()) == {"1.1.0"}
    assert set(fleet.traffic.read().values()) == {100}


def test_the_new_version_never_has_more_traffic_than_the_weight_it_was_judged_for(fleet, here):
    deployment = begun(fleet, here)
    passes(watched(fleet, deployment))
    watched(fleet, deployment)
    changes = [weights for _, weights in fleet.traffic.changes]
    shares = [100 * weights["staging-1"] / sum(weights.values()) for weights in changes[-4:]]
    # In at 5 %, still at 5 % while the second host is out, then two hosts share 50 %.
    assert [round(share) for share in shares] == [0, 5, 5, 25]


def test_a_canary_that_fails_loses_its_traffic_before_anything_else_is_changed(fleet, here):
    deployment = begun(fleet, here)
    window = watched(fleet, deployment)
    judged(backdate(window, 5), traffic(window, requests=50, errors=40))
    rollback = deployment.rollbacks.get()
    fleet.play_until(lambda: rollback.steps.filter(kind="shift", status="passed").exists())
    assert fleet.traffic.read() == {"staging-1": 0, "staging-2": 100, "staging-3": 100, "staging-4": 100}
    assert not rollback.steps.filter(kind="activate", attempts__gt=0).exists()
    fleet.run()
    rollback.refresh_from_db()
    assert rollback.status == "deployed"
    assert set(fleet.running(here).values()) == {"1.0.0"}
    assert set(fleet.traffic.read().values()) == {100}


def test_a_canary_that_answers_errors_loses_its_traffic_though_we_cannot_reach_its_host(fleet, here):
    deployment = begun(fleet, here)
    window = watched(fleet, deployment)
    fleet.hosts.at("staging-1").unreachable = True
    judged(backdate(window, 5), traffic(window, requests=50, errors=40))
    rollback = deployment.rollbacks.get()
    fleet.play_until(lambda: rollback.steps.filter(kind="look", failures__gt=0).exists())
    assert fleet.traffic.read() == {"staging-1": 0, "staging-2": 100, "staging-3": 100, "staging-4": 100}
    assert not rollback.steps.filter(kind="look", status="passed").exists()


def test_a_balancer_that_is_away_keeps_no_changed_host_from_being_looked_at(fleet, here):
    deployment = begun(fleet, here)
    window = watched(fleet, deployment)
    judged(backdate(window, 5), traffic(window, requests=50, errors=40))
    rollback = deployment.rollbacks.get()
    fleet.traffic.down = True
    fleet.play_until(lambda: rollback.steps.filter(kind="look", status="passed").exists())
    fleet.traffic.down = False
    fleet.run()
    rollback.refresh_from_db()
    assert rollback.status == "deployed", rollback.reason
    assert set(fleet.traffic.read().values()) == {100}


def test_an_aborted_canary_returns_to_nothing_first(fleet, here):
    deployment = begun(fleet, here)
    passes(watched(fleet, deployment))
    watched(fleet, deployment)
    assert fleet.traffic.read()["staging-2"] > 0
    lifecycle.abort(deployment.pk, actor=BOB, reason="wrong texts")
    back = Step.objects.filter(deployment__reverts=deployment)
    fleet.play_until(lambda: back.filter(kind="shift", status="passed").exists())
    assert fleet.traffic.read() == {"staging-1": 0, "staging-2": 0, "staging-3": 100, "staging-4": 100}
    assert not back.filter(kind="activate", attempts__gt=0).exists()
    fleet.run()
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "aborted")
    assert set(fleet.running(here).values()) == {"1.0.0"}
    assert set(fleet.traffic.read().values()) == {100}


def paused(fleet: Fleet, here: Installation, **policy: object) -> tuple[Deployment, Step, Window]:
    deployment = begun(fleet, here, pause_at=[5], **policy)
    passes(watched(fleet, deployment))
    fleet.play_until(lambda: deployment.steps.filter(kind="confirm", held=True).exists())
    step = deployment.steps.get(kind="confirm")
    assert step.window is not None
    return deployment, step, step.window


def test_at_a_weight_that_asks_for_a_person_it_waits_until_one_resumes_it(fleet, here):
    deployment, step, window = paused(fleet, here)
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "in_progress"
    assert deployment.reason == "at 5 % of the traffic until a person resumes it"
    lifecycle.resume(deployment.pk, actor=BOB)
    fleet.play_until(lambda: deployment.steps.filter(kind="confirm", status="passed").exists())
    passes(watched(fleet, deployment))
    step.refresh_from_db()
    window.refresh_from_db()
    assert (step.status, window.verdict) == ("passed", "superseded")
    assert new_share(fleet, deployment) == 50.0


def test_what_breaks_while_a_person_is_waited_for_goes_back_by_itself(fleet, here):
    deployment, _, window = paused(fleet, here)
    judged(backdate(window, 5), traffic(window, requests=50, errors=40))
    fleet.run()
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "error")
    assert set(fleet.running(here).values()) == {"1.0.0"}


def test_no_policy_goes_on_in_place_of_the_person(fleet, here):
    _, step, window = paused(fleet, here, on_inconclusive={"common_cause": "continue"})
    everywhere = [*window.endpoints, *window.baseline]
    assert judged(backdate(window, 5), traffic(window, requests=50, errors=40, names=everywhere)) == []
    step.refresh_from_db()
    window.refresh_from_db()
    assert (step.status, step.held, window.closed_at) == ("pending", True, None)


def test_promoted_to_the_full_it_goes_to_the_end_unwatched_with_every_host_proven(fleet, here):
    deployment, _, _ = paused(fleet, here)
    lifecycle.promote_full(deployment.pk, actor=BOB, reason="it mends the outage")
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "deployed", deployment.reason
    assert deployment.steps.filter(kind="verify", status="passed").count() == 4
    assert set(fleet.traffic.read().values()) == {100}
    assert not Window.objects.filter(subject=deployment.pk, kind="bake", closed_at=None).exists()
    assert Window.objects.filter(subject=deployment.pk, kind="after", closed_at=None).exists()
    assert Event.objects.get(stream=deployment.stream, kind="deployment.promoted_full").data["reason"]


def test_an_abort_after_a_promotion_to_the_full_is_heard(fleet, here):
    deployment, _, _ = paused(fleet, here)
    lifecycle.promote_full(deployment.pk, actor=BOB, reason="hurry")
    lifecycle.abort(deployment.pk, actor=BOB, reason="no, do not")
    fleet.run()
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "aborted")
    assert set(fleet.running(here).values()) == {"1.0.0"}


def test_where_nothing_is_waited_for_there_is_nothing_to_promote_to_the_full(fleet, here):
    deployment = begun(fleet, here, bake=0)
    with pytest.raises(Conflict, match="has not started"):
        lifecycle.promote_full(deployment.pk, actor=BOB, reason="hurry")
    fleet.play_until(lambda: Deployment.objects.get(pk=deployment.pk).status == "in_progress")
    with pytest.raises(Conflict, match="nothing of it"):
        lifecycle.promote_full(deployment.pk, actor=BOB, reason="hurry")


def test_without_a_balancer_a_canary_is_refused_when_it_is_asked_for(fleet):
    fleet.environment("staging", hosts=2)
    fleet.deployed("1.0.0")
    with pytest.raises(Invalid, match="needs a balancer"):
        lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE, wish=lifecycle.Wish(strategy="canary"))
    assert Deployment.objects.count() == 1
