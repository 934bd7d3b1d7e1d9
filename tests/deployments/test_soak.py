"""A promotion waits until where it comes from has written no errors for long enough."""

from datetime import timedelta

import pytest

from aureus import clock
from deployments import lifecycle, smoke
from deployments.fleet.declaration import DeclarationInvalid, check
from deployments.models import Deployment
from health import windows
from health.models import SmokeRun, Window
from health.quiet import JOURNAL
from health.verdicts import Sample
from tests.deployments.conftest import ALICE, Fleet

SOAK = 1800.0


@pytest.fixture
def promoted(fleet: Fleet) -> Deployment:
    """1.0.0 is in staging for 40 minutes, smoke-tested, and asked for in production."""
    fleet.environment("staging", hosts=1, window=7200, sources=["probe", "journal"])
    fleet.environment("production", hosts=1, promote_from="staging", soak=SOAK)
    staged = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    fleet.run()
    opened = clock.now() - timedelta(minutes=40)
    Window.objects.filter(subject=staged.pk).update(opens_at=opened, closed_at=None, next_sample_at=None)
    run = smoke.ask(staged, [{"name": "home", "endpoint": "/"}], asked_by="ci")
    SmokeRun.objects.filter(pk=run.pk).update(status="passed", verdict="passed", ended_at=clock.now())
    return lifecycle.promote(staged.pk, actor=ALICE, environment="production")[0]


def hear(deployment: Deployment, *errors: tuple[float, float | None]) -> None:
    """Looks at staging's journal: so many minutes ago, so many errors; None: it could not be read."""
    source = deployment.source
    assert source is not None
    window = Window.objects.get(subject=source.pk)
    now = clock.now()
    windows.store(window, [
        Sample("staging-1", window.content, JOURNAL, "down" if count is None else "value",
               now - timedelta(minutes=minutes), value=count, why="no answer" if count is None else "")
        for minutes, count in errors
    ])  # fmt: skip


def after(fleet: Fleet, deployment: Deployment) -> tuple[str, str]:
    for _ in range(5):
        lifecycle.advance(deployment.pk, "deploy")
    deployment.refresh_from_db()
    return deployment.status, deployment.reason


def test_a_quiet_half_hour_lets_it_start(fleet, promoted):
    hear(promoted, (35, 3), (20, 0), (1, 0))
    assert after(fleet, promoted)[0] == "in_progress"


def test_errors_within_the_half_hour_hold_it_and_say_until_when(fleet, promoted):
    hear(promoted, (20, 3), (1, 0))
    status, reason = after(fleet, promoted)
    assert status == "pending"
    assert reason.startswith("soaks in staging: staging-1 wrote 3 errors at ")
    assert promoted.wake_at is not None and promoted.wake_at > clock.now() + timedelta(minutes=9)


def test_a_journal_that_could_not_be_read_is_never_quiet(fleet, promoted):
    hear(promoted, (20, 0), (2, None))
    status, reason = after(fleet, promoted)
    assert status == "pending"
    assert "The journal of staging-1 was not read lately. no answer" in reason


def test_time_alone_never_ends_a_soak(fleet, promoted):
    hear(promoted, (25, 0))
    later = clock.now() + timedelta(days=2)
    assert windows.quietness(promoted.source_id, promoted.version.content, later).quiet is None
    assert after(fleet, promoted)[0] == "pending"


@pytest.mark.parametrize(
    ("staging", "said"),
    [({"sources": ["probe"]}, "needs journal among the sources"), ({"window": 60}, "the window of staging is 60 s")],
)
@pytest.mark.parametrize("demanded", [{"soak": 1800}, {"gates": "guide"}], ids=["soak", "guide"])
def test_quiet_that_could_never_come_is_refused_when_it_is_declared(staging, said, demanded):
    policy = {"approvals": 0, "gates": "basic"}
    source = {"name": "staging", **policy, "promote_from": None, "sources": ["probe", "journal"], "window": 3600}
    target = {"name": "production", **policy, "promote_from": "staging", **demanded}
    check({"environments": [source, target]})
    with pytest.raises(DeclarationInvalid, match=said):
        check({"environments": [{**source, **staging}, target]})
