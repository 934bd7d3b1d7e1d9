"""What nginx alone does: no reload it can do without, broken files taken back, and what Lua counts and checks."""

import os
import signal
import threading
from pathlib import Path

import pytest

from deployments.drivers import nginx_config
from deployments.drivers.nginx import NginxTraffic
from deployments.drivers.nginx_config import NginxSite, Sheet
from deployments.drivers.nginx_lua import LuaNginxTraffic, program
from deployments.drivers.sites import ConfigInvalid
from deployments.drivers.traffic import TrafficError
from tests.drivers.balancers import ask, nginx, nginx_lua
from tests.drivers.caddy_server import LocalShell, apps, live, wait_until
from tests.drivers.test_traffic_haproxy import Visitor

SITE = NginxSite("shop", ":8080", "/srv/lb")
LUA = NginxSite("shop", ":8080", "/srv/lb", reload_free="lua")
EVEN = {"h0": 1, "h1": 1, "h2": 1}


class Served:
    """One installation on one nginx."""

    def __init__(self, running, made, **changed):
        self.running, self.made, self.shell = running, made, LocalShell()
        self.site = running.site(**changed)
        self.traffic = running.traffic(self.shell, self.site)
        self.endpoints = {f"h{number}": app.dial for number, app in enumerate(made)}

    def begin(self):
        self.traffic.ensure(self.endpoints, fence=1, initial=dict.fromkeys(self.endpoints, 1))
        wait_until(lambda: live(self.traffic), "the listener")
        self.shell.ran.clear()
        return self

    def reloads(self):
        return sum(words[-2:] == ["-s", "reload"] for words in self.shell.ran)


@pytest.fixture(params=[nginx, nginx_lua])
def either(request, tmp_path):
    with request.param() as running, apps(tmp_path, 3) as made:
        yield Served(running, made).begin()


@pytest.fixture
def plain(tmp_path):
    with nginx() as running, apps(tmp_path, 3) as made:
        yield Served(running, made).begin()


@pytest.fixture
def lua(tmp_path):
    with nginx_lua() as running, apps(tmp_path, 3) as made:
        yield Served(running, made).begin()


@pytest.mark.system
def test_weights_that_are_live_already_are_no_reload_and_others_are_one(plain):
    plain.traffic.set_weights(EVEN, fence=2)
    assert plain.reloads() == 0
    plain.traffic.set_weights({**EVEN, "h0": 2}, fence=3)
    assert plain.reloads() == 1


@pytest.mark.system
def test_with_lua_neither_weights_nor_hosts_are_a_reload(lua):
    lua.traffic.set_weights({**EVEN, "h0": 2}, fence=2)
    grown = {**lua.endpoints, "h3": lua.endpoints["h2"]}
    assert lua.traffic.ensure(grown, fence=3, initial={"h3": 4}) is True
    assert lua.traffic.read() == {"h0": 2, "h1": 1, "h2": 1, "h3": 4}
    assert lua.traffic.ensure(lua.endpoints, fence=4) is True
    assert lua.traffic.verify({"h0": 2, "h1": 1, "h2": 1})
    assert lua.reloads() == 0


@pytest.mark.system
def test_changed_settings_are_one_reload_and_keep_the_weights(either):
    either.traffic.set_weights({**EVEN, "h0": 7}, fence=2)
    either.shell.ran.clear()
    site = either.running.site(listen=either.site.asked_at, response_timeout=61)
    changed = either.running.traffic(either.shell, site)
    assert changed.ensure(either.endpoints, fence=3) is True
    assert either.reloads() == 1
    assert changed.verify({**EVEN, "h0": 7})


@pytest.mark.system
def test_a_configuration_that_nginx_refuses_is_taken_back(either):
    (either.running.folder / "other.conf").write_text("no such thing;\n")
    kept = Path(either.site.file).read_bytes()
    site = either.running.site(listen=either.site.asked_at, response_timeout=61)
    with pytest.raises(TrafficError, match="does not accept") as error:
        either.running.traffic(either.shell, site).ensure(either.endpoints, fence=2)
    assert (error.value.code, error.value.retry) == ("refused", False)
    assert Path(either.site.file).read_bytes() == kept
    assert either.traffic.read() == EVEN


@pytest.mark.system
@pytest.mark.parametrize("kind", [NginxTraffic, LuaNginxTraffic])
def test_a_folder_that_nginx_does_not_read_is_said_with_what_to_write(kind, tmp_path):
    with nginx_lua() as running:
        reload_free = "lua" if kind is LuaNginxTraffic else ""
        site = running.site("lost", folder=str(tmp_path), reload_free=reload_free)
        with pytest.raises(TrafficError, match="include") as error:
            kind(LocalShell(), site, live_within=0.5).ensure({"h": "127.0.0.1:9"}, fence=1, initial={"h": 1})
        assert error.value.code == "not_live"


@pytest.mark.system
def test_a_file_taken_away_is_seen_and_written_anew(either):
    file = Path(either.site.sheet_file if either.site.reload_free else either.site.file)
    file.unlink()
    assert not either.traffic.verify(EVEN)
    assert either.traffic.ensure(either.endpoints, fence=2) is True
    assert either.traffic.verify(EVEN)


@pytest.mark.system
def test_while_nginx_is_down_its_weights_are_remembered_by_its_file(either):
    either.traffic.set_weights({**EVEN, "h0": 0}, fence=2)
    either.running.stop(signal.SIGKILL)
    with pytest.raises(TrafficError) as error:
        either.traffic.set_weights(EVEN, fence=3)
    assert (error.value.code, error.value.retry) == ("unreachable", True)
    either.running.start()
    assert either.traffic.ensure(either.endpoints, fence=4) is False
    assert either.traffic.read() == {**EVEN, "h0": 0}


@pytest.mark.system
def test_with_lua_a_host_that_says_it_is_unhealthy_gets_no_request(lua, tmp_path):
    with apps(tmp_path / "sick", 1, healthy=False, version="sick") as [sick]:
        lua.traffic.ensure({**lua.endpoints, "sick": sick.dial}, fence=2, initial={"sick": 1})
        wait_until(lambda: "sick" not in ask(lua.site.asked_at, 12), "it is seen down")
        assert set(ask(lua.site.asked_at, 60)) == {"1.0.0", "1.0.1", "1.0.2"}
        assert lua.traffic.read()["sick"] == 1


@pytest.mark.system
def test_with_lua_what_a_killed_worker_had_in_flight_is_not_counted_for_ever(lua):
    lua.traffic.set_weights({**EVEN, "h1": 0, "h2": 0}, fence=2)

    def lost():
        with pytest.raises(OSError):
            ask(lua.site.asked_at, 1, path="/slow?ms=9000")

    slow = threading.Thread(target=lost)
    slow.start()
    wait_until(lambda: lua.traffic.in_flight("h0") == 1, "the request in flight")
    master = int((lua.running.folder / "pid").read_text())
    for worker in Path(f"/proc/{master}/task/{master}/children").read_text().split():
        os.kill(int(worker), signal.SIGKILL)
    slow.join()
    wait_until(lambda: lua.traffic.in_flight("h0") == 0, "it is forgotten")


@pytest.mark.system
def test_with_lua_nobody_with_a_weight_is_a_503(lua):
    fresh = Served(lua.running, lua.made, name="blog")
    fresh.shell.fence = 1
    assert fresh.traffic.ensure(fresh.endpoints, fence=1) is True
    assert ask(fresh.site.asked_at, 3) == {503: 3}


@pytest.mark.system
def test_with_lua_weights_that_no_worker_can_read_are_said(lua):
    Path(lua.site.sheet_file).unlink()
    lua.shell.put_file = lambda path, content, fence: None
    with pytest.raises(TrafficError, match=r"cannot read the weights.*No such file") as error:
        lua.traffic.set_weights(EVEN, fence=2)
    assert error.value.code == "unreadable"
    assert set(ask(lua.site.asked_at, 9)) == {"1.0.0", "1.0.1", "1.0.2"}


@pytest.mark.system
@pytest.mark.parametrize("sticky", ["cookie:lb", "header:X-User"])
def test_with_lua_a_sticky_client_stays_until_its_host_is_out_and_then_leaves(lua, sticky):
    kept = Served(lua.running, lua.made, name="sticky", sticky=sticky).begin()
    headers = {"X-User": "alice"} if sticky.startswith("header") else {}
    visitor = Visitor(kept.site.asked_at, **headers)
    [first] = set(visitor.asks(20))
    kept.traffic.set_weights({name: 0 if name == f"h{first[-1]}" else 1 for name in kept.endpoints}, fence=2)
    [second] = set(visitor.asks(20))
    assert second != first
    others = {
        Visitor(kept.site.asked_at, **({"X-User": str(n)} if headers else {})).asks(1)[0] for n in range(40)
    }  # fmt: skip
    assert others == {"1.0.0", "1.0.1", "1.0.2"} - {first}


# Pure.


def test_the_weights_can_be_asked_only_from_the_balancers_own_machine():
    for text in (
        nginx_config.write(SITE, Sheet("0" * 12, {}, {})),
        nginx_config.write_lua(LUA, Sheet("0" * 12, {}, {}), "/x.lua"),
    ):
        assert f"geo ${SITE.own}_near {{ default 0; 127.0.0.0/8 1; ::1/128 1; }}".encode() in text
        assert f"if (${SITE.own}_near = 0) {{ return 404; }}".encode() in text


def test_a_sheet_reads_back_as_it_was_written_alone_and_in_a_configuration():
    made = nginx_config.sheet(SITE, {"a": "10.0.0.1:80", "b": "[::1]:81"}, {"a": 0, "b": 256}, "")
    assert nginx_config.read(str(made)) == made
    assert nginx_config.read(f"{made}running {made.structure}\nin_flight a 3\n") == made
    assert nginx_config.read_file(nginx_config.write(SITE, made).decode()) == made
    assert nginx_config.flights(f"{made}in_flight a 3\nin_flight b 0\n") == {"a": 3, "b": 0}


@pytest.mark.parametrize("text", ["", "nonsense", "aureus 0\n", "aureus 012345678901\na b\n", "<html>"])
def test_what_is_no_sheet_is_refused(text):
    with pytest.raises(ConfigInvalid):
        nginx_config.read(text)


def test_a_change_of_the_program_is_a_change_of_structure():
    one = nginx_config.sheet(LUA, {}, {}, program()).structure
    assert one != nginx_config.sheet(LUA, {}, {}, program() + "-- more").structure


@pytest.mark.parametrize(
    "wrong",
    [{"name": "a b"}, {"listen": "8080"}, {"folder": "/a;b"}, {"health_path": '/"'}, {"reload_free": "njs"},
     {"sticky": "cookie:lb"}, {"sticky": "lb", "reload_free": "lua"}],
)  # fmt: skip
def test_a_setting_that_could_change_the_configuration_is_refused(wrong):
    with pytest.raises(ConfigInvalid):
        NginxSite(**{"name": "shop", "listen": ":80", "folder": "/lb", **wrong})


@pytest.mark.parametrize(
    ("site", "endpoint"),
    [(SITE, ("h;", "10.0.0.1:80")), (SITE, ("h", "10.0.0.1")), (LUA, ("h", "app.example.com:80"))],
)
def test_an_endpoint_that_nginx_could_not_carry_is_refused(site, endpoint):
    with pytest.raises(ConfigInvalid):
        nginx_config.sheet(site, dict([endpoint]), {endpoint[0]: 1}, "")
