"""Verbs that meet over one installation wait for each other in one order: none of them is a deadlock's victim."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection, connections, transaction

from aureus import clock
from deployments import lifecycle
from deployments.lifecycle.ending import begin_rollback
from deployments.lifecycle.moves import locked
from deployments.models import Deployment, Installation
from tests.conftest import wait_until
from tests.deployments.conftest import ALICE


class Beside:
    """A verb in a thread of its own, with what it raised."""

    def __init__(self, verb: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self.verb = verb
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.verb()
        except BaseException as error:
            self.error = error
        finally:
            connections.close_all()

    def end(self) -> None:
        self.thread.join(20)
        assert not self.thread.is_alive()
        assert self.error is None, self.error


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0


def waiting_one(fleet, number: str) -> Deployment:
    """Asked for and not looked at yet."""
    return lifecycle.deploy(fleet.version(number).pk, "staging", actor=ALICE)


@pytest.fixture
def second(fleet) -> Deployment:
    fleet.environment("staging", queue="supersede")
    fleet.deployed("1.0.0")
    return fleet.deployed("1.1.0")


def test_a_start_and_the_rollback_of_what_is_watched(fleet, second):
    third = waiting_one(fleet, "1.2.0")
    with transaction.atomic():
        watched = locked(second.pk)
        start = Beside(lambda: lifecycle.advance(third.pk, "deploy"))
        wait_until(somebody_waits, seconds=10, what="the start waits for what is watched")
        begin_rollback(watched, reason="bad", actor=ALICE)
    start.end()
    third.refresh_from_db()
    assert "waits behind" in third.reason


def test_a_start_and_a_newer_wish_that_supersedes_it(fleet, second):
    third, version = waiting_one(fleet, "1.2.0"), fleet.version("1.3.0")
    with transaction.atomic():
        locked(third.pk)
        newer = Beside(lambda: lifecycle.deploy(version.pk, "staging", actor=ALICE))
        wait_until(somebody_waits, seconds=10, what="the newer wish waits for the older")
        Installation.objects.select_for_update().get(pk=second.installation_id)
        Deployment.objects.filter(pk=third.pk).update(wake_at=clock.now())
    newer.end()


def test_a_rollback_by_hand_and_the_end_of_what_runs_beside_it(fleet, second):
    third = waiting_one(fleet, "1.2.0")
    fleet.play_until(lambda: third.targets.filter(claimed_at__isnull=False).exists())
    with transaction.atomic():
        failing = locked(third.pk)
        by_hand = Beside(lambda: lifecycle.roll_back(second.pk, actor=ALICE, reason="bad"))
        wait_until(somebody_waits, seconds=10, what="the rollback waits for what runs")
        Installation.objects.select_for_update().get(pk=failing.installation_id)
    by_hand.end()
    assert second.rollbacks.exists()
