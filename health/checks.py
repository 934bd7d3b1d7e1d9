"""Rules that a user declares: a query, a comparison, a bound, and how many of its readings may fail. Pure."""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from health.finding import FAIL, NOT_APPLIED, NOT_MEASURED, PASS, Finding
from health.measured import ABSENT, CHECK, DOWN, STALE, VALUE, Sample

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
SOURCES = ("prometheus", "journal")
NAME = re.compile(r"[a-z][a-z0-9_-]*")
LONGEST_NAME, LONGEST_QUERY = 60, 2000
MOST = 20
LEFT_OUT = {"source": "prometheus", "query": ""}
"""What a declaration may leave out: a check of the journal has no query."""
MOST_FAILURES = 100_000


class ChecksInvalid(ValueError):
    """Checks that cannot be used; `errors` names each entry and what is wrong with it."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{path}: {message}" for path, message in errors))


@dataclass(frozen=True, slots=True)
class Check:
    """A reading is good when `value comparison bound` holds, so `latency < 0.5` is written as it should be.

    failures_allowed: so many readings of a window may fail. consecutive: so many may fail in a row; None: no limit
    of its own. required: without a fresh value nothing passes; otherwise a missing value says nothing.
    """

    name: str
    source: str
    query: str
    comparison: str
    bound: float
    failures_allowed: int = 0
    consecutive: int | None = None
    required: bool = True

    @property
    def rule(self) -> str:
        """Its name among the rules, and as the source of its samples."""
        return CHECK + self.name

    def as_json(self) -> dict[str, Any]:
        """As it is declared, with every default."""
        return asdict(self)


def read_checks(declared: object) -> tuple[Check, ...]:
    """Checks from plain values. Raises ChecksInvalid with everything that is wrong."""
    if not isinstance(declared, list | tuple):
        raise ChecksInvalid([("checks", "must be a list of checks")])
    errors: list[tuple[str, str]] = []
    if len(declared) > MOST:
        errors.append(("checks", f"must be at most {MOST}"))
    found = [_read(one, f"checks[{position}]", errors) for position, one in enumerate(declared[:MOST])]
    names = [check.name for check in found if check]
    errors += [("checks", f"{name} stands here twice") for name in sorted(set(names)) if names.count(name) > 1]
    if errors:
        raise ChecksInvalid(errors)
    return tuple(check for check in found if check)


def kept_checks(stored: Sequence[Mapping[str, Any]]) -> tuple[Check, ...]:
    """Checks as a row keeps them; what else stands there, such as how they are measured, is left out."""
    known = {f.name for f in fields(Check)}
    return tuple(Check(**{**LEFT_OUT, **{k: v for k, v in one.items() if k in known}}) for one in stored)


def _read(declared: object, path: str, errors: list[tuple[str, str]]) -> Check | None:
    if not isinstance(declared, Mapping):
        errors.append((path, "must be a mapping with name, source, query, comparison and bound"))
        return None
    known = {f.name for f in fields(Check)}
    missing = [name for name in ("name", "comparison", "bound") if name not in declared]
    if "query" not in declared and declared.get("source") != "journal":
        missing.append("query")
    wrong = [(name, "must be given") for name in missing]
    wrong += [(str(name), "there is no such field of a check") for name in declared if name not in known]
    wrong += [(name, _WRONG[name]) for name, value in declared.items() if name in _FITS and not _FITS[name](value)]
    total, run = declared.get("failures_allowed", 0), declared.get("consecutive")
    if not wrong and run is not None and run > total:
        wrong.append(("consecutive", f"must not be above failures_allowed ({total}), which would end it first"))
    errors += [(f"{path}.{name}", message) for name, message in wrong]
    return None if wrong else Check(**{**LEFT_OUT, **declared})


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MOST_FAILURES


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "name": lambda v: isinstance(v, str) and len(v) <= LONGEST_NAME and bool(NAME.fullmatch(v)),
    "source": lambda v: isinstance(v, str) and v in SOURCES,
    "query": lambda v: isinstance(v, str) and len(v) <= LONGEST_QUERY,
    "comparison": lambda v: isinstance(v, str) and v in COMPARISONS,
    "bound": _is_number,
    "failures_allowed": _is_count,
    "consecutive": lambda v: v is None or _is_count(v),
    "required": lambda v: isinstance(v, bool),
}
_WRONG = {
    "name": f"must be lower-case letters, digits, dashes and underscores, at most {LONGEST_NAME}",
    "source": f"must be one of {', '.join(SOURCES)}",
    "query": f"must be text of at most {LONGEST_QUERY} characters",
    "comparison": f"must be one of {', '.join(COMPARISONS)}",
    "bound": "must be a finite number",
    "failures_allowed": f"must be a whole number from 0 to {MOST_FAILURES}",
    "consecutive": f"must be a whole number from 0 to {MOST_FAILURES}, or left out",
    "required": "must be true or false",
}


def evaluate(checks: Sequence[Check], samples: Sequence[Sample], now: datetime, stale_seconds: float) -> list[Finding]:
    """One finding per check. `samples` are those of the window, oldest first; no value is never a pass."""
    return [
        _finding(
            check,
            [s for s in samples if s.source == check.rule and not s.endpoint],
            now,
            timedelta(seconds=stale_seconds),
        )
        for check in checks
    ]


def _finding(check: Check, samples: Sequence[Sample], now: datetime, limit: timedelta) -> Finding:
    readings = [(s.at, s.value) for s in samples if s.kind == VALUE and s.value is not None and math.isfinite(s.value)]
    good = [COMPARISONS[check.comparison](value, check.bound) for _, value in readings]
    failed, in_a_row = good.count(False), _longest_run(good)
    value = readings[-1][1] if readings else None
    outcome, because, cause = PASS, "", ""
    if failed > check.failures_allowed:
        outcome = FAIL
        because = f"{failed} of {len(good)} readings failed; {check.failures_allowed} may."
    elif check.consecutive is not None and in_a_row > check.consecutive:
        outcome = FAIL
        because = f"{in_a_row} readings failed in a row; {check.consecutive} may."
    elif not readings or now - readings[-1][0] > limit:
        cause, because = _missing(check, samples, readings[-1][0] if readings else None, now)
        outcome = NOT_MEASURED if check.required else NOT_APPLIED
    else:
        because = f"{failed} of {len(good)} readings failed."
    newest = "unknown" if value is None else f"{value:g}"
    because = f"{check.name} (wanted {check.comparison} {check.bound:g}, newest value {newest}): {because}"
    cause = cause if outcome == NOT_MEASURED else ""
    return Finding(check.rule, outcome, because, check.source, value, check.bound, len(good), cause=cause)


def _missing(check: Check, samples: Sequence[Sample], last: datetime | None, now: datetime) -> tuple[str, str]:
    """Answer (cause, sentence) of a value that is not there."""
    newest = samples[-1].kind if samples else None
    if newest is None:
        return "no_data", f"{check.source} was not asked yet."
    if newest == DOWN:
        return "source_down", f"{check.source} does not answer."
    if newest == STALE:
        return "stale", f"{check.source} answers with something old."
    if last is not None and newest == VALUE and samples[-1].at == last:
        return "stale", f"The newest value is {(now - last).total_seconds():.0f} s old."
    said = "without a value" if newest == ABSENT else "with a value that is no number"
    return "no_data", f"{check.source} answers {said}."


def _longest_run(good: Sequence[bool]) -> int:
    longest = run = 0
    for one in good:
        run = 0 if one else run + 1
        longest = max(longest, run)
    return longest
