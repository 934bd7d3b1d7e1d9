"""What a worker does with a hint: wake the deployment, let claimed steps happen, settle, and go on while it may."""

from __future__ import annotations

import time
from collections.abc import Callable

from deployments import effects, lifecycle
from deployments.engine.settle import Answer
from deployments.lifecycle import Claim
from deployments.outside import Outside

Hint = Callable[[str, str], object]

BUDGET = 20.0
"""Seconds after which a worker hands the deployment on, so that its task ends well within its time limit."""


def work_on(deployment_id: str, lane: str, outside: Outside, hint: Hint, *, budget: float = BUDGET) -> int:
    """Carry a deployment as far as it goes in this lane; how many steps were settled."""
    ends, settled = time.monotonic() + budget, 0

    def settle(claim: Claim, answer: Answer) -> None:
        turn = lifecycle.settle(claim, answer)
        for other, its_lane in turn.wake if turn else ():
            hint(other, its_lane)

    while True:
        turn = lifecycle.advance(deployment_id, lane)
        for other, its_lane in turn.wake:
            hint(other, its_lane)
        if turn.again:
            hint(deployment_id, turn.lane)
        if not turn.claims:
            return settled
        effects.run(turn.claims, outside, settle)
        settled += len(turn.claims)
        if time.monotonic() > ends:
            hint(deployment_id, lane)
            return settled
