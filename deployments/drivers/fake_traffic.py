"""A balancer in memory, which keeps the contract of the real ones: for tests, drills and the simulator."""

from __future__ import annotations

from collections.abc import Mapping

from deployments.drivers.traffic import TrafficError, carried_over, check_weights


class FakeTraffic:
    """Weights in memory under a fence.

    `flights` holds requests in flight (None is unknown), `changes` what was set, `lacks` what its host lacks. `spoilt`
    says that somebody edited its file, `forgot` that it does not know us any more.
    """

    lossless = True
    moves = True
    sticky = False

    def __init__(self, endpoints: Mapping[str, str] | None = None, weights: Mapping[str, int] | None = None) -> None:
        self.endpoints = dict(endpoints or {})
        self.weights = {name: (weights or {}).get(name, 0) for name in self.endpoints}
        self.flights: dict[str, int | None] = {}
        self.changes: list[tuple[int, dict[str, int]]] = []
        self.fence = 0
        self.down = self.spoilt = self.forgot = False
        self.lacks: tuple[tuple[str, str], ...] = ()

    def read(self) -> dict[str, int]:
        self._answer()
        if self.forgot:
            raise TrafficError("The balancer routes by nothing of ours.", code="not_ours")
        return dict(self.weights)

    def set_weights(self, weights: Mapping[str, int], *, fence: int) -> None:
        self._answer()
        check_weights(weights, self.weights)
        self._pass_fence(fence)
        self.weights, self.spoilt = dict(weights), False
        self.changes.append((fence, dict(weights)))

    def in_flight(self, endpoint: str) -> int | None:
        return self.flights.get(endpoint, 0) if endpoint in self.weights and not self.down else None

    def ensure(self, endpoints: Mapping[str, str], *, fence: int, initial: Mapping[str, int] | None = None) -> bool:
        self._answer()
        weights = carried_over({} if self.forgot else self.weights, endpoints, initial)
        if endpoints == self.endpoints and not self.forgot:
            return False
        self._pass_fence(fence)
        self.endpoints, self.weights, self.forgot = dict(endpoints), weights, False
        return True

    def verify(self, weights: Mapping[str, int]) -> bool:
        return self.read() == dict(weights)

    def edited(self, weights: Mapping[str, int]) -> bool:
        self._answer()
        return self.spoilt

    def shortcomings(self) -> tuple[tuple[str, str], ...]:
        return self.lacks

    def _answer(self) -> None:
        if self.down:
            raise TrafficError("The balancer does not answer.", code="unreachable", retry=True)

    def _pass_fence(self, fence: int) -> None:
        if fence < self.fence:
            raise TrafficError(f"The balancer has seen fence {self.fence}; {fence} is stale.", code="stale_fence")
        self.fence = fence
