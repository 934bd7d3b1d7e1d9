"""The demo's web app and load tool: what the demo's figures stand on."""

import http.client
import json
import signal
import subprocess
import sys
import threading
import urllib.request

from aureus.demo import load
from health.sources import check_health, difference, scrape
from tests.drivers.caddy_server import App
from tests.health.web import raw, site


def measured(url, count, **options):
    """Load an address until so many requests were counted."""
    over = threading.Event()

    def tell(tally):
        if tally["sent"] >= count:
            over.set()

    return load.run(url, clients=4, rate=0, over=over, tell=tell, each=0.02, **options)


def test_a_bad_release_fails_only_under_traffic_and_stays_healthy(tmp_path):
    app = App(tmp_path / "bad", version="1.1.0", error_rate=1.0, error_after=100)
    app.start()
    try:
        url = f"http://{app.dial}"
        before = scrape(url + "/metrics")
        tally = measured(url + "/", 300, posts=0.5)
        assert (tally.lost, tally.errors) == (0, tally.sent - 100)
        assert tally.errors_by_version == {"1.1.0": tally.errors}
        assert tally.first_error_at <= tally.last_error_at
        seen = difference(before.counters, scrape(url + "/metrics"))
        assert (seen.requests, seen.errors) == (tally.sent, tally.errors)
        assert seen.buckets[-1][1] == tally.sent
        assert check_health(url + "/health", "1.1.0").healthy
        assert json.load(urllib.request.urlopen(url + "/version")) == {"version": "1.1.0"}
    finally:
        app.stop()


def test_the_app_says_the_version_it_was_started_with_and_not_the_one_the_link_has_now(tmp_path):
    app = App(tmp_path / "one", version="1.0.0")
    link = tmp_path / "current"
    link.symlink_to(app.folder)
    app.folder = link
    app.start()
    try:
        (tmp_path / "two").mkdir()
        link.unlink()
        link.symlink_to(tmp_path / "two")
        assert check_health(f"http://{app.dial}/health", "1.0.0").healthy
    finally:
        app.stop()


def test_the_end_of_the_app_waits_for_the_request_in_flight_and_not_for_idle_connections(tmp_path):
    app = App(tmp_path / "app")
    app.start()
    idle, busy = (http.client.HTTPConnection("127.0.0.1", app.port, timeout=20) for _ in range(2))
    for connection in (idle, busy):
        connection.request("GET", "/")
        connection.getresponse().read()
    busy.request("GET", "/slow?ms=700")
    process = app.process
    assert process is not None
    app.stop(signal.SIGTERM)
    answer = busy.getresponse()
    assert (answer.status, answer.headers["Connection"], process.returncode) == (200, "close", 0)
    assert idle.sock.recv(1) == b""
    for connection in (idle, busy):
        connection.close()


def test_an_answer_without_the_apps_mark_is_an_error_of_the_balancer_and_lost():
    with site({"/": lambda _: (502, "bad gateway")}) as web:
        tally = measured(web.url + "/", 20, posts=0)
    assert tally.sent == tally.lost > 0
    assert set(tally.why_lost) == {"GET: answered 502 by the balancer"}


def test_a_connection_that_breaks_off_is_a_lost_request():
    with raw(lambda peer: None) as url:
        tally = measured(url + "/", 20, posts=0)
    assert tally.sent == tally.lost > 0


def test_the_load_tool_writes_json_lines_and_ends_with_its_final_figures(tmp_path):
    app = App(tmp_path / "app")
    app.start()
    words = [sys.executable, load.__file__, f"http://{app.dial}/", "--rate", "50", "--clients", "2"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as tool:
        assert tool.stdout is not None
        first = json.loads(tool.stdout.readline())
        tool.send_signal(signal.SIGTERM)
        final = json.loads(tool.stdout.read().splitlines()[-1])
    app.stop()
    assert tool.returncode == 0
    assert (final["final"], final["lost"], final["versions"]) == (True, 0, {"1.0.0": final["sent"]})
    assert final["sent"] >= first["sent"] > 0
