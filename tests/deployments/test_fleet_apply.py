"""A declaration made real: the difference first, one transaction, and nothing the second time."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from aureus.journal.models import Event
from aureus.journal.refusals import Conflict
from deployments import lifecycle
from deployments.fleet.apply import apply, difference
from deployments.fleet.declaration import check, read
from deployments.fleet.freezing import add, lift
from deployments.models import BalancerNode, Deployment, Endpoint, Environment, Freeze, Host, Installation
from tests.deployments.conftest import ALICE, BOB, ROOT
from tests.deployments.test_fleet_declaration import GOOD

PINNED, OTHER = "SHA256:" + "a" * 43, "SHA256:" + "b" * 43
EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "fleet.yaml"

pytestmark = pytest.mark.django_db


@pytest.fixture
def tree() -> dict[str, Any]:
    return copy.deepcopy(GOOD)


def titles(changes) -> list[str]:
    return [f"{change.title} {change.action}" for change in changes]


def applied(tree: dict[str, Any]) -> list[str]:
    return titles(apply(check(copy.deepcopy(tree)), actor=ALICE).changes)


def shop(environment: str = "production") -> Installation:
    return Installation.objects.get(environment__name=environment)


def test_everything_declared_is_there_afterwards(tree):
    done = applied(tree)
    assert "environment staging added" in done
    assert "endpoint shop on p1 of production added" in done
    assert list(shop().endpoints.values_list("host__name", "port", "retired")) == [
        ("p1", 8080, False),
        ("p2", 8080, False),
    ]
    assert str(Host.objects.get(name="p1").bastion) == "jump"
    node = BalancerNode.objects.get()
    assert (node.host.name, node.kind, node.root, node.options) == ("lb1", "caddy", "/srv/lb", {"admin_socket": "/s"})
    assert (shop().listen, str(shop().balancer), shop().application.key) == (":80", "lb", "shop")
    assert Environment.objects.get(name="production").policy["promote_from"] == "staging"


def test_the_second_time_changes_nothing(tree):
    applied(tree)
    before = Event.objects.count()
    assert applied(tree) == []
    assert Event.objects.count() == before
    assert set(Environment.objects.values_list("revision", flat=True)) == {1}
    assert set(Installation.objects.values_list("revision", flat=True)) == {1}


def test_the_commented_example_can_be_applied_twice():
    declared = read(EXAMPLE.read_bytes())
    assert apply(declared, actor=ALICE).changes
    assert apply(declared, actor=ALICE).changes == []
    assert shop("production").smoke == [{"name": "health", "endpoint": "/health"}]


def test_the_difference_is_told_field_by_field_and_nothing_is_kept(tree):
    applied(tree)
    tree["environments"][1]["hosts"][1]["address"] = "10.0.0.99"
    tree["environments"][1]["approvals"] = 2
    tree["installations"][1]["port"] = 9090
    found = difference(check(copy.deepcopy(tree)), actor=ALICE)
    fields = {c.title: {f.name: (f.before, f.after) for f in c.fields} for c in found.changes}
    assert fields == {
        "environment production": {"approvals": (1, 2)},
        "host p1 of production": {"address": ("10.0.0.11", "10.0.0.99")},
        "endpoint shop on p1 of production": {"port": (8080, 9090)},
        "endpoint shop on p2 of production": {"port": (8080, 9090)},
    }
    assert Host.objects.get(name="p1").address == "10.0.0.11"
    assert not Event.objects.filter(kind="host.changed").exists()
    assert titles(found.changes) == applied(tree), "what was shown is what is done"


def test_only_what_really_changed_gets_a_new_revision(tree):
    applied(tree)
    tree["installations"][1]["health"] = "/up"
    applied(tree)
    assert (shop("production").revision, shop("staging").revision) == (2, 1)
    assert set(Environment.objects.values_list("revision", flat=True)) == {1}
    tree["environments"][0]["window"] = 5
    applied(tree)
    revisions = dict(Environment.objects.values_list("name", "revision"))
    assert revisions == {"staging": 2, "production": 1}


def test_what_is_missing_in_the_file_is_retired_and_comes_back_with_it(tree):
    applied(tree)
    without = copy.deepcopy(tree)
    del without["environments"][1]["hosts"][2]
    assert applied(without) == ["host p2 of production retired", "endpoint shop on p2 of production retired"]
    assert Host.objects.get(name="p2").state == "retired"
    assert Endpoint.objects.get(host__name="p2").retired
    assert applied(without) == []
    assert applied(tree) == ["host p2 of production returned", "endpoint shop on p2 of production returned"]
    assert not Endpoint.objects.get(host__name="p2").retired


def test_an_installation_that_is_no_more_in_the_file_keeps_its_rows_and_no_endpoint(tree):
    applied(tree)
    del tree["installations"][1]
    assert applied(tree) == [
        "endpoint shop on p1 of production retired",
        "endpoint shop on p2 of production retired",
    ]
    assert Installation.objects.count() == 2
    assert applied(tree) == []


def test_an_environment_that_is_not_in_the_file_is_left_alone(tree):
    applied(tree)
    only = {"environments": tree["environments"][:1], "installations": tree["installations"][:1]}
    assert applied(only) == []


def test_versions_are_not_taken_from_an_environment_that_nobody_declared(tree):
    only = {"environments": tree["environments"][1:], "installations": tree["installations"][1:]}
    with pytest.raises(Conflict) as caught:
        applied(only)
    assert "declared nowhere" in dict(caught.value.errors)["environment production"]
    assert not Environment.objects.exists()


def test_a_file_without_a_fingerprint_leaves_what_was_trusted(tree):
    applied(tree)
    Host.objects.filter(name="p1").update(fingerprint=PINNED)
    assert applied(tree) == []
    assert Host.objects.get(name="p1").fingerprint == PINNED


def test_another_fingerprint_than_the_trusted_one_is_said_in_words(tree):
    tree["environments"][1]["hosts"][1]["fingerprint"] = PINNED
    applied(tree)
    tree["environments"][1]["hosts"][1]["fingerprint"] = OTHER
    [change] = apply(check(copy.deepcopy(tree)), actor=ALICE).changes
    assert change.note == f"another host key: {PINNED} was trusted, from now on {OTHER} is"
    event = Event.objects.get(kind="host.changed")
    assert (event.stream, event.actor) == ("environment:production", "alice")
    assert event.data["fields"]["fingerprint"] == {"before": PINNED, "after": OTHER}


def test_another_order_of_hosts_is_a_change_of_the_plan(tree):
    applied(tree)
    hosts = tree["environments"][1]["hosts"]
    hosts[1], hosts[2] = hosts[2], hosts[1]
    assert applied(tree) == ["environment production changed"]
    assert list(shop().endpoints.values_list("host__name", flat=True)) == ["p2", "p1"]


def test_a_machine_taken_out_of_a_balancer_gets_no_weights_any_more(tree):
    applied(tree)
    tree["environments"][1]["hosts"].append({"name": "lb2", "address": "10.0.0.6", "user": "deploy", "key": "agent"})
    nodes = tree["environments"][1]["balancers"][0]["nodes"]
    nodes[0]["host"] = "lb2"
    tree["installations"][1]["hosts"] = ["p1", "p2"]
    assert applied(tree) == [
        "host lb2 of production added",
        "balancer lb on lb2 of production added",
        "balancer lb on lb1 of production retired",
    ]
    assert [node.host.name for node in BalancerNode.objects.all()] == ["lb2"]


class TestWhileADeploymentRuns:
    """What a running deployment stands on is kept as it is."""

    @pytest.fixture
    def running(self, fleet) -> Deployment:
        fleet.environment("staging", hosts=2, balanced=True)
        fleet.deployed("1.0.0")
        deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
        fleet.play_until(lambda: deployment.targets.filter(claimed_at__isnull=False).exists())
        return deployment

    @staticmethod
    def tree(fingerprint: str = PINNED) -> dict[str, Any]:
        names = ("staging-lb", "staging-1", "staging-2")
        hosts = [{"name": n, "address": n, "user": "deploy", "key": "agent", "fingerprint": fingerprint} for n in names]
        node = {"host": "staging-lb", "root": "/srv/lb", "options": {"admin_socket": "/s"}}
        environment = {"name": "staging", "approvals": 0, "promote_from": None, "gates": "basic", "hosts": hosts}
        place = {"application": "shop", "environment": "staging", "root": ROOT, "restart": "true", "port": 8000}
        return {
            "environments": [{**environment, "balancers": [{"name": "lb", "nodes": [node]}]}],
            "installations": [{**place, "balancer": "lb", "listen": ":80"}],
        }

    @pytest.fixture
    def declared(self) -> dict[str, Any]:
        """What already holds, so that each test changes one thing."""
        tree = self.tree()
        with pytest.raises(Conflict):
            applied(tree)  # listen and the node's options differ from what the fixture made
        BalancerNode.objects.update(options={"admin_socket": "/s"})
        Installation.objects.update(listen=":80")
        applied(tree)
        return tree

    @pytest.mark.parametrize(
        ("edit", "title"),
        [
            (lambda t: t["environments"][0]["hosts"].pop(), "host staging-2 of staging"),
            (lambda t: t["environments"][0]["hosts"][1].update(address="x"), "host staging-1 of staging"),
            (lambda t: t["environments"][0]["hosts"][0].update(port=23), "host staging-lb of staging"),
            (lambda t: t["installations"][0].update(hosts=["staging-1"]), "endpoint shop on staging-2 of staging"),
            (lambda t: t["installations"][0].update(root="/srv/x"), "installation shop of staging"),
            (lambda t: t["installations"][0].update(port=9), "endpoint shop on staging-1 of staging"),
            (
                lambda t: t["environments"][0]["balancers"][0]["nodes"][0].update(root="/srv/x"),
                "balancer lb on staging-lb of staging",
            ),
        ],
    )
    def test_what_it_stands_on_does_not_change_under_it(self, running, declared, edit, title):
        edit(declared)
        events = Event.objects.count()
        with pytest.raises(Conflict) as caught:
            applied(declared)
        assert str(running.id) in dict(caught.value.errors)[title]
        assert Event.objects.count() == events, "nothing was written"

    def test_every_reason_is_told_at_once_before_anything_is_applied(self, running, declared):
        declared["installations"][0]["root"] = "/srv/x"
        declared["environments"][0]["hosts"].pop()
        found = difference(check(declared), actor=ALICE)
        assert {title for title, _ in found.refusals} == {
            "host staging-2 of staging",
            "installation shop of staging",
            "endpoint shop on staging-2 of staging",
        }

    def test_a_key_may_be_trusted_anew_meanwhile(self, running, declared):
        assert len(applied(self.tree(OTHER))) == 3


def test_a_waiting_deployment_is_planned_anew_and_loses_its_approvals(fleet):
    fleet.environment("staging", hosts=1, approvals=2)
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    fleet.run(rounds=5)
    lifecycle.approve(deployment.pk, actor=BOB)
    tree = TestWhileADeploymentRuns.tree()
    tree["environments"][0].update(approvals=2, balancers=[], hosts=tree["environments"][0]["hosts"][1:])
    tree["installations"][0].pop("balancer")
    tree["installations"][0].pop("listen")
    applied(tree)
    fleet.run(rounds=5)
    deployment.refresh_from_db()
    assert deployment.status == "awaiting_approval"
    assert deployment.reason == "waits for 2 approvals"
    assert set(deployment.targets.values_list("name", flat=True)) == {"staging-1", "staging-2"}


WEEKEND = {"from": "friday 16:00", "to": "monday 08:00", "zone": "Europe/Berlin", "reason": "the weekend"}
SALE = {"from": "2099-11-26 18:00", "to": "2099-12-01 06:00", "zone": "Europe/Berlin", "reason": "the sale"}


def frozen() -> set[tuple[str, str]]:
    rows = Freeze.objects.select_related("environment")
    return {(row.environment.name if row.environment else "", row.reason) for row in rows}


def test_freezes_are_made_what_the_file_says_and_change_no_plan(tree):
    applied(tree)
    add(Environment.objects.get(name="production"), WEEKEND, reason="by a person", actor=BOB)
    tree["environments"][1]["freezes"] = [WEEKEND, SALE]
    tree["freezes"] = [SALE]
    done = applied(tree)
    assert done == [
        "freeze every week friday 16:00 to monday 08:00 Europe/Berlin of production added",
        "freeze 2099-11-26 18:00 to 2099-12-01 06:00 Europe/Berlin of production added",
        "freeze 2099-11-26 18:00 to 2099-12-01 06:00 Europe/Berlin added",
    ]
    assert applied(tree) == []
    assert set(Environment.objects.values_list("revision", flat=True)) == {1}
    del tree["environments"][1]["freezes"], tree["freezes"]
    assert applied(tree) == ["freeze the weekend of production retired", "freeze the sale of production retired"]
    assert frozen() == {("production", "by a person"), ("", "the sale")}, "the file says nothing of those everywhere"
    assert applied({**tree, "freezes": []}) == ["freeze the sale retired"]


def test_a_freeze_of_the_file_is_lifted_in_the_file(tree):
    tree["environments"][1]["freezes"] = [WEEKEND]
    applied(tree)
    with pytest.raises(Conflict, match="take it out there"):
        lift(Freeze.objects.get().pk, actor=BOB)
    assert frozen() == {("production", "the weekend")}
