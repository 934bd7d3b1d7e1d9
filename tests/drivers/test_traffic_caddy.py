"""A real Caddy in file form: splits, drains, changes under load without a lost request, keeps its weights."""

import http.client
import json
import math
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aureus.demo import load
from deployments.drivers import caddy_config
from deployments.drivers.caddy import CaddyTraffic
from deployments.drivers.caddy_config import CaddySite, thresholds
from deployments.drivers.sites import ConfigInvalid
from deployments.drivers.traffic import Drain, TrafficError, wait_drained
from tests.drivers.caddy_server import LocalShell, apps, caddy, live, serving, wait_until

SITE = CaddySite("shop", ":8080", "/var/lib/lb", "/run/caddy/admin.sock")


@pytest.fixture
def balanced(tmp_path):
    with caddy() as running, apps(tmp_path, 3) as made:
        site, shell = running.site(), LocalShell()
        endpoints = {f"h{number}": app.dial for number, app in enumerate(made)}
        yield running, made, site, shell, serving(shell, site, endpoints)


def ask(site, count, method="GET", path="/", body=b"sent once"):
    """Count the answers by version; the balancer's own count under their status."""
    seen: Counter[str | int] = Counter()
    host, _, port = site.asked_at.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    for _ in range(count):
        connection.request(method, path, body=body if method == "POST" else None)
        answer = connection.getresponse()
        said = answer.read()
        seen[answer.headers.get("X-Demo-Version") or answer.status] += 1
        if method == "POST" and answer.status == 200:
            assert json.loads(said)["got"] == body.decode()
    connection.close()
    return seen


def test_weights_split_the_requests_and_a_host_that_is_out_gets_none(balanced):
    _, _, site, _, traffic = balanced
    traffic.set_weights({"h0": 3, "h1": 0, "h2": 1}, fence=2)
    seen = ask(site, 2000)
    assert set(seen) == {"1.0.0", "1.0.2"}
    assert abs(seen["1.0.0"] - 1500) <= 5 * math.sqrt(2000 * 0.75 * 0.25)


def test_a_slow_request_in_flight_is_seen_waited_for_and_answered(balanced):
    _, made, site, _, traffic = balanced
    traffic.set_weights({"h0": 1, "h1": 0, "h2": 0}, fence=2)
    seen = []
    slow = threading.Thread(target=lambda: seen.append(ask(site, 1, path="/slow?ms=1500")))
    slow.start()
    wait_until(lambda: traffic.in_flight("h0") == 1, "the request in flight")
    traffic.set_weights({"h0": 0, "h1": 1, "h2": 0}, fence=3)
    assert ask(site, 20) == {"1.0.1": 20}
    begun = Drain(ends_at=math.inf).see(traffic.in_flight("h0"), 0)
    assert (begun.drained, begun.last) == (False, 1)
    assert wait_drained(traffic, "h0", Drain(ends_at=math.inf)).drained
    made[0].stop()
    slow.join()
    assert seen == [{"1.0.0": 1}]


def test_no_request_is_lost_while_weights_change_under_load_and_hosts_restart(balanced):
    _, made, site, _, traffic = balanced
    over = threading.Event()
    tallies = []
    url = f"http://{site.asked_at}/"
    asking = threading.Thread(
        target=lambda: tallies.append(load.run(url, clients=12, rate=0, over=over, posts=0.3, tell=lambda _: None))
    )
    asking.start()
    fence = 2
    try:
        for turn in range(7):
            out = f"h{turn % 3}"
            for name_out in (out, None):
                traffic.set_weights(
                    {name: 0 if name == name_out else 1 + turn for name in ("h0", "h1", "h2")}, fence=fence
                )
                fence += 1
                if name_out:
                    assert wait_drained(traffic, name_out, Drain(ends_at=math.inf)).drained
                    made[turn % 3].stop()
                    made[turn % 3].start()
        wait_until(lambda: traffic.verify({"h0": 7, "h1": 7, "h2": 7}), "the last weights")
    finally:
        over.set()
        asking.join()
    (tally,) = tallies
    assert (tally.lost, dict(tally.why_lost), tally.errors) == (0, {}, 0)
    assert tally.sent >= 2000
    assert set(tally.versions) == {"1.0.0", "1.0.1", "1.0.2"}


def test_a_dead_host_costs_no_get_and_no_post_that_never_reached_it(balanced):
    _, made, site, _, traffic = balanced
    made[0].stop(signal.SIGKILL)
    for method in ("GET", "POST"):
        assert set(ask(site, 150, method)) == {"1.0.1", "1.0.2"}
    made[2].stop(signal.SIGKILL)
    for method in ("GET", "POST"):
        assert ask(site, 150, method) == {"1.0.1": 150}
    assert traffic.read() == {"h0": 1, "h1": 1, "h2": 1}


def test_a_host_that_is_out_is_no_fallback_for_a_dead_one(balanced):
    _, made, site, _, traffic = balanced
    traffic.set_weights({"h0": 1, "h1": 0, "h2": 0}, fence=2)
    made[0].stop(signal.SIGKILL)
    assert set(ask(site, 20)) <= {502, 503}


def broken_off(balanced, method, later, body=b""):
    """Kill the host that is answering a slow request, after the weights became `later`; answer what the client saw."""
    _, made, site, _, traffic = balanced
    seen = []
    slow = threading.Thread(target=lambda: seen.append(ask(site, 1, method, "/slow?ms=1500", body)))
    slow.start()
    busy: list[int] = []

    def at_work() -> bool:
        busy.extend(n for n in (0, 1) if traffic.in_flight(f"h{n}"))
        return bool(busy)

    wait_until(at_work, "the request in flight")
    traffic.set_weights({f"h{n}": later(n == busy[0]) for n in range(3)}, fence=3)
    made[busy[0]].stop(signal.SIGKILL)
    slow.join()
    return busy[0], seen[0]


def test_a_get_that_broke_off_is_answered_by_another_host(balanced):
    balanced[4].set_weights({"h0": 1, "h1": 1, "h2": 0}, fence=2)
    killed, seen = broken_off(balanced, "GET", later=lambda _: 1)
    assert sum(seen.values()) == 1
    assert set(seen) <= {"1.0.0", "1.0.1", "1.0.2"} - {f"1.0.{killed}"}


@pytest.mark.parametrize("body", [b"", b"sent once"])
def test_a_post_that_broke_off_is_not_asked_of_another_host(balanced, body):
    balanced[4].set_weights({"h0": 1, "h1": 1, "h2": 0}, fence=2)
    assert broken_off(balanced, "POST", lambda _: 1, body)[1] == {502: 1}


def test_a_host_taken_out_while_a_request_ran_is_no_fallback_for_it(balanced):
    balanced[4].set_weights({"h0": 1, "h1": 1, "h2": 0}, fence=2)
    _, seen = broken_off(balanced, "GET", later=lambda was_busy: int(was_busy))
    assert set(seen) <= {502, 503}


def test_a_restart_of_the_balancer_keeps_weights_and_structure(balanced):
    running, _, _, _, traffic = balanced
    weights = {"h0": 5, "h1": 0, "h2": 2}
    traffic.set_weights(weights, fence=2)
    for number in (signal.SIGTERM, signal.SIGKILL):
        running.stop(number)
        assert live(traffic) is None
        with pytest.raises(TrafficError) as error:
            traffic.verify(weights)
        assert (error.value.code, error.value.retry) == ("unreachable", True)
        assert traffic.in_flight("h0") is None
        running.start()
        wait_until(lambda: live(traffic), "the balancer's listener")
        assert traffic.verify(weights)


def test_a_new_endpoint_begins_without_traffic_and_the_others_keep_theirs(balanced):
    _, made, site, shell, traffic = balanced
    traffic.set_weights({"h0": 2, "h1": 3, "h2": 0}, fence=2)
    endpoints = {"a-first-by-name": made[2].dial, "h0": made[0].dial, "h1": made[1].dial}
    assert traffic.ensure(endpoints, fence=3) is True
    assert traffic.read() == {"a-first-by-name": 0, "h0": 2, "h1": 3}
    assert set(ask(site, 100)) == {"1.0.0", "1.0.1"}
    posts = [words for words in shell.ran if "POST" in words]
    assert traffic.ensure(endpoints, fence=3) is False
    assert [words for words in shell.ran if "POST" in words] == posts


@pytest.mark.parametrize("spoil", [lambda file: file.unlink(), lambda file: file.write_text("zzz+")])
def test_a_weights_file_taken_away_or_spoilt_is_told_and_written_anew(balanced, spoil):
    _, made, site, shell, traffic = balanced
    spoil(Path(shell.written[-1]))
    with pytest.raises(TrafficError) as error:
        traffic.set_weights({"h0": 1, "h1": 1, "h2": 1}, fence=2)
    assert error.value.code == "not_ours"
    endpoints = {f"h{number}": app.dial for number, app in enumerate(made)}
    assert traffic.ensure(endpoints, fence=3, initial={"h1": 1}) is True
    assert ask(site, 20) == {"1.0.1": 20}


def test_a_change_of_weights_reloads_nothing(balanced):
    _, _, _, shell, traffic = balanced
    shell.ran.clear()
    traffic.set_weights({"h0": 1, "h1": 2, "h2": 3}, fence=2)
    assert not [words for words in shell.ran if "--unix-socket" in words]


def test_two_applications_on_one_caddy_do_not_touch_each_other(balanced):
    running, made, site, shell, traffic = balanced
    other_site = running.site("blog")
    other = CaddyTraffic(shell, other_site)
    other.ensure({"x": made[0].dial, "y": made[1].dial}, fence=2, initial={"x": 0, "y": 9})
    wait_until(lambda: live(other), "the second listener")
    traffic.set_weights({"h0": 0, "h1": 0, "h2": 1}, fence=3)
    assert (ask(site, 30), ask(other_site, 30)) == ({"1.0.2": 30}, {"1.0.1": 30})
    assert other.read() == {"x": 0, "y": 9}


def test_before_any_host_serves_the_balancer_says_so_with_503(tmp_path):
    with caddy() as running, apps(tmp_path, 1) as made:
        site = running.site()
        traffic = CaddyTraffic(LocalShell(), site)
        traffic.ensure({"h0": made[0].dial}, fence=1)
        wait_until(lambda: live(traffic) is not None, "the balancer's listener")
        assert traffic.read() == {"h0": 0}
        assert ask(site, 3) == {503: 3}
        traffic.set_weights({"h0": 1}, fence=1)
        assert ask(site, 3) == {"1.0.0": 3}


def test_the_driver_works_without_curl_and_says_what_is_missing_without_python_too(balanced):
    _, _, site, _, traffic = balanced
    bare = CaddyTraffic(LocalShell(without=["curl"]), site)
    bare.set_weights({"h0": 4, "h1": 1, "h2": 1}, fence=9)
    assert traffic.read() == {"h0": 4, "h1": 1, "h2": 1}
    assert bare.in_flight("h0") == 0
    with pytest.raises(TrafficError, match="install curl"):
        CaddyTraffic(LocalShell(without=["curl", "python3"]), site).read()


def test_a_balancer_that_knows_no_such_installation_says_so_and_is_not_called_unreachable():
    with caddy() as running:
        site = running.site()
        with pytest.raises(TrafficError) as error:
            CaddyTraffic(LocalShell(), site).read()
        assert (error.value.code, error.value.retry) == ("not_ours", False)
        running.stop(signal.SIGKILL)
        with pytest.raises(TrafficError) as error:
            CaddyTraffic(LocalShell(), site).read()
        assert (error.value.code, error.value.retry) == ("unreachable", True)


def test_a_listener_that_is_not_ours_is_refused_before_anything_is_written(tmp_path):
    with apps(tmp_path, 1) as made:
        shell = LocalShell()
        stranger = CaddyTraffic(shell, CaddySite("shop", made[0].dial, str(tmp_path), "/nowhere/admin.sock"))
        with pytest.raises(TrafficError) as error:
            stranger.set_weights({"h0": 1}, fence=1)
    assert error.value.code == "not_ours"
    assert shell.written == []


@pytest.mark.parametrize(
    ("weights", "fields"),
    [
        ([50, 30, 20], ("800", "ccd", "zzz")),
        ([50, 30, 20, 0, 0], ("800", "ccd", "zzz", "zzz", "zzz")),
        ([0, 1, 1], ("000", "800", "zzz")),
        ([0, 0, 7], ("000", "000", "zzz")),
        ([1, 0, 0], ("zzz", "zzz", "zzz")),
        ([0, 0], ("000", "000")),
    ],
)
def test_thresholds_are_cumulative_shares_of_4096_draws(weights, fields):
    assert thresholds(weights) == fields


@given(st.lists(st.integers(0, 256), min_size=1, max_size=40).filter(any))
def test_every_weight_above_zero_gets_its_share_of_draws_and_zero_gets_none(weights):
    bounds = [4096 if field == "zzz" else int(field, 16) for field in thresholds(weights)]
    shares = [upper - lower for lower, upper in zip([0, *bounds], bounds, strict=False)]
    assert sum(shares) == 4096
    for weight, share in zip(weights, shares, strict=True):
        exact = 4096 * weight / sum(weights)
        assert (share == 0) is (weight == 0)
        assert abs(share - exact) <= len(weights)


@given(
    st.dictionaries(st.sampled_from([f"h{n}" for n in range(30)]), st.integers(0, 256), min_size=1),
    st.integers(0, 2**63),
)
def test_a_weights_file_reads_back_as_it_was_written(weights, fence):
    endpoints = {name: f"10.0.0.1:{8000 + number}" for number, name in enumerate(weights)}
    found = caddy_config.read(caddy_config.write(SITE, endpoints, weights, fence).decode())
    assert (found.weights, found.endpoints, found.fence) == (weights, endpoints, fence)
    assert found.structure == caddy_config.structure_of(SITE, endpoints)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "zzz+ {}",
        "zzz+ []",
        'zzz- {"structure":"x","fence":1,"weights":{"a":1},"endpoints":{"a":"h:1"}}',
    ],
)
def test_a_file_that_is_not_ours_is_refused(text):
    with pytest.raises(ConfigInvalid):
        caddy_config.read(text)


@pytest.mark.parametrize(
    "wrong",
    [{"name": "a b"}, {"name": "../x"}, {"listen": "8080"}, {"folder": "lb"}, {"folder": "/a/../b"}, {"folder": "/a}b"},
     {"admin_socket": "/a b"}, {"health_path": "health"}, {"health_path": "/{env.SECRET}"}],
)  # fmt: skip
def test_a_name_that_could_change_the_configuration_is_refused(wrong):
    good = {"name": "shop", "listen": ":80", "folder": "/lb", "admin_socket": "/run/a.sock"}
    with pytest.raises(ConfigInvalid):
        CaddySite(**{**good, **wrong})


@pytest.mark.parametrize(
    "endpoint", [("h{env.X}", "10.0.0.1:80"), ("h", "10.0.0.1"), ("h", "{env.X}:80"), ("h", "unix//x")]
)
def test_an_endpoint_that_could_change_the_configuration_is_refused(endpoint):
    with pytest.raises(TrafficError, match="cannot stand"):
        CaddyTraffic(LocalShell(), SITE).ensure(dict([endpoint]), fence=1)


def test_the_weights_can_be_asked_only_from_the_balancers_own_machine():
    route = caddy_config.server(SITE, {"h": "10.0.0.1:80"})["routes"][1]
    assert route["match"] == [{"path": ["/__lb"], "remote_ip": {"ranges": ["127.0.0.0/8", "127.0.0.1", "::1/128"]}}]


def test_the_admin_socket_is_for_its_owner_alone(balanced):
    running, *_ = balanced
    assert Path(running.socket).stat().st_mode & 0o777 == 0o600
