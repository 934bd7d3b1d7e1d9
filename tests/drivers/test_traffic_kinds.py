"""Each kind of balancer that may be declared has a driver, which says what it can."""

import pytest

from deployments.drivers import balancers
from deployments.drivers.caddy import CaddyTraffic
from deployments.drivers.haproxy import HAProxyTraffic
from deployments.drivers.nginx import NginxTraffic
from deployments.drivers.nginx_lua import LuaNginxTraffic
from deployments.drivers.sites import ConfigInvalid
from tests.drivers.caddy_server import LocalShell

SOCKET = {"admin_socket": "/run/lb.sock"}
# kind, options, driver, lossless, sticky
CASES = [
    ("caddy", SOCKET, CaddyTraffic, True, False),
    ("haproxy", SOCKET, HAProxyTraffic, True, True),
    ("nginx", {}, NginxTraffic, False, False),
    ("nginx", {"reload_free": "lua"}, LuaNginxTraffic, True, True),
]


@pytest.mark.parametrize(("kind", "options", "driver", "lossless", "sticky"), CASES)
def test_a_kind_and_its_options_name_the_driver(kind, options, driver, lossless, sticky):
    assert balancers.wrong_options(kind, options) == []
    made = balancers.driver(LocalShell(), balancers.site(kind, "shop-production", ":80", "/srv/lb", options, "/health"))
    assert type(made) is driver
    assert (made.lossless, made.moves, made.sticky) == (lossless, True, sticky)
    assert balancers.is_lossless(kind, options) is lossless


@pytest.mark.parametrize(("kind", "options", "driver", "lossless", "sticky"), CASES)
def test_a_client_that_should_stay_with_its_host_is_promised_only_where_the_driver_can(
    kind, options, driver, lossless, sticky
):
    def made():
        return balancers.site(kind, "shop", ":80", "/srv/lb", options, "/health", "cookie:lb")

    if sticky:
        found = made()
        assert getattr(found, "sticky", "") == "cookie:lb"
        return
    with pytest.raises(ConfigInvalid):
        made()


def test_every_kind_is_tried_here():
    assert {case[0] for case in CASES} == set(balancers.KINDS)


@pytest.mark.parametrize(("kind", "options"), [("f5", {}), ("haproxy", {}), ("nginx", {"reload_free": "njs"})])
def test_what_makes_no_driver_is_said(kind, options):
    with pytest.raises(ConfigInvalid):
        balancers.site(kind, "shop", ":80", "/srv/lb", options, "/health")
