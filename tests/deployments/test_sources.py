"""How declared sources reach a window, how its questions are asked side by side, and what the doctor says of them."""

from __future__ import annotations

import copy
import json
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest

from aureus import clock
from deployments import lifecycle, watching
from deployments.doctor import measured as doctor
from deployments.fleet.apply import apply
from deployments.fleet.declaration import check
from deployments.lifecycle.windows import watched
from deployments.models import Installation
from health import sampling, windows
from health.models import Window
from health.questions import begins_with, checks_of_journal, one_per_endpoint
from health.sampling import Measured, measure_each
from health.sources.shell import CannotRun
from health.verdicts import Sample
from tests.deployments.conftest import ALICE
from tests.deployments.test_fleet_declaration import GOOD
from tests.deployments.test_watching import probes, traffic, window_of
from tests.health.broken import hang, http
from tests.health.prom import answering, parts, vector
from tests.health.web import raw, site

EVERYTHING = ["probe", "scrape", "prometheus", "access_log", "journal"]
PROMETHEUS = {"url": "http://127.0.0.1:9", "token": "env:PROM_TOKEN", "scrape_interval": 5}


def endpoint(here: Installation):
    return here.endpoints.select_related("host", "installation__environment", "installation__application").first()


def test_a_window_keeps_how_each_endpoint_is_measured_and_no_secret(fleet, monkeypatch):
    monkeypatch.setenv("PROM_TOKEN", "s3cret")
    fleet.environment("staging", sources=EVERYTHING, prometheus=PROMETHEUS,
                      checks=[{"name": "queue", "query": 'q{i=~"{instances}",v="{version}"}', "comparison": "<",
                               "bound": 5}])  # fmt: skip
    Installation.objects.update(unit="shop", options={"journal": True, "queries": {"buckets": ""}})
    window = window_of(fleet.deployed("1.0.0"))
    spot = window.endpoints["staging-1"]
    assert spot["prometheus"] | {"queries": None} == {
        "url": "http://127.0.0.1:9", "interval": 5, "token": "env:PROM_TOKEN", "queries": None,
    }  # fmt: skip
    assert spot["prometheus"]["queries"]["up"] == 'up{instance="staging-1:8000"}'
    assert spot["prometheus"]["queries"]["buckets"] == ""
    assert spot["journal"]["unit"] == "shop"
    [queue] = window.checks
    assert queue["query"] == 'q{i=~"staging-1:8000|staging-2:8000|staging-3:8000",v="1.0.0"}'
    assert (queue["bound"], queue["prometheus"]["url"]) == (5, "http://127.0.0.1:9")
    assert "s3cret" not in json.dumps([window.endpoints, window.checks, window.readings])


@pytest.mark.parametrize(
    ("said", "places", "names"),
    [
        ({"format": "nginx"}, "balancer", ["staging-1:8000"]),
        ({"format": "caddy"}, "balancer", ["staging-1:8000"]),
        ({"format": "haproxy"}, "balancer", ["staging-1"]),
        ({"format": "haproxy", "backend": "shop"}, "balancer", ["shop/staging-1"]),
        ({"format": "nginx-combined", "on": "host"}, "host", []),
    ],
)
def test_a_log_is_read_where_it_lies_and_by_the_names_it_knows(fleet, said, places, names):
    here = fleet.environment("staging", balanced=True, sources=EVERYTHING, prometheus=PROMETHEUS)
    Installation.objects.update(options={"access_log": {"path": "/var/log/{host}.log", **said}})
    one = endpoint(here)
    log = watched(one, "1.0.0-aaaaaaaaaaaa")["log"]
    lb = one.host.environment.hosts.get(name="staging-lb")
    assert log["places"] == [lb.pk if places == "balancer" else one.host_id]
    assert (log["names"], log["path"]) == (names, "/var/log/staging-1.log")


def test_a_source_that_the_policy_does_not_name_is_not_asked(fleet):
    here = fleet.environment("staging", sources=["probe"])
    Installation.objects.update(unit="shop", metrics_path="/metrics", options={"journal": True})
    spot = watched(endpoint(here), "1.0.0-aaaaaaaaaaaa")
    assert not {"prometheus", "log", "journal"} & set(spot) and not spot["metrics"]


@pytest.mark.django_db
def test_declared_sources_are_shown_applied_and_the_second_time_nothing():
    tree = copy.deepcopy(GOOD)
    tree["environments"][0] |= {"sources": ["probe", "prometheus", "journal"], "prometheus": PROMETHEUS}
    tree["installations"][0] |= {"journal": True, "queries": {"up": 'up{job="{application}"}'}}
    found = apply(check(tree), actor=ALICE)
    shown = next(change for change in found.changes if change.title.startswith("installation shop of staging"))
    assert [field.name for field in shown.fields if field.name == "options"] == ["options"]
    assert apply(check(tree), actor=ALICE).changes == []
    tree["installations"][0]["journal"] = False
    [change] = apply(check(tree), actor=ALICE).changes
    assert [field.name for field in change.fields] == ["options"]


@pytest.fixture
def second(fleet):
    fleet.environment("staging")
    fleet.deployed("1.0.0")
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.run()
    return deployment


def test_a_round_that_a_faster_one_overtook_counts_nothing_twice(second):
    slow, fast = window_of(second), window_of(second)
    names = list(slow.endpoints)
    slow_round = Measured(
        slow,
        [*traffic(slow, requests=50, errors=0), *probes(slow, healthy=True, count=1),
         Sample("staging-1", "c", "prometheus", "counts", clock.now(), 7)],
        {"prometheus:staging-1": {"start": 1}, **{key: {"requests": 1} for key in names}},
    )  # fmt: skip
    watching.judge(Measured(fast, traffic(fast, requests=50, errors=0), {key: {"requests": 2} for key in names}))
    watching.judge(slow_round)
    window = window_of(second)
    assert window.readings == {"prometheus:staging-1": {"start": 1}, **{key: {"requests": 2} for key in names}}
    assert window.samples.filter(source="scrape").count() == len(names)
    assert window.samples.filter(source="probe").count() == len(names)
    assert window.samples.filter(source="prometheus").count() == 1


def test_each_sample_is_overtaken_by_what_it_counts_on_alone():
    log = {"log": {"path": "/l", "format": "nginx", "places": [1, 2], "names": ["a:1"]}}
    window = Window(pk=1, endpoints={"h1": log}, checks=[{"name": "errors", "source": "journal"}])
    counts_on = {
        "probe": set(), "scrape": {"h1"}, "prometheus": {"prometheus:h1"}, "access_log": {"log:1:/l", "log:2:/l"},
        "check:journal": {"journal:h1"}, "check:errors": {"journal:h1"}, "check:queue": set(),
    }  # fmt: skip
    for source, keys in counts_on.items():
        assert begins_with(window, Sample("h1", "c", source, "counts", datetime(2026, 1, 1, tzinfo=UTC))) == keys


def test_a_value_of_a_check_and_why_there_is_none_are_kept(second):
    window = window_of(second)
    now = clock.now()
    watching.judge(Measured(window, [
        Sample("", window.content, "check:queue", "value", now, value=7.5),
        Sample("staging-1", window.content, "check:journal", "absent", now, why="x" * 500),
    ], {}))  # fmt: skip
    rows = {row.source: row for row in window.samples.all()}
    assert (rows["check:queue"].value, rows["check:queue"].endpoint) == (7.5, "")
    assert (rows["check:journal"].value, len(rows["check:journal"].why)) == (None, 300)


def plain_window(pk: int, health: str, **spot) -> Window:
    known = {"health": health, "metrics": "", "content": "", "field": "", "proof": "health", **spot}
    return Window(pk=pk, content="c", endpoints={"h1": known}, opens_at=clock.now())


@pytest.mark.django_db
def test_a_prometheus_that_hangs_holds_up_no_other_window():
    queries = {"up": "up", "requests": "r", "errors": "e"}
    with raw(hang) as stuck, raw(http("{}")) as fine:
        hanging = plain_window(1, fine, prometheus={"url": stuck, "interval": 5, "queries": queries})
        others = [plain_window(number, fine) for number in range(2, 7)]
        rounds = measure_each([hanging, *others], clock.now())
        order = [measured.window.pk for measured in rounds]
    assert sorted(order) == list(range(1, 7))
    assert order[-1] == 1


@pytest.mark.django_db
def test_a_host_that_hangs_is_given_up_on_and_not_asked_again_meanwhile():
    over, asked = threading.Event(), []

    def run(words, stdin, timeout):
        asked.append(words)
        over.wait(60)
        raise CannotRun("too late")

    with raw(http("{}")) as fine:
        log = {"path": "/l", "format": "nginx", "places": [1], "names": ["a:1"]}
        hanging, other = plain_window(1, fine, log=log), plain_window(2, fine)
        rounds = list(measure_each([hanging, other], clock.now(), lambda place: run))
        assert [measured.window.pk for measured in rounds] == [2, 1]
        [lost] = [s for s in rounds[1].samples if s.source == "access_log"]
        assert (lost.kind, lost.endpoint) == ("down", "h1") and "did not answer within" in lost.why
        [again] = sampling.measure([hanging], clock.now(), lambda place: run)
        assert [s.source for s in again.samples] == ["probe"]
    assert len(asked) == 1
    over.set()


def test_two_machines_of_a_balancer_are_one_measurement_and_a_hole_in_one_is_a_hole():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    one = Sample("h1", "c", "access_log", "counts", now, 10, 1, ((0.1, 4), (1.0, 10)))
    two = Sample("h1", "c", "access_log", "counts", now, 5, 0, ())
    hole = Sample("h1", "c", "access_log", "absent", now, why="gone")
    [both] = one_per_endpoint([one, two])
    assert (both.requests, both.errors, both.buckets) == (15, 1, ((0.1, 4), (1.0, 10)))
    assert one_per_endpoint([one, hole]) == [hole]


def findings(fleet, about: str) -> list[str]:
    found = doctor.sources(fleet.outside, lambda what: None)
    return [f"{one.state.value}: {one.sentence}" for one in found if one.about.startswith(about)]


def test_the_doctor_asks_each_source_once(fleet, monkeypatch):
    monkeypatch.setenv("PROM_TOKEN", "s3cret")
    with site(answering(lambda: vector(parts(), endpoints=3))) as web:
        declared = {**PROMETHEUS, "url": web.url, "scrape_interval": 15}
        here = fleet.environment("staging", sources=EVERYTHING, prometheus=declared)
        Installation.objects.update(unit="shop", options={"journal": True})
        assert findings(fleet, "Prometheus of staging") == ["ok: it answers"]
        fleet.deployed("1.0.0")
        said = findings(fleet, str(here))
    assert said.count("ok: prometheus of staging-1 answers") == 1
    assert any("journal of staging-1 could not be measured (absent): systemd knows no unit" in one for one in said)


def test_the_doctor_says_of_a_server_that_does_not_answer_what_to_do(fleet, monkeypatch):
    monkeypatch.setenv("PROM_TOKEN", "s3cret")
    fleet.environment("staging", sources=["probe", "prometheus"], prometheus=PROMETHEUS)
    [said] = findings(fleet, "Prometheus of staging")
    assert said.startswith("failed:") and "nothing listens" in said and "s3cret" not in said


def test_a_bake_and_the_long_window_ask_the_same(fleet):
    here = fleet.environment("staging", sources=["probe", "prometheus"], prometheus=PROMETHEUS)
    fleet.deployed("1.0.0")
    policy = here.environment.policy | {"bake": 10.0}
    type(here.environment).objects.filter(pk=here.environment_id).update(policy=policy)
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.play_until(lambda: Window.objects.filter(subject=deployment.pk, kind="bake").exists())
    bake = Window.objects.get(subject=deployment.pk, kind="bake")
    assert bake.closes_at - bake.opens_at == timedelta(seconds=10)
    assert {*bake.endpoints, *bake.baseline} == {"staging-1", "staging-2", "staging-3"}
    for spot in (*bake.endpoints.values(), *bake.baseline.values()):
        assert spot["prometheus"]["queries"]["requests"]


def test_a_check_on_the_journal_counts_for_all_hosts_or_not_at_all(second):
    window = window_of(second)
    window.checks = [{"name": "errors", "source": "journal"}, {"name": "queue", "query": "q"}]
    now = clock.now()
    looks = [Sample(name, "c", "check:journal", "value", now, value=2.0) for name in ("staging-1", "staging-2")]
    [value] = checks_of_journal(window, [*looks, Sample("gone", "c", "check:journal", "value", now, value=9.0)])
    assert (value.source, value.endpoint, value.kind, value.value) == ("check:errors", "", "value", 4.0)
    blind = Sample("staging-3", "c", "check:journal", "absent", now, why="no")
    [value] = checks_of_journal(window, [*looks, blind])
    assert (value.kind, value.value, value.why) == ("absent", None, "staging-3: no")
    late = Measured(window, [value, *looks, Sample("", "c", "check:queue", "value", now, value=1.0)], {})
    kept, _ = late.against({key: {"cursor": "s=1"} for key in [f"journal:{name}" for name in window.endpoints]})
    assert [s.source for s in kept] == ["check:queue"]


def test_a_deployment_is_quiet_as_long_as_somebody_listened(second):
    window = window_of(second)
    now = clock.now()
    half = timedelta(minutes=30)
    asked = partial(windows.quietness, second.id, window.content)
    assert windows.quietness(uuid4(), window.content, now).quiet is None
    assert asked(now).quiet is None
    Window.objects.filter(pk=window.pk).update(opens_at=now - half)
    windows.store(window, [Sample(name, "c", "check:journal", "value", now, value=0.0) for name in window.endpoints])
    assert asked(now).quiet is True
    windows.store(window, [Sample("staging-2", "c", "check:journal", "value", now - half / 2, value=1.0)])
    assert asked(now).until == now + half / 2
    Window.objects.filter(pk=window.pk).update(closed_at=now)
    assert asked(now + timedelta(days=1)).quiet is False
