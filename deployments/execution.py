"""What a worker does with a hint: wake the deployment, let claimed steps happen, settle, and go on while it may."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from deployments import effects, lifecycle
from deployments.effects import Boundary, Reached
from deployments.engine.settle import Answer
from deployments.lifecycle import Claim, Turn
from deployments.outside import Outside

Hint = Callable[[str, str], object]

BUDGET = 5.0
"""Seconds after which a worker hands the deployment on: a worker that is told to stop is free within this."""


def work_on(
    deployment_id: str,
    lane: str,
    outside: Outside,
    hint: Hint,
    *,
    budget: float = BUDGET,
    reached: Reached = effects.unwatched,
) -> int:
    """Carry a deployment as far as it goes in this lane; how many steps were settled.

    reached: told of every boundary at which this process might be lost.
    """
    ends, settled = time.monotonic() + budget, 0
    turn = lifecycle.advance(deployment_id, lane)
    while True:
        for other, its_lane in turn.wake:
            hint(other, its_lane)
        if turn.again:
            hint(deployment_id, turn.lane)
        if not turn.claims:
            return settled
        settled += len(turn.claims)
        more = lane if time.monotonic() < ends else None
        turn = _carry_out(turn.claims, more, outside, hint, reached) or lifecycle.advance(deployment_id, lane)


def _carry_out(
    claims: Sequence[Claim], lane: str | None, outside: Outside, hint: Hint, reached: Reached
) -> Turn | None:
    """Let claimed steps happen; what the last of them made possible, claimed in the transaction that settled it.

    Earlier ones claim nothing: a step must not lie in this worker's hands while it still waits for others.
    """
    left, last = len(claims), None

    def settle(claim: Claim, answer: Answer) -> None:
        nonlocal left, last
        left -= 1
        reached(Boundary.BEFORE_SETTLE, claim.kind)
        last = lifecycle.settle(claim, answer, lane if left == 0 else None)
        reached(Boundary.AFTER_SETTLE, claim.kind)
        for other, its_lane in last.wake if last and left else ():
            hint(other, its_lane)

    for claim in claims:
        reached(Boundary.AFTER_CLAIM, claim.kind)
    effects.run(claims, outside, settle, reached)
    return last
