"""Every number that rules are judged by, and which numbers can hold. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Rules:
    """Every threshold. The first eight come from the deployment guide, the rest say how much evidence they need.

    max_error_rate, max_p95: success is an error rate below the one and a p95 (seconds) below the other.
    rollback_error_rate, latency_ratio, latency_floor: failed above this rate, or at a p95 that is more than this
    share and at least this many seconds above the baseline's. unhealthy_seconds: failed when a host is unhealthy so
    long. hard_stop_share, hard_stop_requests, hard_stop_probes: failed at once when this share of so many requests
    fails, or all hosts' probes fail so many times in a row. min_requests: rates of fewer pass nothing. min_probes:
    so many probes without a failure may pass a quiet service alone. recent_seconds: rates are also judged over this
    newest stretch, so that a long good time does not hide a bad end. stale_seconds: older measurements count as none.
    noise_sigmas, noise_latency: within these of the baseline is no worse than before. alpha: at most this share of
    windows of a well version fails for its error rate. pass_confidence: how sure a pass is that fewer than
    `tolerated` fail. blip_seconds: the errors of one stretch this long are not enough for a failure.
    """

    max_error_rate: float = 0.01
    max_p95: float = 0.5
    rollback_error_rate: float = 0.05
    latency_ratio: float = 0.5
    latency_floor: float = 0.05
    unhealthy_seconds: float = 300
    hard_stop_share: float = 0.5
    hard_stop_requests: int = 10
    hard_stop_probes: int = 2
    min_requests: int = 100
    min_probes: int = 30
    recent_seconds: float = 300
    stale_seconds: float = 90
    noise_sigmas: float = 2
    noise_latency: float = 0.1
    alpha: float = 0.01
    pass_confidence: float = 0.95
    blip_seconds: float = 60

    @property
    def tolerated(self) -> float:
        """The line between well and failed that both tests are held against: midway between success and rollback."""
        return (self.max_error_rate + self.rollback_error_rate) / 2


NAMES = frozenset(f.name for f in fields(Rules))
COUNTS = ("hard_stop_requests", "hard_stop_probes", "min_requests", "min_probes")
SHARES = ("max_error_rate", "rollback_error_rate", "hard_stop_share")
OPEN_SHARES = ("alpha", "pass_confidence")
SPANS = ("recent_seconds", "stale_seconds", "blip_seconds")
LARGEST = 1e9


def wrong(declared: object) -> list[str]:
    """Everything about declared thresholds that cannot hold, each as a sentence that names it."""
    if not isinstance(declared, Mapping):
        return ["must map rules to numbers"]
    unknown = sorted(str(name) for name in declared if name not in NAMES)
    if unknown:
        return [f"there is no rule {', '.join(unknown)}; there is: {', '.join(sorted(NAMES))}"]
    found = [f"{name} {message}" for name, value in declared.items() if (message := _unfit(name, value))]
    if found:
        return found
    rules = Rules(**declared)
    if rules.max_error_rate > rules.rollback_error_rate:
        found.append("max_error_rate must not be above rollback_error_rate")
    return found


def kept(stored: Mapping[str, object]) -> Rules:
    """Thresholds as a row keeps them; what this version does not know is left out."""
    return Rules(**{name: value for name, value in stored.items() if name in NAMES})  # type: ignore[arg-type]


def _unfit(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "must be a number"
    if not 0 <= value < LARGEST:
        return "must be a number that is not negative"
    if name in COUNTS and (type(value) is not int or value < 1):
        return "must be a whole number of at least 1"
    if name in SHARES and value > 1:
        return "must be a share from 0 to 1"
    if name in OPEN_SHARES and not 0 < value < 1:
        return "must lie between 0 and 1"
    if name in SPANS and value < 1:
        return "must be at least 1 second"
    return ""
