"""Open windows in bulk: sample what is due, judge, and let the verdict act in the transaction that knows of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

import structlog
from django.db import DatabaseError, transaction

from aureus import clock
from aureus.journal.actor import AUREUS
from aureus.journal.models import record
from deployments import identity
from deployments.drivers import Hosts
from deployments.engine.settle import Answer, Result
from deployments.engine.status import Status, StepStatus
from deployments.lifecycle import windows as opened
from deployments.lifecycle.advancing import Turn, answer_for
from deployments.lifecycle.ending import not_undone, undo
from deployments.lifecycle.moves import locked, page
from deployments.models import MAY_BE_CURRENT, Deployment
from deployments.outside import reach_of
from deployments.snapshot import policy_of
from health import sampling, verdicts, windows
from health.models import Window
from health.verdicts import Verdict

log = structlog.get_logger(__name__)

Hint = Callable[[str, str], object]

ROUND = 5.0
"""Seconds after which one call samples no further batch: the next call goes on."""


def sample_due(hint: Hint, hosts: Hosts | None = None) -> int:
    """Sample and judge the windows that are due, batch after batch while there is time; how many.

    hosts: where access logs and journals are read; without them those sources are down.
    """
    ends, sampled = time.monotonic() + ROUND, 0
    while due := windows.claim_due(clock.now()):
        for measured in sampling.measure_each(due, clock.now(), reach_of(due, hosts)):
            for deployment_id, lane in _judged(measured):
                hint(deployment_id, lane)
        sampled += len(due)
        if time.monotonic() > ends:
            break
    return sampled


def _judged(measured: sampling.Measured) -> list[tuple[str, str]]:
    """One window's judgement. What goes wrong in it is told, and never keeps the other windows from theirs."""
    try:
        return judge(measured)
    except DatabaseError as error:
        log.warning("a window could not be judged this time", window=measured.window.pk, error=str(error))
        return []
    except Exception as error:
        log.exception("a window could not be judged", window=measured.window.pk)
        deployment = Deployment.objects.get(pk=measured.window.subject)
        page(deployment, f"{deployment}: its monitoring window cannot be judged: {type(error).__name__}")
        return []


@transaction.atomic
def judge(measured: sampling.Measured) -> list[tuple[str, str]]:
    """Keep the samples, judge, and act on a verdict; the deployments to be woken."""
    deployment = locked(measured.window.subject)
    window = Window.objects.select_for_update().get(pk=measured.window.pk)
    if window.closed_at is not None or not opened.without_retired(window, deployment.installation):
        return []
    samples, window.readings = measured.against(window.readings)
    windows.store(window, samples)
    Window.objects.filter(pk=window.pk).update(readings=window.readings)
    now = clock.now()
    verdict = windows.verdict_of(window, now)
    if verdict.result == "open":
        return _still_open(window, verdict)
    if identity.now_and_doubt(deployment.installation_id)[1]:
        return []  # a window out of the past: its verdict waits until its hosts were compared with the record
    if verdict.result == "inconclusive":
        return _inconclusive(deployment, window, verdict, now)
    return _decided(deployment, window, verdict, verdict.result, now)


def _still_open(window: Window, verdict: Verdict) -> list[tuple[str, str]]:
    Window.objects.filter(pk=window.pk).update(record=verdict.record, held_since=None, cause="")
    return []


def _inconclusive(deployment: Deployment, window: Window, verdict: Verdict, now: datetime) -> list[tuple[str, str]]:
    """Could not be judged: by policy held, let go on flagged, or taken for a failure. Never silently either."""
    policy = policy_of(deployment.installation)
    since = window.held_since or now
    follows = verdicts.policy_for(verdict.cause, policy.on_unknown(), now, since)
    if follows.action == verdicts.HOLD or (follows.action == verdicts.CONTINUE and _for_a_person(deployment, window)):
        if window.held_since is None:
            told = f"{deployment}: the window cannot be judged ({verdict.cause}): {verdict.sentence}"
            page(deployment, told, severity="warning")
            record(
                deployment.stream, "window.held", AUREUS, window=window.pk, cause=verdict.cause, why=verdict.sentence
            )
        told_record = {**verdict.record, "policy": follows.sentence}
        Window.objects.filter(pk=window.pk).update(held_since=since, cause=verdict.cause, record=told_record)
        return []
    result = "pass" if follows.action == verdicts.CONTINUE else "fail"
    return _decided(deployment, window, verdict, result, now, because=follows.sentence)


def _for_a_person(deployment: Deployment, window: Window) -> bool:
    """Only a person lets this go on: it is watched while that person is waited for."""
    return deployment.steps.filter(window=window, kind="confirm").exists()


def _decided(
    deployment: Deployment, window: Window, verdict: Verdict, result: str, now: datetime, because: str = ""
) -> list[tuple[str, str]]:
    """Close the window; what it was opened for goes on, or back. `because`: it was a policy that decided."""
    flagged = bool(because) and result == "pass"
    kept = Window.Verdict.INCONCLUSIVE if flagged else result
    why = f"{verdict.sentence} {because}".strip()
    verdict.record["sentence"] = why
    if not windows.close(window, kept, verdict, now, flagged=flagged):
        return []
    record(deployment.stream, f"window.{kept}", AUREUS, window=window.pk, rule=verdict.rule, why=why[:500])
    if window.kind == Window.Kind.BAKE:
        return _bake_over(deployment, window, result, verdict, why)
    if result == "pass":
        if not flagged:
            opened.make_good(window)
        return []
    return _after_failed(deployment, window, why)


def _bake_over(
    deployment: Deployment, window: Window, result: str, verdict: Verdict, why: str
) -> list[tuple[str, str]]:
    step = deployment.steps.filter(window=window, status=StepStatus.PENDING).first()
    if step is None or deployment.status != Status.IN_PROGRESS:
        return []  # a worker holds it this very moment and will read the verdict, or nobody waits for it any more
    passed = Result.PASSED if result == "pass" else Result.FAILED
    answer = Answer(passed, why, permanent=True, rule=verdict.rule or "window", output={"window": window.pk})
    turn = answer_for(deployment, step, answer) or Turn(lane=deployment.lane)
    return [*turn.wake, (str(deployment.id), turn.lane or deployment.lane)]


def _after_failed(deployment: Deployment, window: Window, why: str) -> list[tuple[str, str]]:
    """The armed window after `deployed` failed: undo it now. A window that only holds and pages does just that."""
    if window.armed and deployment.status == Status.DEPLOYED and _current(deployment):
        rollback = undo(deployment, reason=why, actor=AUREUS)
        if rollback is not None:
            return [(str(rollback.id), "rollback")]
    not_undone(deployment, f"its monitoring window failed and nothing is undone by itself: {why}")
    return []


def _current(deployment: Deployment) -> bool:
    later = Deployment.objects.filter(
        MAY_BE_CURRENT, installation=deployment.installation_id, deployed_at__gt=deployment.deployed_at
    )
    return not later.exists()
