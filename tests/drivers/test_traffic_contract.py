"""What every balancer's driver keeps, asked of the fake one, of none, and of a real Caddy."""

from itertools import count

import pytest

from deployments.drivers.errors import HostError
from deployments.drivers.fake_traffic import FakeTraffic
from deployments.drivers.none import NoTraffic
from deployments.drivers.traffic import TrafficError
from tests.drivers.caddy_server import LocalShell, apps, caddy, serving

EVEN = {"a": 1, "b": 1, "c": 1}


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """One Caddy and three web apps for all tests here: each test has a server of its own on it."""
    with caddy() as running, apps(tmp_path_factory.mktemp("apps"), 3) as made:
        yield running, made, count()


@pytest.fixture
def dials(machine):
    return {name: app.dial for name, app in zip(EVEN, machine[1], strict=True)}


@pytest.fixture(params=["fake", "none", "caddy"])
def traffic(request, machine, dials):
    if request.param == "fake":
        return FakeTraffic(dials, EVEN)
    if request.param == "none":
        return NoTraffic(dials)
    running, _, numbers = machine
    return serving(LocalShell(), running.site(f"shop{next(numbers)}"), dials)


def test_equal_weights_are_taken_and_seen_live(traffic):
    traffic.set_weights(EVEN, fence=5)
    assert traffic.read() == EVEN
    assert traffic.verify(EVEN)


def test_an_endpoint_is_taken_out_or_the_driver_says_that_it_cannot_be(traffic):
    out = {"a": 0, "b": 256, "c": 1}
    if not traffic.moves:
        with pytest.raises(TrafficError, match="no balancer"):
            traffic.set_weights(out, fence=5)
        return
    assert not traffic.verify(out)
    traffic.set_weights(out, fence=5)
    assert traffic.read() == out
    assert traffic.verify(out)
    assert not traffic.verify(EVEN)


@pytest.mark.parametrize(
    ("weights", "code"),
    [
        ({"a": 0, "b": 0, "c": 0}, "nobody_serves"),
        ({"a": 1, "b": 1}, "missing_endpoint"),
        ({**EVEN, "d": 1}, "unknown_endpoint"),
        ({**EVEN, "a": -1}, "bad_weight"),
        ({**EVEN, "a": 257}, "bad_weight"),
        ({**EVEN, "a": 0.5}, "bad_weight"),
        ({**EVEN, "a": True}, "bad_weight"),
        ({**EVEN, "a": "1"}, "bad_weight"),
    ],
)
def test_wrong_weights_are_refused_and_nothing_changes(traffic, weights, code):
    with pytest.raises(TrafficError) as error:
        traffic.set_weights(weights, fence=5)
    assert (error.value.code, error.value.retry) == (code, False)
    assert traffic.read() == EVEN


def test_an_older_fence_changes_nothing(traffic):
    if not traffic.moves:
        return
    traffic.set_weights({"a": 2, "b": 1, "c": 1}, fence=7)
    with pytest.raises(HostError) as error:
        traffic.set_weights(EVEN, fence=6)
    assert error.value.code == "stale_fence"
    assert traffic.read() == {"a": 2, "b": 1, "c": 1}


def test_requests_in_flight_at_an_unknown_endpoint_are_unknown_and_not_zero(traffic):
    assert traffic.in_flight("nobody") is None
    assert traffic.in_flight("a") == (0 if traffic.moves else None)


def test_the_same_endpoints_again_change_nothing(traffic, dials):
    assert traffic.ensure(dials, fence=5) is False
    assert traffic.read() == EVEN


def test_a_balancer_never_loses_all_its_serving_hosts_to_a_change_of_structure(traffic):
    if not traffic.moves:
        return
    with pytest.raises(TrafficError, match="all that serve"):
        traffic.ensure({"d": "127.0.0.1:9"}, fence=5)
    with pytest.raises(TrafficError, match="at least one"):
        traffic.ensure({}, fence=5)
    assert traffic.read() == EVEN
