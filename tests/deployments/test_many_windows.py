"""Windows beside each other, beside convergences, and of hosts that are no more."""

import pytest

from aureus import clock
from deployments import lifecycle, smoke, watching
from deployments.models import Deployment
from health import sampling, windows
from health.models import Window
from tests.deployments.conftest import ALICE
from tests.deployments.test_watching import backdate, judged, probes, traffic, window_of


@pytest.fixture
def second(fleet) -> Deployment:
    fleet.environment("staging")
    fleet.deployed("1.0.0")
    return fleet.deployed("1.1.0")


def test_a_window_that_fails_during_a_convergence_undoes_its_deployment_all_the_same(fleet, second):
    here = second.installation
    lifecycle.converge(here, ["staging-3"], actor=ALICE, reason="it drifted")
    window = backdate(window_of(second))
    [(rollback, _)] = judged(window, traffic(window, requests=50, errors=50))
    fleet.run()
    assert Deployment.objects.get(pk=rollback).status == "deployed"
    assert set(fleet.running(here).values()) == {"1.0.0"}


def test_a_failed_smoke_run_during_a_convergence_undoes_its_deployment_all_the_same(fleet):
    here = fleet.environment("staging", on_failed_smoke="rollback")
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    lifecycle.converge(here, ["staging-3"], actor=ALICE, reason="it drifted")
    run = smoke.ask(second, [{"name": "health", "endpoint": "/health"}], asked_by="ci")
    smoke.carry_out_asked(str(run.uuid), fleet.outside, fleet.hint)
    fleet.run()
    second.refresh_from_db()
    assert second.status == "rolled_back"


def test_a_window_that_cannot_be_judged_at_all_does_not_keep_the_others_from_it(fleet, second, monkeypatch):
    fleet.environment("other")
    third = fleet.deployed("2.0.0", "other")
    broken, fine = window_of(second), backdate(window_of(third), close=True)
    Window.objects.filter(pk=broken.pk).update(rules={"no_such_rule": 1}, next_sample_at="2026-01-01T00:00:00Z")
    Window.objects.filter(pk=fine.pk).update(next_sample_at="2026-01-02T00:00:00Z")
    Deployment.objects.filter(pk=third.pk).update(good_at=None)
    judged_ones = []
    watching.sample_due(lambda *hint: judged_ones.append(hint))
    fine.refresh_from_db()
    assert fine.samples.exists()


def test_a_window_is_not_judged_by_hosts_that_were_retired_meanwhile(fleet, second):
    here = second.installation
    here.endpoints.filter(host__name="staging-3").update(retired=True)
    window = backdate(window_of(second), 600, close=True)
    seen = probes(window, healthy=True, count=30, names=["staging-1", "staging-2"])
    judged(window, [*seen, *probes(window, healthy=False, count=30, names=["staging-3"])])
    window.refresh_from_db()
    assert window.verdict == "pass", window.record.get("sentence")


def test_a_window_whose_hosts_were_all_retired_is_closed_and_undoes_nothing(fleet, second):
    second.installation.endpoints.update(retired=True)
    window = backdate(window_of(second), 600)
    assert judged(window, probes(window, healthy=False, count=30)) == []
    window.refresh_from_db()
    assert window.closed_at is not None
    assert not second.rollbacks.exists()


def test_a_counter_larger_than_any_column_is_measured_all_the_same(fleet, second):
    window = backdate(window_of(second))
    judged(window, traffic(window, requests=10**40, errors=0))
    assert window.samples.exists()


def test_one_round_takes_every_window_that_is_due(second):
    window = window_of(second)
    due = "2026-01-01T00:00:00Z"
    more = [Window.objects.create(**copied(window), next_sample_at=due) for _ in range(windows.BATCH + 1)]
    assert watching.sample_due(lambda *_: None) > windows.BATCH
    assert not Window.objects.filter(pk__in=[w.pk for w in more], next_sample_at=due).exists()


def copied(window: Window) -> dict:
    return {
        "subject": window.subject,
        "kind": "bake",
        "content": window.content,
        "endpoints": {},
        "opens_at": window.opens_at,
        "closes_at": window.closes_at,
    }


def test_an_address_that_cannot_even_be_asked_keeps_nobody_else_from_being_measured(second):
    window = window_of(second)
    window.endpoints["staging-1"]["metrics"] = 7
    measured = sampling.measure([window], clock.now())
    assert {s.endpoint for s in measured[0].samples} == set(window.endpoints)
    assert {s.source: s.kind for s in measured[0].samples if s.endpoint == "staging-1"}["scrape"] == "down"
