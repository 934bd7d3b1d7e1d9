"""Two sides of which one serves: the other is changed and proven, then all traffic is switched, and back."""

from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar

import pytest

from aureus import clock
from aureus.journal.models import Event
from aureus.journal.refusals import Invalid
from deployments import lifecycle
from deployments.effects import Boundary
from deployments.fleet import cooling
from deployments.lifecycle import windows
from deployments.models import Deployment, Endpoint, Installation, Pool, Step
from health.models import Window
from health.sources.probe import HealthAnswer
from releases.models import Version
from tests.deployments.conftest import ALICE, BOB, Fleet
from tests.deployments.killed import killed_at
from tests.deployments.test_watching import backdate, judged, probes, traffic
from tests.deployments.test_way_back import play_out
from tests.health.web import Site, site

BLUE, GREEN = ("staging-1-blue", "staging-2-blue"), ("staging-1-green", "staging-2-green")
AT_BLUE = {**dict.fromkeys(BLUE, 100), **dict.fromkeys(GREEN, 0)}
AT_GREEN = {**dict.fromkeys(BLUE, 0), **dict.fromkeys(GREEN, 100)}
PORTS = {8001: "blue", 8002: "green"}


class Sided(Fleet):
    """Hosts with two slots each, told apart by their port."""

    stopped: ClassVar[dict[tuple[str, str], int]] = {}
    """Services that do not run until they are started once more than so often."""

    def slot_of(self, url: str) -> str:
        return PORTS[int(url.rsplit(":", 1)[1].split("/")[0])]

    def stop(self, name: str, slot: str) -> None:
        self.stopped[name, slot] = self.starts(name, slot)

    def is_stopped(self, name: str, slot: str) -> bool:
        return self.cooled(name, slot) or self.starts(name, slot) <= self.stopped.get((name, slot), -1)

    def cooled(self, name: str, slot: str) -> bool:
        """Whether the last that happened to it was that Aureus stopped it."""
        ledger = self.hosts.at(name).site(self.root).ledger
        last = [line[4] for line in ledger if line[2] == f"activate@{slot}"][-1:]
        return last == ["cooled"]

    def starts(self, name: str, slot: str) -> int:
        ledger = self.hosts.at(name).site(self.root).ledger
        return sum(line[2] == f"activate@{slot}" and line[4] == "done" for line in ledger)


@pytest.fixture
def fleet(request, transactional_db) -> Sided:
    Sided.stopped.clear()
    return getattr(request, "param", Sided)()


@pytest.fixture
def here(fleet) -> Installation:
    """1.0.0 serves from blue, and is good; nothing was ever brought to green."""
    installation = fleet.environment("staging", hosts=2, balanced=True, strategy="blue-green")
    for endpoint in list(installation.endpoints.all()):
        Endpoint.objects.filter(pk=endpoint.pk).update(slot="blue", port=8001)
        Endpoint.objects.create(installation=installation, host=endpoint.host, slot="green", port=8002)
    fleet.deployed("1.0.0")
    assert fleet.traffic.read() == AT_BLUE
    return installation


def asked(fleet: Fleet, number: str = "1.1.0", **policy: object) -> Deployment:
    here = Installation.objects.get()
    here.environment.policy |= policy
    here.environment.save()
    return lifecycle.deploy(fleet.version(number).pk, "staging", actor=ALICE)


def done(fleet: Fleet, number: str) -> Deployment:
    deployment = asked(fleet, number)
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "deployed", deployment.reason
    return deployment


def slots(fleet: Fleet, slot: str) -> set[str]:
    """The versions that the hosts have in a slot."""
    found = [fleet.hosts.at(f"staging-{n}").site(fleet.root).slots.get(slot, "") for n in (1, 2)]
    return {content.rsplit("-", 1)[0] for content in found}


def current(here: Installation) -> str:
    """What serves by the record."""
    deployment = lifecycle.current_of(here)
    assert deployment is not None
    return deployment.version.number


def owed() -> list[str]:
    return [e.name for e in Endpoint.objects.exclude(owed="")]


def test_the_side_that_rests_is_changed_and_all_traffic_is_switched_at_once(fleet, here):
    second = done(fleet, "1.1.0")
    assert (slots(fleet, "blue"), slots(fleet, "green")) == ({"1.0.0"}, {"1.1.0"})
    changes = [weights for _, weights in fleet.traffic.changes]
    assert changes[-1] == AT_GREEN
    assert all(weights in (AT_BLUE, AT_GREEN) for weights in changes)
    assert {fleet.hosts.at(name).site(fleet.root).live for name in ("staging-1", "staging-2")} == {"green"}
    assert owed() == []
    assert {t.name: (t.resting, t.state) for t in second.targets.all()} == {
        **dict.fromkeys(BLUE, (True, "untouched")),
        **dict.fromkeys(GREEN, (False, "on_to")),
    }


def test_the_next_deployment_goes_to_the_other_side(fleet, here):
    done(fleet, "1.1.0")
    done(fleet, "1.2.0")
    assert (slots(fleet, "blue"), slots(fleet, "green")) == ({"1.2.0"}, {"1.1.0"})
    assert fleet.traffic.read() == AT_BLUE


def test_a_side_that_does_not_become_healthy_never_gets_traffic(fleet, here):
    fleet.sick.add(("*", "1.1.0"))
    deployment = asked(fleet, healthy_within=1)
    fleet.run()
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "error")
    assert all(weights == AT_BLUE for _, weights in fleet.traffic.changes)
    assert slots(fleet, "blue") == {"1.0.0"}
    assert deployment.rollbacks.get().status == "deployed"
    assert current(here) == "1.0.0"


def test_a_deployment_rolled_back_is_switched_back_and_its_side_rests_again(fleet, here):
    second = done(fleet, "1.1.0")
    rollback, _ = lifecycle.roll_back(second.pk, actor=BOB, reason="wrong")
    fleet.play_until(lambda: rollback.steps.filter(kind="shift", status="passed").exists())
    assert fleet.traffic.read() == AT_BLUE
    assert slots(fleet, "green") == {"1.1.0"}
    fleet.run()
    rollback.refresh_from_db()
    second.refresh_from_db()
    assert (second.status, rollback.status) == ("rolled_back", "deployed")
    assert fleet.traffic.read() == AT_BLUE
    assert (slots(fleet, "blue"), slots(fleet, "green")) == ({"1.0.0"}, {"1.0.0"})
    assert current(here) == "1.0.0"
    assert owed() == []


def test_the_side_that_served_is_not_restarted_by_a_rollback_while_it_is_well(fleet, here):
    second = done(fleet, "1.1.0")
    before = [line for line in fleet.hosts.at("staging-1").site(fleet.root).ledger if line[2] == "activate@blue"]
    lifecycle.roll_back(second.pk, actor=BOB, reason="wrong")
    fleet.run()
    after = [line for line in fleet.hosts.at("staging-1").site(fleet.root).ledger if line[2] == "activate@blue"]
    assert after == before


def test_a_side_that_was_stopped_is_started_and_proven_before_traffic_is_switched_back(fleet, here):
    second = done(fleet, "1.1.0")
    for host in ("staging-1", "staging-2"):
        fleet.stop(host, "blue")
    rollback, _ = lifecycle.roll_back(second.pk, actor=BOB, reason="wrong")
    fleet.run()
    rollback.refresh_from_db()
    assert rollback.status == "deployed", rollback.reason
    assert fleet.traffic.read() == AT_BLUE
    started = rollback.steps.filter(kind="activate", target__in=BLUE).order_by("ended_at").last()
    switched = rollback.steps.get(kind="switch")
    assert started is not None and started.ended_at is not None and switched.ended_at is not None
    assert started.ended_at < switched.ended_at


def test_a_failed_bake_after_the_switch_goes_back_by_itself(fleet, here):
    deployment = asked(fleet, bake=10.0)
    fleet.play_until(lambda: Window.objects.filter(subject=deployment.pk, kind="bake").exists())
    fleet.play_until(lambda: not deployment.steps.filter(status="running").exists())
    window = Window.objects.get(subject=deployment.pk, kind="bake")
    assert sorted(window.endpoints) == sorted(GREEN)
    judged(backdate(window, 5), traffic(window, requests=50, errors=40))
    fleet.run()
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "error")
    assert fleet.traffic.read() == AT_BLUE
    assert current(here) == "1.0.0"


def test_the_open_window_watches_the_side_that_serves_and_undoes_by_itself(fleet, here):
    second = done(fleet, "1.1.0")
    window = Window.objects.get(subject=second.pk, kind="after")
    assert sorted(window.endpoints) == sorted(GREEN)
    judged(backdate(window, 5), traffic(window, requests=50, errors=40))
    fleet.run()
    second.refresh_from_db()
    assert second.status == "rolled_back"
    assert fleet.traffic.read() == AT_BLUE


def baked(fleet: Sided) -> tuple[Deployment, Window]:
    """1.1.0 has all traffic and is watched; 1.0.0 is the warm side."""
    deployment = asked(fleet, bake=10.0)
    fleet.play_until(lambda: Window.objects.filter(subject=deployment.pk, kind="bake").exists())
    fleet.play_until(lambda: not deployment.steps.filter(status="running").exists())
    return deployment, backdate(Window.objects.get(subject=deployment.pk, kind="bake"), 5)


def after_bake(fleet: Sided) -> Window:
    """The bake that is open passes; the window after `deployed`."""
    bake = Window.objects.get(kind="bake", closed_at=None)
    scraped = traffic(bake, requests=50, errors=0)
    judged(backdate(bake, 15, close=True), [*probes(bake, healthy=True, count=15), *scraped])
    fleet.play_until(lambda: Window.objects.filter(subject=bake.subject, kind="after").exists())
    return Window.objects.get(subject=bake.subject, kind="after")


def after(fleet: Sided) -> tuple[Deployment, Window]:
    """1.1.0 is deployed and has all traffic; 1.0.0 is the warm side."""
    deployment = done(fleet, "1.1.0")
    return deployment, backdate(Window.objects.get(subject=deployment.pk, kind="after"), 5)


def undisturbed(fleet: Sided, deployment: Deployment) -> bool:
    """All traffic is where it was, and no service was started by anybody."""
    starts = {(name, slot): fleet.starts(name, slot) for name in ("staging-1", "staging-2") for slot in PORTS.values()}
    return fleet.traffic.read() == AT_GREEN and set(starts.values()) == {1} and not deployment.rollbacks.exists()


WATCHED = {"bake": baked, "after": after}


@pytest.mark.parametrize(("kind", "by"), [("bake", "requests"), ("after", "requests"), ("after", "probes")])
def test_when_both_versions_are_sick_nothing_is_moved_and_people_are_told(fleet, here, kind, by):
    deployment, window = WATCHED[kind](fleet)
    assert sorted(window.baseline) == sorted(BLUE)
    sick = probes(window, healthy=False, count=2, names=[*GREEN, *BLUE])
    more = traffic(window, requests=50, errors=40) if by == "requests" else []
    assert judged(window, [*sick, *more]) == []
    window.refresh_from_db()
    assert (window.closed_at, window.cause) == (None, "common_cause")
    assert window.record["rule"] == ("hard_stop_errors" if by == "requests" else "hard_stop_probes")
    assert "(common_cause)" in deployment.incidents.get().text
    fleet.run(rounds=20) if kind == "after" else None
    assert undisturbed(fleet, deployment)


@pytest.mark.parametrize("kind", WATCHED)
def test_when_both_are_well_again_it_goes_on_and_what_failed_meanwhile_does_not_count(fleet, here, kind):
    deployment, window = WATCHED[kind](fleet)
    judged(window, [*probes(window, healthy=False, count=2, names=[*GREEN, *BLUE]),
                    *traffic(window, requests=50, errors=40)])  # fmt: skip
    assert judged(window, probes(window, healthy=True, count=1, names=[*GREEN, *BLUE])) == []
    window.refresh_from_db()
    assert (window.closed_at, window.held_since, window.cause) == (None, None, "")
    judged(backdate(window, 0, close=True), probes(window, healthy=True, count=30, names=[*GREEN, *BLUE]))
    window.refresh_from_db()
    assert window.verdict == "pass", window.record["sentence"]
    fleet.run()
    deployment.refresh_from_db()
    assert (deployment.status, deployment.good_at is not None) == ("deployed", kind == "after")
    assert undisturbed(fleet, deployment)


@pytest.mark.parametrize("kind", WATCHED)
def test_when_only_the_new_side_is_sick_it_goes_back_at_once(fleet, here, kind):
    deployment, window = WATCHED[kind](fleet)
    well = probes(window, healthy=True, count=2, names=BLUE)
    [woken] = {lane for _, lane in judged(window, [*probes(window, healthy=False, count=2), *well])} & {"rollback"}
    fleet.run()
    assert (woken, deployment.rollbacks.get().status) == ("rollback", "deployed")
    assert fleet.traffic.read() == AT_BLUE


def test_the_warm_side_is_probed_and_what_it_counts_is_no_measure_of_real_traffic(fleet, here):
    Installation.objects.update(metrics_path="/metrics")
    for window in (baked(fleet)[1], after_bake(fleet)):
        assert {name: set(spot) for name, spot in window.baseline.items()} == {n: set(windows.PROBED) for n in BLUE}
        assert all(spot["metrics"] for spot in window.endpoints.values())


def test_a_side_that_was_stopped_by_us_is_no_witness(fleet, here):
    deployment, _ = after(fleet)
    Endpoint.objects.filter(slot="blue").update(cooled_at=clock.now())
    Window.objects.all().delete()
    opened = windows.open_after(deployment)
    assert opened is not None and opened.baseline == {}


def test_a_canary_between_two_sides_needs_no_host_to_be_taken_out(fleet, here):
    deployment = asked(fleet, weights=[10, 100], bake=10.0)
    Deployment.objects.filter(pk=deployment.pk).delete()
    wish = lifecycle.Wish(strategy="canary")
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE, wish=wish)
    fleet.play_until(lambda: Window.objects.filter(subject=deployment.pk, kind="bake").exists())
    fleet.play_until(lambda: not deployment.steps.filter(status="running").exists())
    weights = fleet.traffic.read()
    assert sum(weights[name] for name in GREEN) / sum(weights.values()) == 0.1
    for window in (Window.objects.get(subject=deployment.pk, kind="bake", closed_at=None),):
        judged(backdate(window, 15, close=True), probes(window, healthy=True, count=15))
    fleet.play_until(
        lambda: (
            Window.objects.filter(subject=deployment.pk, kind="bake", closed_at=None).exists()
            and not deployment.steps.filter(status="running").exists()
        )
    )
    assert fleet.traffic.read() == AT_GREEN
    assert not deployment.steps.filter(kind="take_out").exists()


@pytest.mark.parametrize("boundary", Boundary)
def test_killed_at_any_boundary_of_the_switch_all_traffic_is_switched_once(fleet, here, boundary):
    deployment = asked(fleet)
    assert killed_at(fleet, "switch", boundary)
    Step.objects.filter(status="running").update(lease_until="2026-01-01T00:00:00Z")
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "deployed", deployment.reason
    assert fleet.traffic.read() == AT_GREEN
    assert fleet.hosts.at("staging-1").site(fleet.root).restarts == 2
    assert owed() == []


def test_rolling_over_two_sides_is_refused(fleet, here):
    wish = lifecycle.Wish(strategy="rolling")
    with pytest.raises(Invalid, match="choose blue-green or canary"):
        lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE, wish=wish)


class Answering(Sided):
    """Hosts whose pages are answered by a real server, each below its own address."""

    server = "http://not-yet"

    def ask(self, url: str, expected: str | None, **how: object) -> HealthAnswer:
        return super().ask(url.replace(f"{self.server}/", "http://"), expected, **how)


@pytest.fixture
def page(here) -> Iterator[Site]:
    with site({f"/staging-{n}:{port}/ready": lambda _: (200, "yes") for n in (1, 2) for port in PORTS}) as web:
        Answering.server = web.url
        url = f"{web.url}/{{address}}:{{port}}"
        Installation.objects.update(url=url, smoke=[{"name": "ready", "endpoint": "/ready"}])
        yield web


@pytest.mark.parametrize("fleet", [Answering], indirect=True)
@pytest.mark.parametrize("fails_on", ["", "staging-2"])
def test_a_smoke_test_that_fails_on_the_side_that_rests_keeps_all_traffic_where_it_is(fleet, here, page, fails_on):
    if fails_on:
        page.routes[f"/{fails_on}:8002/ready"] = lambda _: (500, "no")
    deployment = asked(fleet)
    fleet.play_until(lambda: deployment.steps.filter(kind="smoke", status__in=["passed", "failed"]).exists())
    tested = deployment.steps.filter(kind="smoke").order_by("stage__position")[0]
    assert {one.path for one in page.asked} == {f"/staging-{n}:8002/ready" for n in (1, 2)}
    fleet.run()
    deployment.refresh_from_db()
    [switch] = deployment.steps.filter(kind="switch")
    if not fails_on:
        assert (tested.status, deployment.status, fleet.traffic.read()) == ("passed", "deployed", AT_GREEN)
        assert tested.ended_at and switch.started_at and tested.ended_at < switch.started_at
        return
    assert (tested.status, tested.stage.name) == ("failed", "all hosts: smoke tests before it serves")
    assert "staging-2-green: /ready answered 500 instead of 200" in tested.reason
    assert (switch.attempts, switch.started_at, switch.status) == (0, None, "skipped")
    assert all(weights == AT_BLUE for _, weights in fleet.traffic.changes)
    assert (deployment.status, deployment.outcome, current(here)) == ("failed", "error", "1.0.0")
    assert deployment.rollbacks.get().status == "deployed"


WARM = 3600.0


@pytest.fixture
def warm(fleet, here) -> Deployment:
    """1.1.0 serves from green and is good; blue has rested for as long as it should be warm."""
    deployment = asked(fleet, warm=WARM)
    fleet.run()
    ago = clock.now() - timedelta(seconds=WARM + 1)
    Deployment.objects.exclude(pk=deployment.pk).update(deployed_at=ago - timedelta(hours=1))
    Deployment.objects.filter(pk=deployment.pk).update(deployed_at=ago, good_at=ago)
    Window.objects.update(closed_at=clock.now(), next_sample_at=None)
    deployment.refresh_from_db()
    return deployment


def stopped(fleet: Sided) -> set[str]:
    return {f"staging-{n}-{slot}" for n in (1, 2) for slot in ("blue", "green") if fleet.cooled(f"staging-{n}", slot)}


def test_the_side_that_served_is_stopped_after_its_warm_time_and_only_that(fleet, warm):
    assert cooling.cool_due(fleet.outside) == 2
    assert stopped(fleet) == set(BLUE)
    assert set(Endpoint.objects.exclude(cooled_at=None).values_list("slot", flat=True)) == {"blue"}
    assert cooling.cool_due(fleet.outside) == 0
    assert Event.objects.filter(kind="endpoint.cooled").count() == 2


@pytest.mark.parametrize("why", ["too soon", "window open", "for ever", "traffic there", "under way", "in doubt"])
def test_a_side_that_may_be_needed_is_not_stopped(fleet, here, warm, why):
    if why == "too soon":
        Deployment.objects.filter(pk=warm.pk).update(deployed_at=clock.now() - timedelta(seconds=WARM - 60))
    elif why == "window open":
        Window.objects.filter(subject=warm.pk).update(closed_at=None)
    elif why == "for ever":
        here.environment.policy["warm"] = None
        here.environment.save()
    elif why == "traffic there":
        Pool.objects.update(weights=dict.fromkeys((*BLUE, *GREEN), 50))
    elif why == "under way":
        asked(fleet, "1.2.0")
        fleet.play_until(lambda: Deployment.objects.filter(status="in_progress").exists())
    else:
        Installation.objects.update(unproven="the database was restored")
    assert cooling.cool_due(fleet.outside) == 0
    assert stopped(fleet) == set()


def test_a_rollback_starts_the_side_that_was_stopped_proves_it_and_then_switches(fleet, here, warm):
    cooling.cool_due(fleet.outside)
    rollback, _ = lifecycle.roll_back(warm.pk, actor=ALICE, reason="it is slow")
    fleet.run()
    rollback.refresh_from_db()
    assert rollback.status == "deployed", rollback.reason
    assert fleet.traffic.read() == AT_BLUE
    assert stopped(fleet) == set()
    assert not Endpoint.objects.exclude(cooled_at=None).exists()


def test_the_version_that_the_stopped_side_is_on_may_be_deployed_again(fleet, here, warm):
    cooling.cool_due(fleet.outside)
    again = lifecycle.deploy(Deployment.objects.get(version__number="1.0.0").version_id, "staging", actor=ALICE)
    fleet.run()
    again.refresh_from_db()
    assert again.status == "deployed", again.reason
    assert (fleet.traffic.read(), stopped(fleet)) == (AT_BLUE, set())


def test_a_host_that_cannot_be_asked_is_told_of_once_and_tried_again_later(fleet, warm):
    fleet.hosts.at("staging-1").unreachable = True
    assert cooling.cool_due(fleet.outside) == 1
    assert cooling.cool_due(fleet.outside) == 0
    Endpoint.objects.update(cool_tried_at=clock.now() - cooling.AGAIN)
    assert cooling.cool_due(fleet.outside) == 0
    assert Event.objects.filter(kind="endpoint.not_cooled").count() == 1
    fleet.hosts.at("staging-1").unreachable = False
    Endpoint.objects.update(cool_tried_at=clock.now() - cooling.AGAIN)
    assert cooling.cool_due(fleet.outside) == 1
    assert stopped(fleet) == set(BLUE)


def test_undoing_a_rollback_that_never_moved_the_traffic_moves_all_of_it(fleet, here):
    done(fleet, "1.1.0")
    Deployment.objects.update(good_at=clock.now())
    fleet.sick.add(("*", "1.2.0"))
    failed = asked(fleet, "1.2.0", healthy_within=1)
    fleet.run()
    undone = failed.rollbacks.get()
    assert (undone.status, fleet.traffic.read()) == ("deployed", AT_GREEN)
    back, _ = lifecycle.roll_back(undone.pk, actor=ALICE, reason="1.1.0 is no good either")
    fleet.run()
    back.refresh_from_db()
    assert (back.status, back.version.number) == ("deployed", "1.0.0"), back.reason
    assert all(weights in (AT_BLUE, AT_GREEN) for _, weights in fleet.traffic.changes)
    assert fleet.traffic.read() == AT_BLUE


@pytest.mark.parametrize("is_sick", [False, True])
def test_a_convergence_gives_the_whole_side_that_should_serve_its_traffic_back_or_owes_it(fleet, here, is_sick):
    running = asked(fleet, "1.1.0", bake=600)
    fleet.play_until(lambda: fleet.traffic.read() == AT_GREEN)
    lifecycle.abandon(running.pk, actor=BOB, reason="nobody knows")
    if is_sick:
        fleet.sick.add(("staging-2", "1.0.0"))
    found = lifecycle.converge(here, ["staging-1-green"], actor=BOB, reason="back")
    play_out(fleet, found)
    found.refresh_from_db()
    serving = {name for name, weight in fleet.traffic.read().items() if weight}
    assert serving == ({"staging-1-blue"} if is_sick else set(BLUE))
    assert ("staging-2-blue" in owed()) is is_sick


def test_a_rollback_neither_asks_for_nor_waits_for_a_host_that_was_retired_since(fleet, here):
    second = done(fleet, "1.1.0")
    Endpoint.objects.filter(host__name="staging-2", slot="green").update(retired=True)
    rollback, _ = lifecycle.roll_back(second.pk, actor=BOB, reason="wrong")
    fleet.run()
    rollback.refresh_from_db()
    assert rollback.status == "deployed", rollback.reason
    named = {name for step in rollback.steps.all() for name in step.removes} | set(
        rollback.targets.values_list("name", flat=True)
    )
    assert "staging-2-green" not in named
    assert {name for name, weight in fleet.traffic.read().items() if weight} == set(BLUE)


def test_the_side_that_served_is_gone_back_to_only_where_it_is_good_though_one_of_it_was_retired(fleet, here):
    second = done(fleet, "1.1.0")
    Deployment.objects.update(good_at=clock.now())
    third = done(fleet, "1.2.0")
    Endpoint.objects.filter(host__name="staging-2", slot="green").update(retired=True)
    Version.objects.filter(pk=second.version_id).update(withdrawn_at=clock.now())
    window = Window.objects.get(subject=third.pk, kind="after")
    judged(backdate(window, 5), traffic(window, requests=50, errors=40))
    fleet.run()
    rollback = third.rollbacks.get()
    assert (rollback.status, rollback.version.number) == ("deployed", "1.0.0"), rollback.reason
    assert {t.to_content.rsplit("-", 1)[0] for t in rollback.targets.filter(resting=False)} == {"1.0.0"}
