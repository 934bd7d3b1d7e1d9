"""What a worker holds is renewed while it works on it, and it notices what it holds no more."""

from collections.abc import Mapping
from datetime import datetime

import pytest
from django.db import OperationalError

from aureus import lease
from deployments import lifecycle
from deployments.leases import Heartbeat
from deployments.models import Deployment, Step
from health.models import Canary
from tests.conftest import wait_until
from tests.deployments.conftest import ALICE, BOB, Fleet

EVERY = 0.02
SOON = 20


@pytest.fixture
def asked(fleet: Fleet) -> Deployment:
    """Two hosts are about to be looked at."""
    fleet.environment("staging", hosts=2)
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    lifecycle.advance(deployment.pk, "none")
    return deployment


@pytest.fixture
def held(asked: Deployment) -> dict[int, int]:
    """Two steps that this process has claimed, by their fences."""
    return dict(lease.claim(Step._meta.db_table, [step.pk for step in asked.steps.filter(kind="check")]))


def ends(step: int) -> datetime:
    until = Step.objects.get(pk=step).lease_until
    assert until is not None
    return until


def test_the_leases_of_what_is_held_go_on_until_each_has_answered(held):
    first, second = held
    with Heartbeat(held, EVERY) as heartbeat:
        begun = ends(first)
        wait_until(lambda: ends(first) > begun and ends(second) > begun, seconds=SOON, what="both are renewed")
        heartbeat.done(first)
        renewed = ends(second)
        wait_until(lambda: ends(second) > renewed, seconds=SOON, what="a round that may have begun before is over")
        answered, renewed = ends(first), ends(second)
        wait_until(lambda: ends(second) > renewed, seconds=SOON, what="the other one goes on")
        assert ends(first) == answered
    assert Canary.objects.filter(name="deploy").exists(), "who is busy works all the same"


def test_a_step_that_somebody_else_claimed_is_lost_and_its_neighbour_is_not(held):
    first, second = held
    with Heartbeat(held, EVERY) as heartbeat:
        Step.objects.filter(pk=first).update(fence=lease.next_fence())
        wait_until(lambda: heartbeat.lost(first), seconds=SOON, what="it is noticed")
        assert not heartbeat.lost(second)


def test_every_step_of_a_deployment_that_is_aborted_has_to_stop(asked, held):
    with Heartbeat(held, EVERY) as heartbeat:
        lifecycle.abort(asked.pk, actor=BOB, reason="the wrong version")
        wait_until(lambda: all(heartbeat.lost(step) for step in held), seconds=SOON, what="it is noticed")


def test_a_database_that_did_not_answer_once_is_asked_again(held):
    class Unlucky(Heartbeat):
        tries = 0

        def renew(self, mine: Mapping[int, int]) -> None:
            self.tries += 1
            if self.tries == 1:
                raise OperationalError("server closed the connection")
            super().renew(mine)

    with Unlucky(held, EVERY):
        begun = ends(next(iter(held)))
        wait_until(lambda: ends(next(iter(held))) > begun, seconds=SOON, what="it is renewed")
