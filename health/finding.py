"""What one rule answers. Pure."""

import math
from dataclasses import dataclass
from typing import Any

PASS, FAIL, DEGRADED = "pass", "fail", "degraded"
AS_BEFORE, COMMON_CAUSE, NOT_APPLIED = "no worse than before", "common cause", "not applied"
DISAGREE, NOT_MEASURED = "sources disagree", "not measured"


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's answer. Times are seconds; `value` is None where nothing could be measured.

    `source` is what measured it, `cause` why a value that must be there is missing.
    """

    rule: str
    outcome: str
    because: str
    source: str = ""
    value: float | None = None
    threshold: float | None = None
    samples: int = 0
    baseline: str | None = None
    baseline_value: float | None = None
    cause: str = ""

    def as_record(self) -> dict[str, Any]:
        """Answer it for JSON, which knows no infinity: `above` then says so."""
        endless = self.value is not None and math.isinf(self.value)
        return {
            "rule": self.rule, "outcome": self.outcome, "because": self.because, "source": self.source,
            "value": None if endless else self.value, "above_largest_bucket": endless, "threshold": self.threshold,
            "samples": self.samples, "baseline": self.baseline,
            "baseline_value": self.baseline_value if self.baseline_value not in (None, math.inf) else None,
            "cause": self.cause,
        }  # fmt: skip
