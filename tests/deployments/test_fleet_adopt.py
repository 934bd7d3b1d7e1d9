"""Hand-installed hosts come under Aureus without a restart, and the next deployment and its rollback work."""

from __future__ import annotations

import pytest

from aureus.journal.models import Event
from aureus.journal.refusals import Conflict, Invalid, NotFound
from deployments import lifecycle
from deployments.fleet import adopt, converge
from deployments.fleet.adopt import Adoption
from deployments.models import Deployment, Endpoint, Host, Installation
from deployments.proven import goods
from health.models import Window
from health.sources.probe import HealthAnswer
from tests.deployments.conftest import ALICE, ROOT, Fleet

READS = {"facts", "status", "workflow", "logs", "diagnose", "read"}


class ByHand(Fleet):
    """Hosts on which somebody started the application; it answers until Aureus activates something there."""

    runs = "1.0.0"

    def ask(self, url: str, expected: str | None, **how: object) -> HealthAnswer:
        name = url.split("//")[1].split(":")[0]
        if self.hosts.at(name).site(ROOT).restarts:
            return super().ask(url, expected, **how)
        if expected and not expected.startswith(self.runs):
            return HealthAnswer(False, self.runs, f"it runs {self.runs}", 0.01)
        return HealthAnswer(True, self.runs, f"it is healthy and runs {self.runs}", 0.01)


@pytest.fixture
def by_hand(transactional_db: None) -> ByHand:
    fleet = ByHand()
    fleet.environment("staging")
    fleet.version("1.0.0")
    return fleet


def look(fleet: Fleet, **how: str) -> Adoption:
    return adopt.look("staging", "shop", "1.0.0", fleet.outside, **how)


def adopted(fleet: Fleet, **how: str) -> Deployment:
    found = adopt.adopt(look(fleet, **how), fleet.outside, actor=ALICE, reason="it came from the old scripts")
    assert not found.refused, [one.refused for one in found.refused]
    assert found.deployment is not None
    return found.deployment


def changed(fleet: Fleet) -> set[str]:
    return {verb for machine in fleet.hosts.machines.values() for verb, _ in machine.calls} - READS


def restarts(fleet: Fleet) -> int:
    return sum(machine.site(ROOT).restarts for machine in fleet.hosts.machines.values())


def test_the_look_says_what_it_would_do_and_changes_nothing(by_hand):
    found = look(by_hand)
    assert [one.plan for one in found.found] == ["send its release, point its link at it, restart nothing"] * 3
    assert (changed(by_hand), Deployment.objects.count()) == (set(), 0)


def test_adopted_hosts_are_recorded_and_nothing_is_restarted(by_hand):
    deployment = adopted(by_hand)
    here = Installation.objects.get()
    content = deployment.version.content
    assert restarts(by_hand) == 0
    assert set(by_hand.running(here).values()) == {"1.0.0"}
    assert set(Endpoint.objects.values_list("recorded", "serving")) == {(content, True)}
    assert lifecycle.current_of(here) == deployment
    assert goods(here) == [content]
    assert deployment.reason == "adopted by alice because it came from the old scripts"
    assert not Window.objects.exists(), "no verdict is made up"
    kinds = list(Event.objects.filter(stream=deployment.stream).order_by("seq").values_list("kind", flat=True))
    assert kinds == ["deployment.requested", "deployment.deployed"]
    assert Event.objects.get(kind="installation.adopted").data["reason"] == "it came from the old scripts"
    deployment.version.refresh_from_db()
    assert deployment.version.sealed_at is not None


def test_the_next_deployment_and_its_rollback_to_the_adopted_version_work(by_hand):
    adopted(by_hand)
    here = Installation.objects.get()
    newer = by_hand.deployed("1.1.0")
    assert set(by_hand.running(here).values()) == {"1.1.0"}
    rollback, _ = lifecycle.roll_back(newer.pk, actor=ALICE, reason="customers complain")
    by_hand.run()
    rollback.refresh_from_db()
    assert rollback.status == "deployed", rollback.reason
    assert set(by_hand.running(here).values()) == {"1.0.0"}


def test_deploying_the_adopted_version_starts_it_from_its_release(by_hand):
    adopted(by_hand)
    by_hand.deployed("1.0.0")
    assert restarts(by_hand) == 3


def test_a_failing_next_version_goes_back_to_the_adopted_one_by_itself(by_hand):
    adopted(by_hand)
    by_hand.hosts.at("staging-2").restart_fails = True
    deployment = lifecycle.deploy(by_hand.version("1.1.0").pk, "staging", actor=ALICE)
    by_hand.play_until(lambda: Deployment.objects.filter(reverts=deployment).exists())
    by_hand.hosts.at("staging-2").restart_fails = False
    by_hand.run()
    assert set(by_hand.running(Installation.objects.get()).values()) == {"1.0.0"}


def test_hosts_adopted_one_by_one_complete_the_first(by_hand):
    first = adopted(by_hand, host="staging-1")
    second = adopted(by_hand, host="staging-2")
    assert (second.strategy, second.retry_of) == ("converge", first)
    here = Installation.objects.get()
    assert lifecycle.current_of(here) == first
    [found] = converge.look("staging", by_hand.outside)
    assert [one.endpoint.name for one in found.astray] == ["staging-3"]


def test_a_host_that_joins_a_deployed_version_is_covered_by_its_rollback(by_hand):
    adopted(by_hand)
    newer = by_hand.deployed("1.1.0")
    here = Installation.objects.get()
    by_hand._host(here.environment, "staging-4", 4)
    Endpoint.objects.create(installation=here, host=Host.objects.get(name="staging-4"), port=8000)
    by_hand.runs = "1.1.0"
    found = adopt.look("staging", "shop", "1.1.0", by_hand.outside, host="staging-4")
    adopt.adopt(found, by_hand.outside, actor=ALICE, reason="it was cloned")
    lifecycle.roll_back(newer.pk, actor=ALICE, reason="bad")
    by_hand.run()
    assert set(by_hand.running(here).values()) == {"1.0.0"}


def test_a_host_that_proves_another_version_is_refused_and_the_others_are_adopted(by_hand):
    by_hand.hosts.at("staging-2").site(ROOT).restarts = 1  # it answers by its slot: nothing
    found = adopt.adopt(look(by_hand), by_hand.outside, actor=ALICE, reason="old scripts")
    [refused] = found.refused
    assert refused.endpoint.name == "staging-2"
    assert "does not prove to run 1.0.0" in refused.refused
    assert Endpoint.objects.get(host__name="staging-2").recorded == ""
    assert "adopt" not in {verb for verb, _ in by_hand.hosts.at("staging-2").calls}


def unpin(fleet: Fleet) -> None:
    Host.objects.filter(name="staging-1").update(fingerprint="")


def lose(fleet: Fleet) -> None:
    fleet.hosts.at("staging-1").unreachable = True


def ahead(fleet: Fleet) -> None:
    fleet.hosts.at("staging-1").site(ROOT).fence = 10**12


def linked(fleet: Fleet) -> None:
    fleet.hosts.at("staging-1").site(ROOT).slots["main"] = "0.9.0-000000000000"


def bare(fleet: Fleet) -> None:
    fleet.hosts.at("staging-1").missing_tools = ("flock",)


@pytest.mark.parametrize(
    ("fault", "said"),
    [(unpin, "aureus hosts trust"), (lose, "cannot be reached"), (ahead, "aureus recover"), (linked, "its link is on"),
     (bare, "lacks flock")],
)  # fmt: skip
def test_a_host_is_refused_with_a_sentence_and_untouched(by_hand, fault, said):
    fault(by_hand)
    found = adopt.adopt(look(by_hand), by_hand.outside, actor=ALICE, reason="old scripts")
    [refused] = found.refused
    assert said in refused.refused
    assert {verb for verb, _ in by_hand.hosts.at("staging-1").calls} <= READS


def test_nothing_is_adopted_beside_a_deployment_or_into_another_version_or_on_hold(by_hand):
    waiting = lifecycle.deploy(by_hand.version("1.1.0").pk, "staging", actor=ALICE)
    with pytest.raises(Conflict, match=str(waiting.pk)):
        look(by_hand)
    lifecycle.abandon(waiting.pk, actor=ALICE, reason="not now")
    Installation.objects.update(held="a fence from the future")
    with pytest.raises(Conflict, match="is held"):
        look(by_hand)
    Installation.objects.update(held="", version_proof="link+start")
    with pytest.raises(Conflict, match="version_proof"):
        look(by_hand)
    Installation.objects.update(version_proof="health")
    adopted(by_hand)
    by_hand.version("1.2.0")
    with pytest.raises(Conflict, match=r"is on 1\.0\.0 by our record"):
        adopt.look("staging", "shop", "1.2.0", by_hand.outside)


def test_a_deployment_that_begins_between_look_and_adoption_wins(by_hand):
    found = look(by_hand)
    lifecycle.deploy(by_hand.version("1.1.0").pk, "staging", actor=ALICE)
    by_hand.run()
    with pytest.raises(Conflict):
        adopt.adopt(found, by_hand.outside, actor=ALICE, reason="old scripts")
    assert set(by_hand.running(Installation.objects.get()).values()) == {"1.1.0"}


def test_what_is_not_there_is_said(by_hand):
    for words in (("moon", "shop", "1.0.0"), ("staging", "moon", "1.0.0"), ("staging", "shop", "9.9.9")):
        with pytest.raises(NotFound):
            adopt.look(*words, by_hand.outside)
    with pytest.raises(NotFound, match="moon"):
        look(by_hand, host="moon")
    with pytest.raises(Invalid):
        adopt.look("staging", "shop", "newest", by_hand.outside)
    with pytest.raises(Invalid):
        adopt.adopt(look(by_hand), by_hand.outside, actor=ALICE, reason=" ")
