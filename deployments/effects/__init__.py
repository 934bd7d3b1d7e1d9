"""One function per kind of step, and the one table of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from enum import StrEnum

import structlog
from django.db import connections

from deployments.drivers import HostError
from deployments.effects import on_balancer, on_host, on_version
from deployments.effects.work import Work
from deployments.engine.settle import Answer, failed
from deployments.leases import Heartbeat
from deployments.lifecycle import Claim
from deployments.models import Step
from deployments.outside import Outside, address_of, site_of

log = structlog.get_logger(__name__)

RUN: dict[str, Callable[[Work], Answer]] = {
    "check": on_host.check,
    "look": on_host.look,
    "prepare": on_host.prepare,
    "activate": on_host.activate,
    "verify": on_host.verify,
    "take_out": on_balancer.take_out,
    "drain": on_balancer.drain,
    "put_in": on_balancer.put_in,
    "weigh": on_balancer.weigh,
    "switch": on_balancer.switch,
    "shift": on_balancer.shift,
    "backup": on_version.backup,
    "migrate": on_version.migrate,
    "hook": on_version.hook,
    "watch": on_version.watch,
    "confirm": on_version.confirm,
    "rest": on_version.rest,
    "smoke": on_version.smoke,
}


class Boundary(StrEnum):
    """The instants at which the loss of a worker leaves a step in another state."""

    AFTER_CLAIM = "after claim"
    BEFORE_EFFECT = "before effect"
    AFTER_EFFECT = "after effect"
    BEFORE_SETTLE = "before settle"
    AFTER_SETTLE = "after settle"


Reached = Callable[[Boundary, str], object]
"""Told of each boundary and the kind of the step that has come to it."""


def unwatched(boundary: Boundary, kind: str) -> None:
    """Nobody wants to know."""


def run(
    claims: Sequence[Claim],
    outside: Outside,
    settle: Callable[[Claim, Answer], None],
    reached: Reached = unwatched,
) -> None:
    """Let the effects of claimed steps happen side by side, and settle each as soon as it has answered."""
    with Heartbeat({c.step_id: c.fence for c in claims}) as heartbeat:
        if len(claims) == 1:
            answer = run_one(claims[0], outside, heartbeat, reached)
            heartbeat.done(claims[0].step_id)
            settle(claims[0], answer)
            return
        with ThreadPoolExecutor(len(claims), thread_name_prefix="effect") as pool:
            waiting = {pool.submit(_in_thread, claim, outside, heartbeat, reached): claim for claim in claims}
            for done in as_completed(waiting):
                heartbeat.done(waiting[done].step_id)
                settle(waiting[done], done.result())


def _in_thread(claim: Claim, outside: Outside, heartbeat: Heartbeat, reached: Reached) -> Answer:
    try:
        return run_one(claim, outside, heartbeat, reached)
    finally:
        connections.close_all()


def run_one(claim: Claim, outside: Outside, heartbeat: Heartbeat, reached: Reached = unwatched) -> Answer:
    """One effect's answer."""
    step = Step.objects.get(pk=claim.step_id)
    reached(Boundary.BEFORE_EFFECT, step.kind)
    answer = _answer(Work(step, claim.fence, outside, lambda: heartbeat.lost(claim.step_id)))
    reached(Boundary.AFTER_EFFECT, step.kind)
    return answer


def _answer(work: Work) -> Answer:
    """Whatever goes wrong outside is an answer too: nothing is lost by an exception."""
    step = work.step
    try:
        if work.deployment.abort_reason:
            return stop(work)
        return RUN[step.kind](work)
    except HostError as error:
        return failed(error.sentence, permanent=not error.retry, rule=error.code, output=dict(error.detail))
    except Exception as error:
        log.exception("an effect failed unforeseen", step=step.pk, kind=step.kind)
        return failed(f"{type(error).__name__}: {error}", rule="unforeseen")


def stop(work: Work) -> Answer:
    """What a claimed step of an aborted deployment does instead: end what is left of it on its host."""
    if name := work.step.target or work.step.input.get("endpoint"):
        endpoint = work.targets[name].endpoint
        address, site = address_of(endpoint.host), site_of(endpoint)
        work.outside.hosts.stop(address, site, fence=work.fence, key=f"{work.key}:stop")
    return failed(f"stopped: {work.deployment.abort_reason}", over=True, rule="abort")
