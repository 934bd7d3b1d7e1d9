"""What traffic every endpoint should have, from what is known of the hosts now."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import cache

FULL = 100
"""The weight of an endpoint that takes its whole share."""
HEAVIEST = 256
"""The largest weight that every balancer takes."""


class NobodyLeft(ValueError):
    """The change would leave no endpoint serving."""


def taken_out(weights: Mapping[str, int], out: Collection[str]) -> dict[str, int]:
    """The weights with some endpoints at 0. Raises NobodyLeft rather than leave nobody."""
    changed = {name: 0 if name in out else weight for name, weight in weights.items()}
    if any(weights.values()) and not any(changed.values()):
        raise NobodyLeft("this would take the last serving host out of the balancer")
    return changed


def put_in(weights: Mapping[str, int], proven: Collection[str], group: Collection[str]) -> dict[str, int]:
    """The weights with those of a group that were proven healthy just now at their full share, and its others at 0.

    What is desired may never have become live: who is sick by now must not come in with the others. A canary's
    shares end here: who serves has its full share again.
    """
    return {name: FULL if name in proven or (was and name not in group) else 0 for name, was in weights.items()}


def towards(weights: Mapping[str, int], proven: Collection[str], changed: Collection[str]) -> dict[str, int] | None:
    """Traffic to the proven side, away from the changed one; None where no host is proven: any move would be a guess.

    Who was not changed and does not answer just now goes on serving: nobody would put it back in.
    """
    return put_in(weights, proven, [*changed, *proven]) if proven else None


def without(wanted: Mapping[str, int], owed: Collection[str], before: Mapping[str, int]) -> dict[str, int]:
    """The weights without owed hosts, unless nobody else would serve: then those of them that serve already go on."""
    clean = {name: 0 if name in owed else weight for name, weight in wanted.items()}
    if any(clean.values()):
        return clean
    going_on = {name: weight if before.get(name) else 0 for name, weight in wanted.items()}
    return going_on if any(going_on.values()) else dict(wanted)


def shared(weights: Mapping[str, int], new: Collection[str], share: int, fleet: int) -> dict[str, int]:
    """The weights with `share` percent of the traffic for those of the new version among who serves.

    fleet: hosts that the traffic is made for; of N hosts at least ceil(w·N) must have the version that is given w
    percent, so that the hosts of a small side are never overrun: where fewer do, they get what they can carry. Where
    one side serves nothing the other has everything.
    """
    old = [name for name, weight in weights.items() if weight and name not in new]
    fresh = [name for name, weight in weights.items() if weight and name in new]
    if fresh and share >= 100:
        return {name: FULL if name in fresh else 0 for name in weights}
    if not old or not fresh:
        return {name: FULL if weight else 0 for name, weight in weights.items()}
    one, other = _weights(min(share, max(1, 100 * len(fresh) // max(fleet, 1))), len(fresh), len(old))
    return {name: 0 if not weight else one if name in new else other for name, weight in weights.items()}


@cache
def _weights(share: int, fresh: int, old: int) -> tuple[int, int]:
    """Two whole weights up to HEAVIEST that come nearest to a share, the smallest of those."""
    if share <= 0:
        return 0, FULL
    wanted = share / 100
    pairs = ((a, b) for a in range(1, HEAVIEST + 1) for b in _beside(a * fresh * (1 - wanted) / (wanted * old)))
    return min(pairs, key=lambda pair: (abs(_part(pair, fresh, old) - wanted), sum(pair)))


def _beside(exact: float) -> tuple[int, ...]:
    near = (math.floor(exact), math.ceil(exact))
    return tuple(min(max(whole, 1), HEAVIEST) for whole in near)


def _part(pair: tuple[int, int], fresh: int, old: int) -> float:
    return pair[0] * fresh / (pair[0] * fresh + pair[1] * old)
