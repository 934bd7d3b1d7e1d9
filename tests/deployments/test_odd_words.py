"""What hosts say may hold anything: it is kept as far as it can be, and never keeps a step from its end."""

import pytest

from deployments import lifecycle
from deployments.engine.settle import failed
from deployments.models import Step
from health.sources.probe import HealthAnswer
from tests.deployments.conftest import ALICE

ODD = ["a\x00b", "a\ud800b", "a\udcffb"]


@pytest.mark.parametrize("odd", ODD)
def test_an_answer_with_odd_characters_is_settled(fleet, odd):
    fleet.environment("staging", hosts=1)
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    turn = lifecycle.advance(deployment.pk, "deploy")
    [claim] = turn.claims
    lifecycle.settle(claim, failed(f"it said {odd}", rule=odd, permanent=True, output={"logs": odd, odd: [odd]}))
    step = Step.objects.get(pk=claim.step_id)
    assert step.status == "failed"
    assert step.reason.startswith("it said a")


@pytest.mark.parametrize("odd", ODD)
def test_a_version_that_calls_itself_something_odd_does_not_keep_its_own_rollback_from_going(fleet, odd):
    here = fleet.environment("staging", hosts=2)
    fleet.deployed("1.0.0")
    second = fleet.deployed("1.1.0")
    honest = fleet.ask

    def ask(url, expected, **rest):
        answer = honest(url, expected, **rest)
        if answer.version == "1.1.0":
            return HealthAnswer(False, odd, f"It runs {odd}.", 0.01)
        return answer

    fleet.ask = ask
    lifecycle.roll_back(second.pk, actor=ALICE, reason="bad")
    fleet.run()
    assert set(fleet.running(here).values()) == {"1.0.0"}
