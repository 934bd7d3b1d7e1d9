"""What the database itself refuses, held against the engine's tables."""

import itertools
from uuid import UUID

import pytest
from django.db import IntegrityError, InternalError, connection, transaction

from aureus import clock, lease
from aureus.journal.actor import AUREUS
from aureus.journal.models import Event, record
from deployments import lifecycle
from deployments.engine.status import DEPLOYMENT_MOVES, STEP_MOVES, Outcome, Status, StepStatus
from deployments.models import Deployment, Step
from tests.deployments.conftest import ALICE


@pytest.fixture
def deployment(fleet) -> Deployment:
    fleet.environment("staging")
    return lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)


def forced(table: str, pk: int | UUID, status: str, outcome: str = "") -> None:
    """Write a status past the trigger, as a starting point."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        extra = ", outcome = %s" if table.endswith("deployment") else ""
        values: list[str | int | UUID] = [status, *([outcome] if extra else []), pk]
        cursor.execute(f"UPDATE {table} SET status = %s{extra} WHERE id = %s", values)
        cursor.execute("SET session_replication_role = DEFAULT")


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(Status, 2)))
def test_a_deployment_moves_in_the_database_exactly_as_the_engine_says(deployment, before, after):
    forced("deployments_deployment", deployment.pk, before, Outcome.ERROR if before is Status.FAILED else "")
    outcome = Outcome.ERROR if after is Status.FAILED else ""

    def write() -> None:
        with transaction.atomic():
            Deployment.objects.filter(pk=deployment.pk).update(status=after, outcome=outcome)

    if after in DEPLOYMENT_MOVES[before]:
        write()
    else:
        with pytest.raises(IntegrityError, match="may not go"):
            write()


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(StepStatus, 2)))
def test_a_step_moves_in_the_database_exactly_as_the_engine_says(deployment, before, after):
    step = deployment.steps.first()
    forced("deployments_step", step.pk, before)

    def write() -> None:
        with transaction.atomic():
            Step.objects.filter(pk=step.pk).update(status=after)

    if after in STEP_MOVES[before]:
        write()
    else:
        with pytest.raises(IntegrityError, match="may not go"):
            write()


def test_events_are_never_changed_deleted_or_truncated(fleet):
    record("test", "something", AUREUS, a=1)
    event = Event.objects.get(stream="test")
    for act in (
        lambda: Event.objects.filter(pk=event.pk).update(kind="else"),
        lambda: Event.objects.filter(pk=event.pk).delete(),
    ):
        with pytest.raises(InternalError, match="append-only"), transaction.atomic():
            act()
    with pytest.raises(InternalError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("TRUNCATE journal_event")
    Event.objects.filter(pk=event.pk).update(delivered_at=clock.now())


def test_an_installation_has_one_active_deployment(fleet, deployment):
    other = lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)
    Deployment.objects.filter(pk=deployment.pk).update(status=Status.IN_PROGRESS)
    with pytest.raises(IntegrityError, match="one_active_per_installation"), transaction.atomic():
        Deployment.objects.filter(pk=other.pk).update(status=Status.IN_PROGRESS)


def test_of_two_claims_of_a_step_one_wins_and_fences_only_grow(deployment):
    step = deployment.steps.first()
    first = lease.claim("deployments_step", [step.pk])
    assert lease.claim("deployments_step", [step.pk]) == {}
    Step.objects.filter(pk=step.pk).update(lease_until=clock.now())
    second = lease.claim("deployments_step", [step.pk])
    assert second[step.pk] > first[step.pk]
    step.refresh_from_db()
    assert (step.attempts, step.failures) == (2, 1)


def test_a_lease_is_renewed_by_its_own_fence_only_and_never_beyond_the_deadline(deployment):
    step = deployment.steps.first()
    [fence] = lease.claim("deployments_step", [step.pk]).values()
    assert lease.renew("deployments_step", {step.pk: fence - 1}) == {}
    end = clock.now()
    Step.objects.filter(pk=step.pk).update(deadline_at=end.replace(year=end.year + 1))
    assert step.pk in lease.renew("deployments_step", {step.pk: fence})
    Step.objects.filter(pk=step.pk).update(deadline_at=end)
    assert lease.renew("deployments_step", {step.pk: fence}) == {}
