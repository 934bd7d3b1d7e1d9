"""People, faults and workers in any order, on the real verbs and rows: what holds after every word.

STATEFUL_EXAMPLES=500 plays that many random lives instead of the few that are the same in every run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from aureus import clock
from aureus.journal.refusals import Refused
from deployments import edits, execution, leases, lifecycle
from deployments.effects import Boundary
from deployments.engine.status import OPEN, Status, TargetState
from deployments.fleet import running
from deployments.lifecycle.people import WAITS
from deployments.models import Deployment, Endpoint, Environment, Freeze, Host, Installation, Step
from releases import registry
from tests.conftest import _delete_rows
from tests.deployments.conftest import ALICE, BOB, Fleet
from tests.deployments.racing import lawful

ASKED = os.environ.get("STATEFUL_EXAMPLES")
EXAMPLES, WORDS = int(ASKED or 12), 25
PAST = "2026-01-01T00:00:00Z"
HOSTS = st.sampled_from(["staging-1", "staging-2", "staging-3"])
NUMBERS = st.sampled_from(["1.1.0", "1.2.0", "1.3.0"])
NEWEST = st.integers(0, 3)
SETTLED = {TargetState.ON_TO, TargetState.ON_BACK, TargetState.OWED}


class Lost(BaseException):
    """A worker is gone in the midst of its work."""


def left_to_wait(deployment: Deployment) -> bool:
    """Whether it is under way and would still be watched, or wait for a person."""
    left = deployment.steps.filter(kind__in=WAITS, status="pending", deployment__abort_reason="")
    return deployment.status == Status.IN_PROGRESS and left.exists()


class Lives(RuleBasedStateMachine):
    """One environment of three hosts; `ended` remembers how each deployment ended when that was first seen."""

    @initialize(
        approvals=st.integers(0, 1),
        queue=st.sampled_from(["order", "supersede"]),
        strategy=st.sampled_from(["rolling", "rolling behind a balancer", "canary behind a balancer"]),
        max_failures=st.integers(0, 1),
        bake=st.sampled_from([0.0, 10.0]),
    )
    def begin(self, strategy: str, **declared: Any) -> None:
        self.fleet = Fleet()
        self.here = self.fleet.environment("staging", balanced=strategy.endswith("balancer"))
        self.fleet.deployed("1.0.0")
        policy = {**Environment.objects.get().policy, **declared, "weights": [5, 50, 100]}
        Environment.objects.update(policy=policy)
        Installation.objects.update(strategy=strategy.split()[0])
        self.ended: dict[Any, str] = {}

    def said(self, verb: Callable[[], object]) -> None:
        """A refusal is a fine answer, as long as it says something."""
        refused: Refused | None = None
        try:
            verb()
        except Refused as refusal:
            refused = refusal
        assert refused is None or (400 <= refused.status < 500 and len(refused.sentence) > 10)

    def newest(self, number: int) -> Deployment:
        found = list(Deployment.objects.order_by("-created_at", "-id")[: number + 1])
        return found[-1]

    @rule(number=NUMBERS)
    def deploy(self, number: str) -> None:
        self.said(lambda: lifecycle.deploy(self.fleet.version(number).pk, "staging", actor=ALICE))

    @rule(at=NEWEST, yes=st.booleans())
    def approve_or_reject(self, at: int, yes: bool) -> None:
        verb = lifecycle.approve if yes else lambda pk, actor: lifecycle.reject(pk, actor=actor, comment="no")
        self.said(lambda: verb(self.newest(at).pk, actor=BOB))

    @rule(at=NEWEST)
    def pause(self, at: int) -> None:
        self.said(lambda: lifecycle.pause(self.newest(at).pk, actor=BOB))

    @rule(at=NEWEST)
    def resume(self, at: int) -> None:
        self.said(lambda: lifecycle.resume(self.newest(at).pk, actor=BOB))

    @rule(at=NEWEST)
    def abort(self, at: int) -> None:
        self.said(lambda: lifecycle.abort(self.newest(at).pk, actor=BOB, reason="no"))

    @rule(at=NEWEST)
    def retry(self, at: int) -> None:
        self.said(lambda: lifecycle.retry(self.newest(at).pk, actor=BOB))

    @rule(at=NEWEST)
    def abandon(self, at: int) -> None:
        self.said(lambda: lifecycle.abandon(self.newest(at).pk, actor=BOB, reason="no"))

    @rule(at=NEWEST)
    def roll_back(self, at: int) -> None:
        self.said(lambda: lifecycle.roll_back(self.newest(at).pk, actor=BOB, reason="bad"))

    @rule(at=NEWEST, host=HOSTS)
    def exclude(self, at: int, host: str) -> None:
        self.said(lambda: lifecycle.exclude(self.newest(at).pk, actor=BOB, host=host, reason="broken"))

    @rule(at=NEWEST)
    def promote_full(self, at: int) -> None:
        self.said(lambda: lifecycle.promote_full(self.newest(at).pk, actor=BOB, reason="enough"))

    @rule(host=HOSTS)
    def converge(self, host: str) -> None:
        self.said(lambda: lifecycle.converge(self.here, [host], actor=BOB, reason="owed"))

    @rule(number=NUMBERS)
    def withdraw(self, number: str) -> None:
        self.said(lambda: registry.withdraw(self.fleet.version(number).pk, reason="a hole", actor=BOB))

    @rule()
    def edit_environment(self) -> None:
        edits.edited(Environment.objects.get(), changed=["order"], actor=BOB)

    @rule(host=HOSTS)
    def retire_or_return(self, host: str) -> None:
        """As `aureus apply` does it: not while something runs there. Somebody who serves is left."""
        row = Host.objects.get(name=host)
        others = Endpoint.objects.exclude(host=row).filter(host__state="active", serving=True, owed="")
        if row.state == "active" and (running.on_host(row) or not others.exists()):
            return
        row.state = "active" if row.state == "retired" else "retired"
        edits.edited(row, changed=["state"], actor=BOB)

    @rule()
    def freeze(self) -> None:
        now = clock.now()
        Freeze.objects.create(starts=now, ends=now + timedelta(hours=1), reason="a holiday", by="bob")

    @rule()
    def lift(self) -> None:
        Freeze.objects.all().delete()

    @rule(host=HOSTS, down=st.booleans())
    def cut_off_or_mend(self, host: str, down: bool) -> None:
        self.fleet.hosts.at(host).unreachable = down

    @rule(host=HOSTS, number=NUMBERS)
    def fall_sick_or_get_well(self, host: str, number: str) -> None:
        self.fleet.sick ^= {(host, number)}

    @rule(rounds=st.integers(1, 12))
    def play(self, rounds: int) -> None:
        """Workers that hand the deployment on after each step, so that people get a word in."""
        for _ in range(rounds):
            self.fleet.hurry()
            for deployment_id, lane in leases.sweep():
                execution.work_on(deployment_id, lane, self.fleet.outside, self.fleet.hint, budget=0)

    @rule(at=st.sampled_from(list(Boundary)))
    def lose_a_worker(self, at: Boundary) -> None:
        """It ends at a boundary of the steps it has claimed, and their leases run out."""

        def reached(boundary: Boundary, kind: str) -> None:
            if boundary is at:
                raise Lost

        self.fleet.hurry()
        for deployment_id, lane in leases.sweep():
            with suppress(Lost):
                execution.work_on(deployment_id, lane, self.fleet.outside, self.fleet.hint, budget=0, reached=reached)
        Step.objects.filter(status="running").update(lease_until=PAST)

    @rule()
    def patience_ends(self) -> None:
        """What fails has failed for long, and what waits has waited past its deadline."""
        mine = Step.objects.filter(deployment__status=Status.IN_PROGRESS)
        mine.filter(failing_since__isnull=False).update(failing_since=PAST)
        mine.filter(kind="verify", attempts__gt=0, status="pending").update(deadline_at=PAST)

    @rule()
    def window_passes(self) -> None:
        Deployment.objects.filter(status=Status.DEPLOYED, good_at=None).update(good_at=clock.now())

    @invariant()
    def lives_are_lawful(self) -> None:
        lawful()

    @invariant()
    def what_has_ended_stays_as_it_ended(self) -> None:
        for deployment in Deployment.objects.exclude(status__in=OPEN):
            before = self.ended.setdefault(deployment.pk, deployment.status)
            if before != deployment.status:
                assert (before, deployment.status) == (Status.DEPLOYED, Status.ROLLED_BACK)
                self.ended[deployment.pk] = deployment.status

    @invariant()
    def nothing_blocks_a_rollback(self) -> None:
        for rollback in Deployment.objects.filter(reverts__isnull=False):
            assert rollback.started_at is not None
            assert (rollback.paused_by, rollback.abort_reason) == ("", "")

    @invariant()
    def no_host_is_unlisted(self) -> None:
        """Where nothing is under way, each host runs what the record says, or is owed."""
        if Deployment.objects.filter(status=Status.IN_PROGRESS).exists():
            return
        for endpoint in Endpoint.objects.filter(host__state="active").select_related("host"):
            runs = self.fleet.hosts.at(endpoint.host.name).site(self.fleet.root).slots.get("main", "")
            assert endpoint.owed or runs == endpoint.recorded, (endpoint.name, runs, endpoint.recorded)
        for deployment in Deployment.objects.exclude(status__in=OPEN):
            claimed = deployment.targets.filter(claimed_at__isnull=False)
            assert set(claimed.values_list("state", flat=True)) <= SETTLED

    @invariant()
    @precondition(lambda self: self.here.balancer_id is not None)
    def somebody_serves(self) -> None:
        assert any(self.fleet.traffic.read().values())

    def teardown(self) -> None:
        """With hosts well and people gone, all that is open comes to its end."""
        if not hasattr(self, "fleet"):
            return
        try:
            self.come_to_rest()
        finally:
            _delete_rows()

    def come_to_rest(self) -> None:
        Freeze.objects.all().delete()
        self.fleet.sick.clear()
        for machine in self.fleet.hosts.machines.values():
            machine.unreachable = False
        for _ in range(120):
            left = list(Deployment.objects.filter(status__in=OPEN))
            if not left:
                break
            for deployment in left:
                if deployment.status == Status.AWAITING_APPROVAL:
                    self.said(lambda one=deployment: lifecycle.approve(one.pk, actor=BOB))  # type: ignore[misc]
                if deployment.paused_by:
                    self.said(lambda one=deployment: lifecycle.resume(one.pk, actor=BOB))  # type: ignore[misc]
                if left_to_wait(deployment):
                    self.said(lambda one=deployment: lifecycle.promote_full(one.pk, actor=BOB, reason="end"))  # type: ignore[misc]
            self.play(3)
        assert not Deployment.objects.filter(status__in=OPEN).exists()
        self.lives_are_lawful()
        self.no_host_is_unlisted()


@pytest.mark.timeout(60 + 30 * EXAMPLES)
def test_after_every_word_of_people_faults_and_workers_the_promises_hold(transactional_db):
    how = settings(
        max_examples=EXAMPLES,
        stateful_step_count=WORDS,
        derandomize=ASKED is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(Lives, settings=how)
