"""What every real balancer keeps under its driver: drains, switches, restarts, strangers' hands."""

import http.client
import math
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from deployments.drivers import caddy_config
from deployments.drivers.caddy import CaddyTraffic
from deployments.drivers.errors import HostError
from deployments.drivers.traffic import Drain, ShellOnHost, TrafficError, wait_drained
from tests.drivers.balancers import ask, haproxy, nginx, nginx_lua
from tests.drivers.caddy_server import Caddy, LocalShell, apps, caddy, wait_until

EVEN = {"a1": 1, "a2": 1, "b1": 1, "b2": 1}
BEDS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "haproxy": haproxy,
    "nginx": nginx,
    "nginx-lua": nginx_lua,
}
KINDS = ["caddy", *(pytest.param(kind, marks=pytest.mark.system) for kind in BEDS)]


class CaddyBed:
    """A Caddy with the same words as the others."""

    def __init__(self, running: Caddy) -> None:
        self.start, self.stop, self.site = running.start, running.stop, running.site

    def traffic(self, shell, site):
        return CaddyTraffic(shell, site)

    def by_hand(self, site, traffic, endpoint, weight):
        live = traffic._live()
        told = caddy_config.write(site, live.endpoints, {**live.weights, endpoint: weight}, live.fence)
        LocalShell().put_file(site.weights_file(live.structure), told, fence=live.fence)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with apps(tmp_path_factory.mktemp("apps"), 4) as running:
        yield running


@pytest.fixture(params=KINDS)
def machine(request):
    if request.param == "caddy":
        with caddy() as running:
            yield CaddyBed(running)
    else:
        with BEDS[request.param]() as running:
            yield running


@pytest.fixture
def endpoints(made):
    for app in made:
        if app.process is None:
            app.start()
    return {name: app.dial for name, app in zip(EVEN, made, strict=True)}


class Served:
    """One installation on the balancer; `seen` counts answers by endpoint."""

    numbers = iter(range(1000))

    def __init__(self, machine, endpoints, *, weights=EVEN):
        self.machine, self.shell = machine, LocalShell()
        self.site = machine.site(f"shop{next(self.numbers)}")
        self.traffic = machine.traffic(self.shell, self.site)
        self.traffic.ensure(endpoints, fence=1, initial=weights)
        wait_until(self.answers, "the balancer's listener")

    def answers(self):
        try:
            return self.traffic.read()
        except TrafficError:
            return None

    def seen(self, count, **asked):
        found = ask(self.site.asked_at, count, **asked)
        return {list(EVEN)[int(who[-1])] if isinstance(who, str) else who: times for who, times in found.items()}

    def seen_after_a_reload(self):
        """Who answers one request; None where its connection was cut, as a change of hosts may do (docs/traffic.md)."""
        try:
            return self.seen(1)
        except (http.client.RemoteDisconnected, ConnectionResetError):
            return None


@pytest.fixture
def served(machine, endpoints):
    return Served(machine, endpoints)


def test_all_traffic_goes_from_one_half_to_the_other_in_one_call_and_back(served):
    blue, green = {"a1": 1, "a2": 1, "b1": 0, "b2": 0}, {"a1": 0, "a2": 0, "b1": 1, "b2": 1}
    for fence, (weights, side) in enumerate([(blue, {"a1", "a2"}), (green, {"b1", "b2"}), (blue, {"a1", "a2"})], 2):
        served.traffic.set_weights(weights, fence=fence)
        assert set(served.seen(40)) == side
        assert served.traffic.verify(weights)


def test_a_request_in_flight_is_seen_waited_for_and_answered(served, made):
    served.traffic.set_weights({"a1": 1, "a2": 0, "b1": 0, "b2": 0}, fence=2)
    answers = []
    slow = threading.Thread(target=lambda: answers.append(served.seen(1, path="/slow?ms=2000")))
    slow.start()
    wait_until(lambda: served.traffic.in_flight("a1"), "the request in flight")
    served.traffic.set_weights({"a1": 0, "a2": 1, "b1": 0, "b2": 0}, fence=3)
    assert served.seen(20) == {"a2": 20}
    assert served.traffic.in_flight("a1")
    assert wait_drained(served.traffic, "a1", Drain(ends_at=math.inf)).drained
    made[0].stop()
    slow.join()
    assert answers == [{"a1": 1}]
    made[0].start()
    served.traffic.set_weights({"a1": 1, "a2": 0, "b1": 0, "b2": 0}, fence=4)
    wait_until(lambda: served.seen(1) == {"a1": 1}, "the host is back")


def test_a_restart_or_a_kill_of_the_balancer_keeps_the_weights(served):
    weights = {"a1": 5, "a2": 0, "b1": 2, "b2": 0}
    served.traffic.set_weights(weights, fence=2)
    for number in (signal.SIGTERM, signal.SIGKILL):
        served.machine.stop(number)
        for claim in (served.traffic.read, lambda: served.traffic.verify(weights)):
            with pytest.raises(TrafficError) as error:
                claim()
            assert (error.value.code, error.value.retry) == ("unreachable", True)
        assert served.traffic.in_flight("a1") is None
        served.machine.start()
        wait_until(served.answers, "the balancer's listener")
        assert served.traffic.verify(weights)
        assert set(served.seen(35)) == {"a1", "b1"}


def test_weights_that_somebody_else_set_are_seen_and_set_right(served):
    served.machine.by_hand(served.site, served.traffic, "a1", 0)
    wait_until(lambda: served.traffic.read() == {**EVEN, "a1": 0}, "the strange weight")
    assert not served.traffic.verify(EVEN)
    served.traffic.set_weights(EVEN, fence=2)
    assert served.traffic.verify(EVEN)
    assert set(served.seen(40)) == set(EVEN)


def test_settings_that_were_declared_anew_and_are_not_live_yet_are_no_edit_of_a_file(served):
    declared = served.machine.site(served.site.name, listen=served.site.listen, response_timeout=61)
    assert not served.machine.traffic(served.shell, declared).edited(EVEN)


def test_two_installations_on_one_balancer_do_not_touch_each_other(served, machine, endpoints):
    other = Served(machine, {name: endpoints[name] for name in ("a1", "b1")}, weights={"a1": 0, "b1": 9})
    served.traffic.set_weights({"a1": 0, "a2": 1, "b1": 0, "b2": 0}, fence=3)
    assert (served.seen(20), other.seen(20)) == ({"a2": 20}, {"b1": 20})
    assert other.traffic.read() == {"a1": 0, "b1": 9}


def test_an_older_fence_changes_neither_weights_nor_structure(served, endpoints):
    served.traffic.set_weights({**EVEN, "a1": 2}, fence=7)
    for act in (
        lambda: served.traffic.set_weights(EVEN, fence=6),
        lambda: served.traffic.ensure({"a1": endpoints["a1"]}, fence=6),
    ):
        with pytest.raises(HostError) as error:
            act()
        assert error.value.code == "stale_fence"
    assert served.traffic.verify({**EVEN, "a1": 2})


def test_wrong_weights_are_refused_before_anything_is_written(served):
    served.shell.written.clear()
    for wrong in (dict.fromkeys(EVEN, 0), {**EVEN, "x": 1}, {"a1": 1}, {**EVEN, "a1": 257}, {**EVEN, "a1": -1}):
        with pytest.raises(TrafficError):
            served.traffic.set_weights(wrong, fence=2)
    assert served.shell.written == []


def test_a_new_endpoint_begins_without_traffic_and_the_others_keep_theirs(served, endpoints):
    served.traffic.set_weights({"a1": 2, "a2": 3, "b1": 0, "b2": 0}, fence=2)
    grown = {"a-first": endpoints["b2"], "a1": endpoints["a1"], "a2": endpoints["a2"]}
    assert served.traffic.ensure(grown, fence=3) is True
    wait_until(lambda: served.traffic.read() == {"a-first": 0, "a1": 2, "a2": 3}, "the new structure")
    assert set(served.seen(50)) == {"a1", "a2"}
    assert served.traffic.ensure(grown, fence=3) is False
    served.traffic.set_weights({"a-first": 1, "a1": 0, "a2": 0}, fence=4)
    wait_until(lambda: served.seen_after_a_reload() == {"b2": 1}, "the new host serves")


def test_an_endpoint_that_moved_is_asked_at_its_new_address(served, endpoints):
    served.traffic.set_weights({"a1": 1, "a2": 0, "b1": 0, "b2": 0}, fence=2)
    assert served.traffic.ensure({**endpoints, "a1": endpoints["b1"]}, fence=3) is True
    wait_until(lambda: served.seen_after_a_reload() == {"b1": 1}, "the new address")
    assert served.traffic.read() == {"a1": 1, "a2": 0, "b1": 0, "b2": 0}


def test_an_installation_that_the_balancer_does_not_know_is_not_called_unreachable(machine):
    with pytest.raises(TrafficError) as error:
        machine.traffic(LocalShell(), machine.site("nobody")).read()
    assert (error.value.code, error.value.retry) == ("not_ours", False)


def test_a_dead_host_costs_no_get_and_no_post_that_never_reached_it(served, made):
    try:
        made[0].stop(signal.SIGKILL)
        for method in ("GET", "POST"):
            assert set(served.seen(100, method=method)) == {"a2", "b1", "b2"}
        made[1].stop(signal.SIGKILL)
        for method in ("GET", "POST"):
            assert set(served.seen(100, method=method)) == {"b1", "b2"}
        assert served.traffic.read() == EVEN
    finally:
        made[0].start()
        made[1].start()


def test_a_host_that_is_out_is_no_fallback_for_a_dead_one(served, made):
    served.traffic.set_weights({"a1": 1, "a2": 0, "b1": 0, "b2": 0}, fence=2)
    try:
        made[0].stop(signal.SIGKILL)
        assert set(served.seen(20)) <= {502, 503}
    finally:
        made[0].start()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_broke_off_goes_elsewhere_only_if_it_may_be_repeated(served, made, method):
    answers = []
    busy: list[int] = []
    slow = threading.Thread(target=lambda: answers.append(served.seen(1, method=method, path="/slow?ms=2000")))
    slow.start()

    def at_work() -> bool:
        busy.extend(number for number, name in enumerate(EVEN) if served.traffic.in_flight(name))
        return bool(busy)

    wait_until(at_work, "the request in flight")
    try:
        made[busy[0]].stop(signal.SIGKILL)
        slow.join()
    finally:
        made[busy[0]].start()
    [(who, _)] = answers[0].items()
    assert who in (set(EVEN) - {list(EVEN)[busy[0]]} if method == "GET" else {502})


def test_nothing_is_amiss_on_a_host_that_was_set_up_as_the_documentation_says(served):
    assert served.traffic.shortcomings() == ()


@pytest.mark.system
@pytest.mark.parametrize("kind", BEDS)
def test_all_of_it_works_over_ssh_with_the_hosts_own_fence(kind, sshd, ssh_hosts, endpoints):
    with BEDS[kind]() as running:
        site, shell = running.site(), ShellOnHost(ssh_hosts, sshd.address("lb1"), str(running.folder))
        traffic = running.traffic(shell, site)
        with pytest.raises(TrafficError) as error:
            traffic.read()
        assert error.value.code == "not_ours"
        assert traffic.ensure(endpoints, fence=3, initial=EVEN) is True
        traffic.set_weights({**EVEN, "a1": 0}, fence=4)
        assert traffic.verify({**EVEN, "a1": 0})
        wait_until(lambda: traffic.in_flight("a1") == 0, "it is drained")
        assert len(ask(site.asked_at, 30)) == 3
        with pytest.raises(HostError) as late:
            traffic.set_weights(EVEN, fence=3)
        assert late.value.code == "stale_fence"
        assert traffic.ensure({"a1": endpoints["a1"], "b1": endpoints["b1"]}, fence=5) is True
        assert traffic.read() == {"a1": 0, "b1": 1}
        assert traffic.shortcomings() == ()
        running.stop(signal.SIGKILL)
        with pytest.raises(TrafficError) as error:
            traffic.read()
        assert (error.value.code, error.value.retry) == ("unreachable", True)
