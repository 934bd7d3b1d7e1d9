"""What a rolling deployment bears: hosts that fail within the policy, and hosts that never served."""

from deployments import lifecycle
from deployments.models import Endpoint
from health.models import Window
from tests.deployments.conftest import ALICE
from tests.deployments.test_way_back import add_host, play_out


def test_a_failed_host_that_the_policy_bears_does_not_stop_the_others(fleet):
    here = fleet.environment("staging", max_failures=1)
    fleet.deployed("1.0.0")
    fleet.hosts.at("staging-1").unreachable = True
    second = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    play_out(fleet, second)
    second.refresh_from_db()
    assert (second.status, second.reason) == ("deployed", "every step passed; owed: staging-1")
    running = fleet.running(here)
    assert (running["staging-2"], running["staging-3"]) == ("1.1.0", "1.1.0")


def test_a_first_batch_of_failed_hosts_leaves_nobody_to_watch_and_the_others_go_on(fleet):
    fleet.environment("staging", max_failures=1, bake=10.0)
    fleet.hosts.at("staging-1").unreachable = True
    first = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    for _ in range(60):
        if first.steps.filter(kind="activate", target="staging-2", status="passed").exists():
            break
        fleet.hurry()
        try:
            fleet.run(rounds=3)
        except AssertionError:
            continue
    assert first.steps.filter(kind="activate", target="staging-2", status="passed").exists()
    assert not Window.objects.filter(subject=first.pk, endpoints={}).exists()


def test_a_host_that_was_added_since_does_not_stop_the_others(fleet):
    here = fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    add_host(fleet, here, "staging-4", 4)
    second = fleet.deployed("1.1.0")
    assert second.reason == "every step passed"
    assert set(fleet.running(here).values()) == {"1.1.0"}
    assert set(fleet.traffic.read().values()) == {100}


def test_an_owed_host_does_not_stop_the_deployment_that_would_mend_it(fleet):
    here = fleet.environment("staging")
    fleet.deployed("1.0.0")
    Endpoint.objects.filter(host__name="staging-3").update(owed="it was cut off", serving=False)
    fleet.sick.add(("staging-3", "1.0.0"))
    second = fleet.deployed("1.1.0")
    assert not second.targets.filter(state="owed").exists()
    assert not here.endpoints.exclude(owed="").exists()
