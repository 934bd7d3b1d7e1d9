"""Two sides on hosts of their own: declared as pools, deployed to in turn, rolled back by switching."""

from typing import Any

import pytest

from deployments import lifecycle
from deployments.fleet.apply import apply
from deployments.fleet.declaration import check
from deployments.models import Endpoint, Host, Installation
from health.models import Window
from releases.models import Application
from tests.deployments.conftest import ALICE, BOB, ROOT, Fleet
from tests.deployments.test_watching import backdate, judged, probes, traffic

POOLS = {"blue": ["web-1", "web-2"], "green": ["web-3", "web-4"]}
BLUE, GREEN = ("web-1-blue", "web-2-blue"), ("web-3-green", "web-4-green")
AT_BLUE = {**dict.fromkeys(BLUE, 100), **dict.fromkeys(GREEN, 0)}
AT_GREEN = {**dict.fromkeys(BLUE, 0), **dict.fromkeys(GREEN, 100)}
HOSTS = [*POOLS["blue"], *POOLS["green"]]


class Pooled(Fleet):
    """Each host has the slot of its pool."""

    def slot_of(self, url: str) -> str:
        return side_of(url.split("//")[1].split(":")[0])

    def has(self) -> dict[str, str]:
        """The version on each host, in its pool's slot."""
        found = {name: self.hosts.at(name).site(self.root).slots for name in HOSTS}
        assert all(set(slots) <= {side_of(name)} for name, slots in found.items())
        return {name: slots.get(side_of(name), "").rsplit("-", 1)[0] for name, slots in found.items()}

    def restarts(self) -> dict[str, int]:
        return {name: self.hosts.at(name).site(self.root).restarts for name in HOSTS}


def side_of(host: str) -> str:
    return next(pool for pool, hosts in POOLS.items() if host in hosts)


def on(blue: str, green: str) -> dict[str, str]:
    return {**dict.fromkeys(POOLS["blue"], blue), **dict.fromkeys(POOLS["green"], green)}


def declared() -> dict[str, Any]:
    node = {"host": "lb-1", "root": "/lb", "options": {"admin_socket": "/s"}}
    machines = [{"name": n, "address": n, "user": "deploy", "key": "agent"} for n in (*HOSTS, "lb-1")]
    return {
        "environments": [
            {"name": "staging", "approvals": 0, "promote_from": None, "gates": "basic", "bake": 0, "hosts": machines,
             "balancers": [{"name": "lb", "nodes": [node]}]}
        ],
        "installations": [
            {"application": "shop", "environment": "staging", "root": ROOT, "restart": "true", "port": 8000,
             "hosts": HOSTS, "pools": POOLS, "balancer": "lb", "listen": ":80", "strategy": "blue-green"}
        ],
    }  # fmt: skip


@pytest.fixture
def fleet(transactional_db) -> Pooled:
    """1.0.0 serves from the blue pool, and is good."""
    Application.objects.get_or_create(key="shop")
    apply(check(declared()), actor=ALICE)
    Host.objects.update(fingerprint="SHA256:" + "a" * 43)
    fleet = Pooled()
    fleet.deployed("1.0.0")
    assert fleet.traffic.read() == AT_BLUE
    return fleet


def test_the_pool_that_rests_is_changed_and_the_other_stays_as_it_is_until_the_next(fleet):
    assert fleet.has() == on("1.0.0", "")
    before = fleet.restarts()
    fleet.deployed("1.1.0")
    assert (fleet.has(), fleet.traffic.read()) == (on("1.0.0", "1.1.0"), AT_GREEN)
    assert all(fleet.restarts()[name] == before[name] for name in POOLS["blue"])
    fleet.deployed("1.2.0")
    assert (fleet.has(), fleet.traffic.read()) == (on("1.2.0", "1.1.0"), AT_BLUE)
    assert all(weights in (AT_BLUE, AT_GREEN) for _, weights in fleet.traffic.changes)


@pytest.mark.parametrize("by", ["a person", "its window"])
def test_a_rollback_switches_back_to_the_other_pool_and_brings_the_failed_one_to_a_good_version(fleet, by):
    second = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.run()
    before = fleet.restarts()
    if by == "a person":
        lifecycle.roll_back(second.pk, actor=BOB, reason="wrong")
    else:
        window = backdate(Window.objects.get(subject=second.pk, kind="after"), 5)
        assert (sorted(window.endpoints), sorted(window.baseline)) == (sorted(GREEN), sorted(BLUE))
        well = probes(window, healthy=True, count=2, names=BLUE)
        judged(window, [*traffic(window, requests=50, errors=40), *well])
    fleet.run()
    second.refresh_from_db()
    rollback = second.rollbacks.get()
    assert (second.status, rollback.status, rollback.version.number) == ("rolled_back", "deployed", "1.0.0")
    assert (fleet.has(), fleet.traffic.read()) == (on("1.0.0", "1.0.0"), AT_BLUE)
    assert all(fleet.restarts()[name] == before[name] for name in POOLS["blue"])
    assert not Endpoint.objects.exclude(owed="").exists()


def test_a_pool_with_one_sick_host_never_gets_traffic(fleet):
    fleet.sick.add(("web-4", "1.1.0"))
    environment = Installation.objects.get().environment
    environment.policy["healthy_within"] = 1
    environment.save()
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.run()
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "error")
    assert all(weights == AT_BLUE for _, weights in fleet.traffic.changes)
    assert lifecycle.current_of(Installation.objects.get()).version.number == "1.0.0"  # type: ignore[union-attr]
