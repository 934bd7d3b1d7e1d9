"""What HAProxy alone does: health, structure without a reload, sticky clients, and what its driver says is missing."""

import http.client
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.drivers import haproxy_config
from deployments.drivers.haproxy import HAProxyTraffic
from deployments.drivers.haproxy_config import HAProxySite, Live, Server
from deployments.drivers.sites import ConfigInvalid
from deployments.drivers.traffic import TrafficError
from tests.drivers.balancers import ask, haproxy
from tests.drivers.caddy_server import LocalShell, apps, wait_until

SITE = HAProxySite("shop", ":8080", "/srv/lb", "/run/haproxy/aureus.sock")
ONE = {"h0": 1, "h1": 0, "h2": 0}


@pytest.fixture
def balanced(tmp_path):
    with haproxy() as running, apps(tmp_path, 3) as made:
        site, shell = running.site(), LocalShell()
        endpoints = {f"h{number}": app.dial for number, app in enumerate(made)}
        yield running, made, shell, serving(running, shell, site, endpoints), endpoints


def serving(running, shell, site, endpoints, weights=None):
    traffic = running.traffic(shell, site)
    traffic.ensure(endpoints, fence=1, initial=weights or dict.fromkeys(endpoints, 1))
    traffic.at = site.asked_at
    return traffic


def pid(running):
    return haproxy_config.figure(running.ask("show info"), "Pid")


@pytest.mark.system
def test_a_host_that_says_it_is_unhealthy_gets_no_request(balanced, tmp_path):
    running, _, shell, _, endpoints = balanced
    with apps(tmp_path / "sick", 1, healthy=False, version="sick") as [sick]:
        traffic = serving(running, shell, running.site("sick"), {**endpoints, "sick": sick.dial})
        wait_until(lambda: "DOWN" in running.ask(f"show stat {traffic._live().backend} 4 -1"), "it is seen down")
        assert set(ask(traffic.at, 60)) == {"1.0.0", "1.0.1", "1.0.2"}
        assert traffic.read()["sick"] == 1


@pytest.mark.system
def test_hosts_come_and_go_without_a_reload(balanced):
    running, made, _, traffic, _ = balanced
    before = pid(running)
    assert traffic.ensure({"h0": made[0].dial, "new": made[2].dial}, fence=2, initial={"new": 3}) is True
    assert traffic.read() == {"h0": 1, "new": 3}
    assert traffic.ensure({"h0": made[1].dial, "h1": made[1].dial, "new": made[2].dial}, fence=3) is True
    assert traffic.read() == {"h0": 1, "h1": 0, "new": 3}
    traffic.set_weights({"h0": 1, "h1": 0, "new": 0}, fence=4)
    assert set(ask(traffic.at, 10)) == {"1.0.1"}
    assert pid(running) == before
    running.stop(signal.SIGKILL)
    running.start()
    assert traffic.verify({"h0": 1, "h1": 0, "new": 0})


@pytest.mark.system
def test_a_host_is_removed_while_it_answers_a_request_and_may_come_back(balanced):
    _, _, _, traffic, endpoints = balanced
    traffic.set_weights(ONE, fence=2)
    answers = []
    slow = threading.Thread(target=lambda: answers.append(ask(traffic.at, 1, path="/slow?ms=1500")))
    slow.start()
    wait_until(lambda: traffic.in_flight("h0"), "the request in flight")
    traffic.set_weights({"h0": 0, "h1": 1, "h2": 0}, fence=3)
    rest = {name: endpoints[name] for name in ("h1", "h2")}
    assert traffic.ensure(rest, fence=4) is True
    assert traffic.read() == {"h1": 1, "h2": 0}
    assert traffic.ensure(rest, fence=4) is False
    slow.join()
    assert answers == [{"1.0.0": 1}]
    assert traffic.ensure(endpoints, fence=5, initial={"h0": 4}) is True
    assert traffic.read() == {"h0": 4, "h1": 1, "h2": 0}
    wait_until(lambda: ask(traffic.at, 1) == {"1.0.0": 1}, "it serves again")


@pytest.mark.system
def test_changed_settings_are_reloaded_and_keep_the_weights(balanced):
    running, _, shell, traffic, endpoints = balanced
    traffic.set_weights(ONE, fence=2)
    before = pid(running)
    changed = HAProxyTraffic(shell, running.site(listen=traffic.at, response_timeout=61))
    assert changed.ensure(endpoints, fence=3) is True
    assert pid(running) != before
    assert changed.verify(ONE)
    assert ask(traffic.at, 5) == {"1.0.0": 5}


@pytest.mark.system
def test_a_request_of_the_worker_from_before_a_reload_is_still_in_flight(balanced):
    running, _, shell, traffic, endpoints = balanced
    traffic.set_weights(ONE, fence=2)
    answers = []
    slow = threading.Thread(target=lambda: answers.append(ask(traffic.at, 1, path="/slow?ms=3000")))
    slow.start()
    wait_until(lambda: traffic.in_flight("h0"), "the request in flight")
    assert running.traffic(shell, running.site("another")).ensure(endpoints, fence=3) is True
    traffic.set_weights({"h0": 0, "h1": 1, "h2": 0}, fence=4)
    assert traffic.in_flight("h0")
    slow.join()
    assert answers == [{"1.0.0": 1}]
    wait_until(lambda: traffic.in_flight("h0") == 0, "it is drained")


@pytest.mark.system
@pytest.mark.parametrize("state", ["maint", "drain"])
def test_a_host_taken_out_by_hand_reads_as_out_and_is_put_back(balanced, state):
    running, _, _, traffic, _ = balanced
    running.ask(f"set server {traffic._live().backend}/h0 state {state}")
    assert traffic.read() == {"h0": 0, "h1": 1, "h2": 1}
    traffic.set_weights({"h0": 1, "h1": 1, "h2": 1}, fence=2)
    assert traffic.verify({"h0": 1, "h1": 1, "h2": 1})
    wait_until(lambda: "1.0.0" in ask(traffic.at, 3), "it serves again")


@pytest.mark.system
@pytest.mark.parametrize("spoil", [lambda file: file.unlink(), lambda file: file.write_text("# nothing\n")])
def test_a_file_edited_by_hand_is_seen_and_written_anew_without_a_reload(balanced, spoil):
    running, _, _, traffic, endpoints = balanced
    before, weights = pid(running), {"h0": 1, "h1": 1, "h2": 1}
    spoil(Path(traffic._site.file))
    assert not traffic.verify(weights)
    assert traffic.ensure(endpoints, fence=2) is True
    assert traffic.verify(weights)
    spoil(Path(traffic._site.file))
    traffic.set_weights(weights, fence=3)
    assert traffic.verify(weights)
    assert pid(running) == before


@pytest.mark.system
def test_a_configuration_that_haproxy_refuses_never_takes_effect(balanced):
    running, *_, traffic, endpoints = balanced
    (running.folder / "other.cfg").write_text("frontend shop2\n    bind 127.0.0.1:1\n    no such thing\n")
    kept = Path(traffic._site.file).read_bytes()
    with pytest.raises(TrafficError, match="does not accept") as error:
        traffic.ensure({**endpoints, "h3": "127.0.0.1:9"}, fence=2)
    assert (error.value.code, error.value.retry) == ("refused", False)
    assert Path(traffic._site.file).read_bytes() == kept
    assert traffic.read() == {"h0": 1, "h1": 1, "h2": 1}


@pytest.mark.system
def test_a_folder_that_haproxy_does_not_read_is_said_with_what_to_write(balanced, tmp_path):
    running, _, shell, _, endpoints = balanced
    elsewhere = HAProxyTraffic(shell, running.site("lost", folder=str(tmp_path)), reload_within=0.5)
    assert f"-f {tmp_path}" in elsewhere.shortcomings()[0][1]
    with pytest.raises(TrafficError, match="EXTRAOPTS") as error:
        elsewhere.ensure(endpoints, fence=2)
    assert error.value.code == "not_live"


@pytest.mark.system
def test_a_socket_without_the_right_to_change_is_said_with_what_to_write():
    with haproxy() as running:
        running.stop()
        running.main.write_text(running.main.read_text().replace("level admin", "level user"))
        running.start()
        traffic = running.traffic(LocalShell(), running.site())
        assert "level admin" in traffic.shortcomings()[0][1]


@pytest.mark.system
def test_a_reload_that_is_not_allowed_is_said(balanced):
    running, _, shell, _, endpoints = balanced
    site = running.site("refused", reload="sh -c 'echo sudo: a password is required >&2; exit 1' systemctl reload")
    with pytest.raises(TrafficError, match="sudoers") as error:
        HAProxyTraffic(shell, site).ensure(endpoints, fence=2)
    assert (error.value.code, error.value.retry) == ("sudo", False)


@pytest.mark.system
def test_the_driver_works_without_socat_and_says_what_is_missing_without_python_too(balanced):
    *_, traffic, _ = balanced
    bare = HAProxyTraffic(LocalShell(without=["socat"]), traffic._site)
    bare.set_weights(ONE, fence=9)
    assert traffic.verify(ONE)
    assert bare.in_flight("h0") == 0
    with pytest.raises(TrafficError, match="install socat") as error:
        HAProxyTraffic(LocalShell(without=["socat", "python3"]), traffic._site).read()
    assert error.value.code == "missing_tool"


class Visitor:
    """A client with a cookie or a header."""

    def __init__(self, at, **headers):
        host, _, port = at.rpartition(":")
        self.connection, self.headers = http.client.HTTPConnection(host, int(port), timeout=10), headers

    def ask(self):
        self.connection.request("GET", "/", headers=self.headers)
        answer = self.connection.getresponse()
        answer.read()
        if told := answer.headers.get("Set-Cookie"):
            self.headers["Cookie"] = told.partition(";")[0]
        return answer.headers["X-Demo-Version"]

    def asks(self, count):
        try:
            return [self.ask() for _ in range(count)]
        finally:
            self.connection.close()


@pytest.mark.system
@pytest.mark.parametrize("sticky", ["cookie:lb", "header:X-User"])
def test_a_sticky_client_stays_until_its_host_is_out_and_then_leaves(balanced, sticky):
    running, _, shell, _, endpoints = balanced
    traffic = serving(running, shell, running.site("sticky", sticky=sticky), endpoints)
    headers = {"X-User": "alice"} if sticky.startswith("header") else {}
    visitor = Visitor(traffic.at, **headers)
    [first] = set(visitor.asks(20))
    weights = {name: 0 if name == f"h{first[-1]}" else 1 for name in endpoints}
    traffic.set_weights(weights, fence=2)
    [second] = set(visitor.asks(20))
    assert second != first
    others = {Visitor(traffic.at, **({"X-User": str(n)} if headers else {})).asks(1)[0] for n in range(40)}
    assert others == {"1.0.0", "1.0.1", "1.0.2"} - {first}


# Pure.


def somebody_serves(changes):
    return all(any(pair[side] for pair in changes.values()) for side in (0, 1))


WEIGHT = st.integers(0, 256)
HOST = st.sampled_from([f"h{n}" for n in range(20)])


@given(st.dictionaries(HOST, st.tuples(WEIGHT, WEIGHT), min_size=1).filter(somebody_serves))
def test_somebody_serves_after_each_single_command(changes):
    live = Live("b", {name: Server(name, "h:1", before, 0) for name, (before, _) in changes.items()}, frozenset())
    now = {name: before for name, (before, _) in changes.items()}
    for command in haproxy_config.weight_commands(live, {name: after for name, (_, after) in changes.items()}):
        *_, at, _, weight = command.split()
        now[at.partition("/")[2]] = int(weight)
        assert any(now.values())
    assert now == {name: after for name, (_, after) in changes.items()}


def test_many_commands_are_sent_in_lines_that_haproxy_takes():
    commands = [f"set server shop.01234567/{'h' * 100}{n} weight 1" for n in range(500)]
    lines = haproxy_config.lines(commands)
    assert ";".join(lines).split(";") == commands
    assert max(map(len, lines)) < 8200


@pytest.mark.parametrize(("one", "other"), [("[::1]:80", "[0:0::1]:80"), ("A.example:80", "a.example:80")])
def test_an_address_written_in_two_ways_is_one(one, other):
    assert haproxy_config.same_dial(one, other)


@pytest.mark.parametrize(
    "wrong",
    [{"name": "a b"}, {"listen": "8080"}, {"folder": "lb"}, {"folder": "/a/../b"}, {"admin_socket": "/a,b"},
     {"health_path": "/a b"}, {"main_config": "x"}, {"sticky": "lb"}, {"sticky": "cookie:a b"}],
)  # fmt: skip
def test_a_setting_that_could_change_the_configuration_is_refused(wrong):
    good = {"name": "shop", "listen": ":80", "folder": "/lb", "admin_socket": "/run/a.sock"}
    with pytest.raises(ConfigInvalid):
        HAProxySite(**{**good, **wrong})


@pytest.mark.parametrize(
    "endpoint", [("h 1", "10.0.0.1:80"), ("h", "10.0.0.1"), ("h/1", "10.0.0.1:80"), ("h", "a;b:1")]
)
def test_an_endpoint_that_could_change_the_configuration_is_refused(endpoint):
    with pytest.raises(ConfigInvalid, match="cannot stand"):
        haproxy_config.write(SITE, dict([endpoint]), {endpoint[0]: 1})
