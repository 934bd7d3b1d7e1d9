"""The picture of a deployment: what each version had, how it did, and where it was decided."""

import re
from datetime import timedelta

import pytest

from aureus import clock
from deployments.admin.chart import svg
from deployments.models import Deployment
from deployments.picture import Picture, picture_of
from health import windows
from health.models import Window
from health.verdicts import Sample
from tests.deployments.conftest import Fleet
from tests.deployments.test_canary import begun, here, watched  # noqa: F401 - a fixture
from tests.deployments.test_watching import backdate, judged, traffic


@pytest.fixture
def failed(fleet: Fleet, here) -> Deployment:  # noqa: F811
    """1.1.0 as a canary that fails half of its requests at 5 %, beside a well 1.0.0, and is undone."""
    deployment = begun(fleet, here)
    window = watched(fleet, deployment)
    now = clock.now()
    old = next(iter(window.baseline.values()))["content"]
    windows.store(window, [Sample("staging-2", old, "scrape", "counts", now, 900, 0, ((0.1, 900), (1.0, 900)))])
    windows.store(window, [Sample("staging-1", window.content, "scrape", "counts", now, 50, 25, ((0.1, 0), (1.0, 50)))])
    judged(backdate(window, 5), traffic(window, requests=50, errors=40))
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "failed"
    return deployment


def seen(deployment: Deployment) -> Picture:
    picture = picture_of(deployment, clock.now())
    assert picture is not None
    return picture


def test_it_shows_each_versions_part_of_the_traffic_until_it_was_taken_back(failed):
    shares = {version: [round(part) for _, part in line] for version, line in seen(failed).shares.items()}
    assert 5 in shares["1.1.0"]
    assert shares["1.1.0"][-1] == 0
    assert shares["1.0.0"][-1] == 100


def test_it_shows_errors_and_p95_of_each_version_apart_against_the_bounds(failed):
    picture = seen(failed)
    assert max(p.error_rate for p in picture.points["1.1.0"] if p.error_rate is not None) > 0.5
    assert {p.error_rate for p in picture.points["1.0.0"]} == {0.0}
    [old] = picture.points["1.0.0"]
    assert old.p95 is not None and old.p95 < 0.1
    assert (picture.max_error_rate, picture.rollback_error_rate, picture.max_p95) == (0.01, 0.05, 0.5)


def test_the_bounds_are_those_by_which_it_was_judged_and_not_those_of_today(failed):
    failed.environment.policy["rules"] = {"max_error_rate": 0.2, "rollback_error_rate": 0.4, "max_p95": 3}
    failed.environment.save()
    picture = seen(Deployment.objects.get(pk=failed.pk))
    assert (picture.max_error_rate, picture.rollback_error_rate, picture.max_p95) == (0.01, 0.05, 0.5)
    Window.objects.filter(subject=failed.pk).update(rules={"max_error_rate": 0.02, "max_p95": 0.3})
    assert (seen(failed).max_error_rate, seen(failed).max_p95) == (0.02, 0.3)


def test_the_decision_stands_where_it_fell_with_its_sentence(failed):
    [decision] = seen(failed).decisions
    assert decision.verdict == "fail"
    assert decision.at == Window.objects.get(subject=failed.pk, kind="bake").closed_at
    drawn = svg(seen(failed), "1.1.0")
    assert "requests failed" in re.findall(r"<title>(.*?)</title>", drawn)[0]


def test_what_a_host_says_is_never_read_as_markup(failed):
    Window.objects.filter(subject=failed.pk).update(record={"sentence": "<script>alert(1)</script>"})
    assert "<script" not in svg(seen(failed), "1.1.0")


def test_before_it_has_started_there_is_nothing_to_see(fleet, here):  # noqa: F811
    assert picture_of(begun(fleet, here), clock.now()) is None


def test_a_long_window_is_drawn_in_a_bounded_number_of_points(failed):
    window = Window.objects.get(subject=failed.pk, kind="bake")
    Deployment.objects.filter(pk=failed.pk).update(started_at=clock.now() - timedelta(hours=9))
    failed.refresh_from_db()
    times = [clock.now() - timedelta(seconds=20 * n) for n in range(1500)]
    quick = ((0.1, 5),)
    windows.store(window, [Sample("staging-1", window.content, "scrape", "counts", at, 5, 0, quick) for at in times])
    assert len(seen(failed).points["1.1.0"]) <= 121
