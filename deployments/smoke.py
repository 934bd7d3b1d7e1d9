"""Smoke runs of a deployment: asked for once, carried out against every host of it and once through the balancer."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q

from aureus import clock, lease
from aureus.journal.actor import AUREUS, Actor
from aureus.journal.models import record
from aureus.journal.plain import plain
from aureus.journal.refusals import Conflict, Invalid
from deployments import identity
from deployments.contents import current_of
from deployments.drivers import HostError
from deployments.engine.status import Status
from deployments.lifecycle.ending import not_undone, undo
from deployments.lifecycle.moves import locked
from deployments.lifecycle.rows import endpoints_of
from deployments.models import Deployment, Endpoint
from deployments.outside import Outside, address_of, site_of
from deployments.snapshot import policy_of
from health.models import SmokeRun, Window
from health.smoke_tests import (
    EndpointTest,
    SmokeResult,
    SmokeTestsInvalid,
    WorkflowTest,
    read_tests,
    run_endpoint_test,
    run_workflow_test,
)
from releases.spec import number_of

WITHIN = 45.0
"""Seconds a whole run may take; the API waits 50."""
BALANCER = "balancer"
FIRST_HINT = 5.0
"""Seconds after which a run that nobody has taken up is hinted again."""
ATTEMPTS = 3
LOST = "the workers that ran it were lost"

Test = EndpointTest | WorkflowTest


@dataclass(frozen=True, slots=True)
class Side:
    """One place that tests run against: a host with the spec of its live release, or the balancer without one."""

    name: str
    url: str
    content: str | None
    workflow: Any
    why: str = ""


def checked(tests: object) -> tuple[Test, ...]:
    """The tests of a request. Raises Invalid naming every error."""
    try:
        return read_tests(tests)
    except SmokeTestsInvalid as error:
        raise Invalid("the smoke tests cannot be run", errors=error.errors) from error


def ask(deployment: Deployment, tests: Sequence[Any], *, asked_by: str, by_step: bool = False) -> SmokeRun:
    """Write a run down before anything is asked of a host. A step's own run is in that step's hands alone."""
    checked(list(tests))
    return SmokeRun.objects.create(
        subject=deployment.id,
        content=deployment.content,
        tests=list(tests),
        asked_by=asked_by,
        status="running" if by_step else "pending",
        not_before=clock.now(),
        within=WITHIN + 15,
    )


@transaction.atomic
def request(deployment_id: UUID | str, tests: object, *, actor: Actor) -> SmokeRun:
    """What CI asks for. Only the current deployment of its installation can be tested. Raises Invalid, Conflict."""
    checked(tests)
    deployment = locked(deployment_id)
    current = current_of(deployment.installation)
    if current is None or current.pk != deployment.pk:
        now = f"the current one is {current.id}" if current else "nothing is deployed there yet"
        raise Conflict(
            f"this deployment is {deployment.status.replace('_', ' ')} and not what runs there now: {now}",
            code="not_current",
        )
    run = ask(deployment, list(tests), asked_by=actor.name)  # type: ignore[call-overload]
    record(deployment.stream, "smoke.requested", actor, run=str(run.uuid), tests=len(run.tests))
    return run


def carry_out(
    run: SmokeRun, deployment: Deployment, outside: Outside, *, only: Collection[str] | None = None
) -> SmokeRun:
    """Run the tests and store what came of them. It counts only if every host runs the version before and after.

    only: these hosts, and not through the balancer: they have no traffic yet.
    """
    tests = checked(run.tests)
    endpoints = _tested(deployment, only)
    with ThreadPoolExecutor(min(16, len(endpoints) or 1)) as pool:
        before = list(pool.map(lambda e: _side(e, outside), endpoints))
        sides = [*before, *([] if only else _through_balancer(deployment))]
        answers = list(pool.map(lambda pair: (pair, _run_test(*pair)), [(t, s) for t in tests for s in sides]))
        after = dict(pool.map(lambda e: (e.name, _content(e, outside)), endpoints))
    results = [_merge(t, [(s, r) for (asked, s), r in answers if asked is t and r is not None]) for t in tests]
    if elsewhere := _elsewhere(run.content, before, after):
        results = [{**r, "status": "failed", "error": elsewhere} for r in results]
    return _store(run, results, before, after)


def _tested(deployment: Deployment, only: Collection[str] | None) -> list[Endpoint]:
    """Those named, or every host but those that this deployment leaves without traffic."""
    rest = set(deployment.targets.filter(resting=True).values_list("name", flat=True))
    return [e for e in endpoints_of(deployment.installation) if (e.name in only if only else e.name not in rest)]


def _side(endpoint: Endpoint, outside: Outside) -> Side:
    try:
        content, raw = outside.hosts.read_workflow(address_of(endpoint.host), site_of(endpoint))
        return Side(endpoint.name, endpoint.base_url, content, json.loads(raw))
    except (HostError, ValueError) as error:
        return Side(endpoint.name, endpoint.base_url, None, None, str(error))


def _content(endpoint: Endpoint, outside: Outside) -> str | None:
    try:
        return outside.hosts.facts(address_of(endpoint.host), site_of(endpoint)).current
    except HostError:
        return None


def _through_balancer(deployment: Deployment) -> list[Side]:
    url = deployment.installation.public_url
    return [Side(BALANCER, url.rstrip("/"), None, None)] if url else []


def _run_test(test: Test, side: Side) -> SmokeResult | None:
    """One test on one side; None where it does not belong there (a workflow needs a host's release)."""
    if isinstance(test, EndpointTest):
        return run_endpoint_test(test, side.url)
    if side.name == BALANCER:
        return None
    if side.workflow is None:
        return SmokeResult(test.name, "failed", 0, f"its release could not be read: {side.why}")
    return run_workflow_test(test, side.workflow, side.url, timeout=WITHIN - 15)


def _merge(test: Test, answers: list[tuple[Side, SmokeResult]]) -> dict[str, Any]:
    """One result for the caller: passed only where it passed everywhere and reached some host."""
    failed = [(side, r) for side, r in answers if r.status != "passed"]
    reached = any(r.reached for side, r in answers if side.name != BALANCER)
    error = "; ".join(f"{side.name}: {r.error}" for side, r in failed)
    if not reached and not error:
        error = "it reached no host of this deployment"
    merged: dict[str, Any] = {
        "name": test.name,
        "status": "passed" if reached and not failed else "failed",
        "duration": max((r.duration for _, r in answers), default=0),
        "hosts": {side.name: r.status for side, r in answers},
    }
    return merged | ({"error": error[:2000]} if error else {})


def _elsewhere(content: str, before: Sequence[Side], after: dict[str, str | None]) -> str:
    """Where a host did not run the version under test, before or after; "" where all did."""
    wrong = [s.name for s in before if s.content != content or after.get(s.name) != content]
    if not before:
        return "the installation has no host"
    return f"{', '.join(wrong)} did not run {number_of(content)} before and after the tests" if wrong else ""


def _store(
    run: SmokeRun, results: list[dict[str, Any]], before: Sequence[Side], after: dict[str, str | None]
) -> SmokeRun:
    run.results = plain(results)
    run.verdict = "passed" if all(r["status"] == "passed" for r in results) else "failed"
    run.observed = {s.name: [s.content, after.get(s.name)] for s in before}
    run.ended_at = clock.now()
    run.status = "passed" if run.verdict == "passed" else "failed"
    columns = {name: getattr(run, name) for name in ("results", "verdict", "observed", "ended_at", "status")}
    with transaction.atomic():
        # The first answer stands: a run that was carried out twice is not judged twice.
        if SmokeRun.objects.filter(pk=run.pk, verdict="").update(**columns) != 1:
            return SmokeRun.objects.get(pk=run.pk)
        record(f"deployment:{run.subject}", f"smoke.{run.verdict}", AUREUS, run=str(run.uuid))
    return run


def due(limit: int = 100) -> list[str]:
    """Runs that were asked for and that no worker has in hand: their message was lost, or their worker was."""
    with transaction.atomic():
        now = clock.now()
        waiting = SmokeRun.objects.select_for_update(skip_locked=True).filter(
            Q(status="pending") | Q(status="running", lease_until__lte=now), verdict="", not_before__lte=now
        )
        runs = list(waiting.filter(at__lt=now - timedelta(seconds=FIRST_HINT))[:limit])
        SmokeRun.objects.filter(pk__in=[r.pk for r in runs]).update(not_before=now + timedelta(seconds=FIRST_HINT))
    return [str(run.uuid) for run in runs]


def carry_out_asked(uuid: str, outside: Outside, hint: Callable[[str, str], object]) -> None:
    """Carry out what CI asked for; where the policy says so, its failure undoes the deployment in one transaction."""
    run = taken_up(uuid)
    if run is None:
        return
    deployment = Deployment.objects.select_related("installation__environment", "version__application").get(
        pk=run.subject
    )
    run = carry_out(run, deployment, outside)
    if run.verdict == "failed":
        rollback = _failed(run)
        if rollback is not None:
            hint(str(rollback.id), "rollback")


def taken_up(uuid: str) -> SmokeRun | None:
    """The run, in this worker's hands for as long as a run may take; None where another has it, or it has ended."""
    SmokeRun.objects.filter(uuid=uuid, status="pending").update(not_before=clock.now())
    run = SmokeRun.objects.filter(uuid=uuid, verdict="").first()
    if run is None or run.pk not in lease.claim(SmokeRun._meta.db_table, [run.pk]):
        return None
    # No heartbeat: a run is bounded, and a lease as long as that bound says the same.
    SmokeRun.objects.filter(pk=run.pk).update(lease_until=F("deadline_at"))
    run.refresh_from_db()
    if run.attempts > ATTEMPTS:
        _store(run, [{"name": t["name"], "status": "failed", "duration": 0, "error": LOST} for t in run.tests], [], {})
        return None
    return run


@transaction.atomic
def _failed(run: SmokeRun) -> Deployment | None:
    deployment = locked(run.subject)
    if identity.now_and_doubt(deployment.installation_id)[1]:
        return None
    policy = policy_of(deployment.installation)
    armed = Window.objects.filter(subject=run.subject, kind=Window.Kind.AFTER, closed_at=None, armed=True).exists()
    if policy.on_failed_smoke != "rollback" or not armed or deployment.status != Status.DEPLOYED:
        return None
    first = next(r for r in run.results if r["status"] != "passed")
    reason = f"smoke test {first['name']} failed: {first.get('error', '')}"[:500]
    rollback = undo(deployment, reason=reason, actor=AUREUS)
    if rollback is None:
        not_undone(deployment, f"{reason}, and nothing is undone by itself")
    return rollback
