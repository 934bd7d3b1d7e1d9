"""What every balancer's driver keeps, asked of the fake one, of none, and of real Caddy, HAProxy and nginx."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from deployments.drivers.caddy import CaddyTraffic
from deployments.drivers.errors import HostError
from deployments.drivers.fake_traffic import FakeTraffic
from deployments.drivers.nginx_lua import LuaNginxTraffic
from deployments.drivers.none import NoTraffic
from deployments.drivers.traffic import TrafficError
from tests.drivers.balancers import haproxy, nginx, nginx_lua
from tests.drivers.caddy_server import LocalShell, apps, caddy, live, serving, wait_until

EVEN = {"a": 1, "b": 1, "c": 1}
PACKAGED: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "haproxy": haproxy,
    "nginx": nginx,
    "nginx-lua": nginx_lua,
}
KINDS = ["fake", "none", "caddy", *(pytest.param(kind, marks=pytest.mark.system) for kind in PACKAGED)]


@pytest.fixture(scope="module")
def dials(tmp_path_factory):
    with apps(tmp_path_factory.mktemp("apps"), 3) as made:
        yield {name: app.dial for name, app in zip(EVEN, made, strict=True)}


@pytest.fixture(params=KINDS)
def traffic(request, dials):
    if request.param in PACKAGED:
        with PACKAGED[request.param]() as packaged:
            made = packaged.traffic(LocalShell(), packaged.site())
            made.ensure(dials, fence=1, initial=EVEN)
            wait_until(lambda: live(made), "the balancer's listener")
            yield made
    elif request.param == "caddy":
        with caddy() as running:
            yield serving(LocalShell(), running.site(), dials)
    else:
        yield FakeTraffic(dials, EVEN) if request.param == "fake" else NoTraffic(dials)


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
    if traffic.moves:
        # Where connections are counted, an idle one counts too, but not for long.
        wait_until(lambda: traffic.in_flight("a") == 0, "nothing is in flight")
    else:
        assert traffic.in_flight("a") is None


def files_of(traffic):
    """What the balancer's next start reads of ours."""
    if isinstance(traffic, CaddyTraffic):
        live = traffic._live()
        return [traffic._site.weights_file(live.structure)]
    if isinstance(traffic, LuaNginxTraffic):
        return [traffic._site.file, traffic._site.sheet_file, traffic._program]
    return [traffic._site.file]


def edits(traffic):
    """Somebody's edits, one after the other."""
    if isinstance(traffic, FakeTraffic):
        traffic.spoilt = True
        yield "fake"
        return
    for file in files_of(traffic) if traffic.moves else ():
        Path(file).write_bytes(Path(file).read_bytes() + b"\n")
        yield file
        if not isinstance(traffic, CaddyTraffic):  # which reads it with each request: see its own tests
            Path(file).unlink()
            yield file


def test_a_file_that_somebody_edited_is_seen_and_written_anew_with_the_next_weights(traffic):
    traffic.set_weights(EVEN, fence=5)
    assert not traffic.edited(EVEN)
    for edit in edits(traffic):
        assert traffic.edited(EVEN), edit
        assert traffic.read() == EVEN
        traffic.set_weights(EVEN, fence=5)
        assert not traffic.edited(EVEN), edit
        assert traffic.verify(EVEN)


def test_other_weights_than_desired_are_no_edit_of_a_file(traffic):
    if traffic.moves:
        traffic.set_weights({**EVEN, "a": 3}, fence=5)
        assert not traffic.edited(EVEN)


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
