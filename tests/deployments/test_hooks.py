"""Commands of an installation around what is done to each host, and once around the whole."""

from pathlib import Path

import pytest

from deployments import lifecycle
from deployments.engine.plan import plan
from deployments.engine.plan_back import plan_rollback
from deployments.engine.stages import HOOKS, Site
from deployments.engine.strategies import Options
from deployments.models import Deployment, Installation
from tests.deployments.conftest import ALICE, BOB, Fleet

TOLD = "echo {name} $AUREUS_VERSION >> {file}"


class Hooked:
    """An installation whose hooks write down that they ran."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet, self.file = fleet, folder / "ran"
        self.here = fleet.environment("staging", hosts=2, balanced=True)
        self.declare()

    def declare(self, **instead: str) -> None:
        commands = {name: TOLD.format(name=name, file=self.file) for name in HOOKS} | instead
        Installation.objects.filter(pk=self.here.pk).update(options={"hooks": commands})

    def ran(self) -> list[str]:
        said = self.file.read_text().splitlines() if self.file.exists() else []
        self.file.unlink(missing_ok=True)
        return said

    def ask(self, number: str) -> Deployment:
        deployment = lifecycle.deploy(self.fleet.version(number).pk, "staging", actor=ALICE)
        self.fleet.run()
        deployment.refresh_from_db()
        return deployment


def shape(stages):
    return [s.name for s in stages if any(p.kind == "hook" for p in s.steps)]


def test_hooks_stand_around_their_steps_and_the_whole():
    site = Site(("h1", "h2"), balanced=True, once=("backup", "migrate"), hooks=HOOKS)
    names = [s.name for s in plan(site, "rolling", Options(batch="1"))]
    assert names[:7] == [
        "check every host", "before deployment", "before prepare", "prepare every host", "after prepare",
        "backup once", "migrate once",
    ]  # fmt: skip
    assert names[7:14] == [
        f"batch 1 of 2: {what}"
        for what in ("out of the balancer", "drained", "before activate", "activated", "healthy", "after activate",
                     "back in the balancer")
    ]  # fmt: skip
    assert names[-1] == "after deployment"


def test_a_rollback_has_those_of_activation_alone_and_waits_for_none_of_them():
    site = Site(("h1", "h2"), balanced=True, hooks=HOOKS)
    stages = plan_rollback(site, ("h1",), untouched_serve=True)
    assert shape(stages) == ["back: before activate", "back: after activate"]
    hooks = [s for s in stages if "activate" in s.name and "activated" not in s.name]
    assert {(s.on_failure, s.patience, s.steps[0].target) for s in hooks} == {("go_on", 0.0, None)}


@pytest.fixture
def hooked(fleet: Fleet, tmp_path: Path) -> Hooked:
    return Hooked(fleet, tmp_path)


def good(deployment: Deployment) -> Deployment:
    Deployment.objects.filter(pk=deployment.pk).update(good_at="2026-01-01T00:00:00Z")
    return deployment


def test_each_runs_where_and_as_often_as_it_says_and_a_rollback_runs_those_of_activation(fleet, hooked):
    first = good(hooked.ask("1.0.0"))
    around = ["before_activate {0}", "after_activate {0}"] * 2
    prepared = ["before_prepare {0}"] * 2 + ["after_prepare {0}"] * 2
    wanted = ["before_deployment {0}", *prepared, *around, "after_deployment {0}"]
    assert sorted(hooked.ran()) == sorted(line.format("1.0.0") for line in wanted)
    assert first.status == "deployed"
    second = good(hooked.ask("1.1.0"))
    assert hooked.ran() == [line.format("1.1.0") for line in wanted]
    lifecycle.roll_back(second.pk, actor=BOB, reason="bad")
    fleet.run()
    assert sorted(hooked.ran()) == sorted(line.format("1.0.0") for line in around)
    assert set(fleet.running(hooked.here).values()) == {"1.0.0"}


@pytest.mark.parametrize("hook", ["before_deployment", "before_prepare", "after_prepare"])
def test_one_that_fails_before_anything_changed_ends_the_deployment_and_nothing_more(fleet, hooked, hook):
    good(hooked.ask("1.0.0"))
    hooked.declare(**{hook: "echo not today; exit 3"})
    deployment = hooked.ask("1.1.0")
    assert (deployment.status, deployment.outcome) == ("failed", "error")
    assert "the command ended with exit 3: not today" in deployment.reason
    assert not deployment.rollbacks.exists()
    assert set(fleet.running(hooked.here).values()) == {"1.0.0"}


@pytest.mark.parametrize(("hook", "activated"), [("before_activate", 0), ("after_activate", 1)])
def test_one_of_an_activation_that_fails_is_the_failure_of_its_host(fleet, hooked, hook, activated):
    good(hooked.ask("1.0.0"))
    hooked.declare(**{hook: '[ "$AUREUS_VERSION" = 1.0.0 ] || { echo cache is cold; exit 1; }'})
    deployment = hooked.ask("1.1.0")
    assert deployment.status == "failed"
    assert deployment.steps.filter(kind="activate", status="passed").count() == activated
    assert deployment.rollbacks.get().status == "deployed"
    assert set(fleet.running(hooked.here).values()) == {"1.0.0"}
    assert fleet.traffic.read() == {"staging-1": 100, "staging-2": 100}


def test_one_after_the_deployment_that_fails_is_told_and_undoes_nothing(fleet, hooked):
    hooked.declare(after_deployment="echo nobody listens; exit 1")
    deployment = hooked.ask("1.0.0")
    assert deployment.status == "deployed"
    assert deployment.reason == "every step passed; failed, and nothing depends on it: after deployment"
    step = deployment.steps.get(input__hook="after_deployment")
    assert (step.status, step.output["said"]) == ("failed", "nobody listens")
    told = deployment.incidents.get()
    assert (told.severity, "nobody listens" in told.text) == ("warning", True)


@pytest.mark.parametrize("hook", ["before_activate", "after_activate"])
def test_none_keeps_a_host_from_going_back(fleet, hooked, hook):
    good(hooked.ask("1.0.0"))
    second = good(hooked.ask("1.1.0"))
    hooked.declare(**{hook: "exit 1"})
    rollback, _ = lifecycle.roll_back(second.pk, actor=BOB, reason="bad")
    fleet.run()
    rollback.refresh_from_db()
    assert rollback.status == "deployed"
    assert not rollback.targets.filter(state="owed").exists()
    assert set(fleet.running(hooked.here).values()) == {"1.0.0"}
    assert fleet.traffic.read() == {"staging-1": 100, "staging-2": 100}
    assert rollback.incidents.filter(severity="warning").exists()


def test_an_abort_ends_one_that_runs(fleet, hooked):
    good(hooked.ask("1.0.0"))
    fleet.hosts.at("staging-1").once_hangs = True
    deployment = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    site = fleet.hosts.at("staging-1").site(fleet.root)
    fleet.play_until(lambda: bool(site.running))
    lifecycle.abort(deployment.pk, actor=BOB, reason="stop it")
    fleet.run()
    deployment.refresh_from_db()
    assert (deployment.outcome, site.running) == ("aborted", {})
