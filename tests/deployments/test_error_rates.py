"""Half an hour at a hundred requests a minute, drawn at random, through stored windows and the verb that judges."""

import random
from datetime import timedelta

import pytest

from aureus import clock
from benchmarks.judging import MINUTES
from benchmarks.judging import window as drawn
from deployments import lifecycle
from deployments.api.figures import health_of, window_of
from deployments.models import Deployment
from health.models import Window
from health.verdicts import Sample
from tests.deployments.conftest import ALICE, Fleet
from tests.deployments.test_watching import backdate, judged

SEED = 11
PER_MINUTE = 100


@pytest.fixture
def watched(fleet: Fleet) -> tuple[Deployment, Window]:
    """1.1.0 over a good 1.0.0; its window has been open for half an hour, and nothing was measured yet."""
    fleet.environment("staging", hosts=2, window=60 * MINUTES)
    fleet.deployed("1.0.0")
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    fleet.run()
    return deployment, backdate(Window.objects.get(subject=deployment.pk, kind="after"), 60 * MINUTES)


def measured(window: Window, minute: int, counted: tuple[int, int]) -> list[Sample]:
    """One minute: what both hosts counted together, half each, and a probe of each."""
    at = window.opens_at + timedelta(seconds=60 * minute + 59)
    found = []
    for number, name in enumerate(sorted(window.endpoints)):
        requests, errors = ((count + number) // 2 for count in counted)
        counts = Sample(name, window.content, "scrape", "counts", at, requests, errors, ((0.1, requests),))
        found += [counts, Sample(name, window.content, "probe", "counts", at, healthy=True, seconds=0.02)]
    return found


def played(window: Window, service: str) -> int:
    """Judge each minute as it was measured, and the last as the window closes; in which minute it was decided."""
    rng = random.Random(f"{SEED} {service}")
    for minute, counted in enumerate(drawn(rng, PER_MINUTE, service), 1):
        if minute == MINUTES:
            backdate(window, 0, close=True)
        judged(window, measured(window, minute - 1, counted))
        if Window.objects.filter(pk=window.pk, closed_at__isnull=False).exists():
            break
    window.refresh_from_db()
    return minute


def test_six_percent_is_rolled_back_long_before_the_window_closes(fleet, watched):
    deployment, window = watched
    assert played(window, "6 %") < MINUTES
    assert (window.verdict, window.record["rule"]) == ("fail", "error_rate")
    fleet.run()
    deployment.refresh_from_db()
    assert (deployment.status, deployment.rollbacks.get().status) == ("rolled_back", "deployed")
    assert set(fleet.running(deployment.installation).values()) == {"1.0.0"}


def test_half_a_percent_becomes_good(fleet, watched):
    deployment, window = watched
    assert played(window, "0.5 %") == MINUTES
    deployment.refresh_from_db()
    assert (window.verdict, window.basis, deployment.good_at is not None) == ("pass", "traffic", True)
    assert not deployment.incidents.exists()


def test_three_percent_is_held_and_flagged_and_people_are_told(fleet, watched):
    deployment, window = watched
    played(window, "3 %")
    assert (window.closed_at, window.cause, window.record["rule"]) == (None, "degraded", "error_rate")
    told = window_of(window)
    assert told is not None and (told["status"], health_of(window)["status"]) == ("held", "degraded")
    assert "(degraded)" in deployment.incidents.get().text
    assert not deployment.rollbacks.exists()
    Window.objects.filter(pk=window.pk).update(held_since=clock.now() - timedelta(hours=2))
    judged(window, [])
    window.refresh_from_db()
    deployment.refresh_from_db()
    assert (window.verdict, window.flagged, deployment.status) == ("inconclusive", True, "deployed")
    assert deployment.good_at is None
