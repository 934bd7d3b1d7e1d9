"""Real balancers under real load: 20 changes of weights, one a second, and what of it was lost; splits as counted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from aureus.demo import load
from deployments.drivers.caddy import CaddyTraffic
from tests.drivers.balancers import ask, haproxy, nginx, nginx_lua
from tests.drivers.caddy_server import App, LocalShell, apps, caddy, live, wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TABLE = pytest.StashKey[list[str]]()
CHANGES = 20
WEIGHTS = [(1, 1, 1), (95, 5, 0), (0, 1, 1), (50, 30, 20), (1, 0, 0), (0, 0, 1), (75, 25, 0)]
SPLITS = [(95, 5), (75, 25), (50, 50), (0, 100), (50, 30, 20)]
KINDS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "HAProxy": haproxy, "nginx, reload": nginx, "nginx, Lua": nginx_lua, "Caddy": caddy,
}  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[App]]:
    with apps(tmp_path, 3) as running:
        yield running


@pytest.fixture(params=KINDS)
def balanced(request: pytest.FixtureRequest, made: list[App]) -> Iterator[tuple[str, Any, str]]:
    """The kind's name, its driver, and where it answers."""
    with KINDS[request.param]() as running:
        site, shell = running.site(), LocalShell()
        traffic = CaddyTraffic(shell, site) if request.param == "Caddy" else running.traffic(shell, site)
        endpoints = {f"h{number}": app.dial for number, app in enumerate(made)}
        traffic.ensure(endpoints, fence=1, initial=dict.fromkeys(endpoints, 1))
        wait_until(lambda: live(traffic), "the balancer's listener")
        yield request.param, traffic, site.asked_at


def tell(request: pytest.FixtureRequest, line: str) -> None:
    request.config.stash.setdefault(TABLE, []).append(line)


def test_twenty_changes_of_weights_under_load_lose_nothing_where_the_driver_says_so(
    request: pytest.FixtureRequest, balanced: tuple[str, Any, str]
) -> None:
    name, traffic, at = balanced
    over, tallies = threading.Event(), []

    def asking() -> None:
        tallies.append(load.run(f"http://{at}/", clients=20, rate=0, over=over, posts=0.5, tell=lambda _: None))

    thread = threading.Thread(target=asking)
    thread.start()
    try:
        for turn in range(CHANGES):
            begun = time.monotonic()
            weights = dict(zip(("h0", "h1", "h2"), WEIGHTS[turn % len(WEIGHTS)], strict=True))
            traffic.set_weights(weights, fence=turn + 2)
            assert traffic.verify(weights)
            over.wait(max(0.0, 1 - (time.monotonic() - begun)))
    finally:
        over.set()
        thread.join()
    [tally] = tallies
    tell(request, f"{name}: {CHANGES} changes, {tally.sent} requests, {tally.lost} lost {dict(tally.why_lost) or ''}")
    assert set(tally.versions) == {"1.0.0", "1.0.1", "1.0.2"}
    if traffic.lossless:
        assert (tally.lost, tally.errors) == (0, 0)
    # A reload may cost each client the request that it sends at that instant, and no more.
    assert tally.lost <= CHANGES * 20


def test_weights_are_shares_of_two_thousand_requests(
    request: pytest.FixtureRequest, balanced: tuple[str, Any, str]
) -> None:
    name, traffic, at = balanced
    cells = []
    for fence, asked in enumerate(SPLITS, 2):
        weights = dict.fromkeys(("h0", "h1", "h2"), 0) | dict(zip(("h0", "h1", "h2"), asked, strict=False))
        traffic.set_weights(weights, fence=fence)
        seen: Counter[str | int] = ask(at, 2000)
        got = [seen[f"1.0.{number}"] for number in range(len(asked))]
        assert sum(got) == 2000
        cells.append(f"{'/'.join(map(str, asked))} -> {'/'.join(map(str, got))}")
        # Caddy draws each request anew; the others count.
        points = 4 if name == "Caddy" else 1
        assert all(abs(count - 20 * weight) <= 20 * points for count, weight in zip(got, asked, strict=True)), cells
    tell(request, f"{name}: {'; '.join(cells)}")
