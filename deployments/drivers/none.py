"""No balancer: hosts are deployed to one by one, and no traffic can be moved."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from deployments.drivers.traffic import TrafficError, check_weights


class NoTraffic:
    """Every endpoint serves, always; anything else is refused. Nothing is known of requests in flight."""

    lossless = False
    moves = False
    sticky = False

    def __init__(self, endpoints: Collection[str]) -> None:
        self._endpoints = tuple(endpoints)

    def read(self) -> dict[str, int]:
        return dict.fromkeys(self._endpoints, 1)

    def set_weights(self, weights: Mapping[str, int], *, fence: int) -> None:
        check_weights(weights, self._endpoints)
        if len(set(weights.values())) > 1:
            sentence = "This installation has no balancer, so no host can be taken out: give all hosts the same weight."
            raise TrafficError(sentence, code="no_balancer")

    def in_flight(self, endpoint: str) -> int | None:
        return None

    def ensure(self, endpoints: Mapping[str, str], *, fence: int, initial: Mapping[str, int] | None = None) -> bool:
        changed = set(endpoints) != set(self._endpoints)
        self._endpoints = tuple(endpoints)
        return changed

    def verify(self, weights: Mapping[str, int]) -> bool:
        return set(weights) == set(self._endpoints) and len(set(weights.values())) == 1 and any(weights.values())

    def edited(self, weights: Mapping[str, int]) -> bool:
        return False

    def shortcomings(self) -> tuple[tuple[str, str], ...]:
        return ()
