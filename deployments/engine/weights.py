"""What traffic every endpoint should have, from what is known of the hosts now."""

from __future__ import annotations

from collections.abc import Collection, Mapping

FULL = 100
"""The weight of an endpoint that takes its whole share."""


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

    What is desired may never have become live: who is sick by now must not come in with the others.
    """
    return {name: FULL if name in proven else 0 if name in group else was for name, was in weights.items()}


def towards(weights: Mapping[str, int], proven: Collection[str], changed: Collection[str]) -> dict[str, int] | None:
    """Traffic to the proven side, away from the changed one; None where no host is proven: any move would be a guess.

    Who was not changed and does not answer just now keeps its weight: nobody would put it back in.
    """
    if not proven:
        return None
    return {name: FULL if name in proven else 0 if name in changed else was for name, was in weights.items()}
