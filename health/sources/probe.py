"""Asking a host's health address: does it answer, and with which version?"""

import json
import re
from dataclasses import dataclass
from typing import Any

from aureus.fetch import Answer, FetchError, fetch
from releases.spec import number_of

TIMEOUT = 5.0
MAX_BYTES = 262_144
FIELD = ".version"
_STEP = re.compile(r"\.?([A-Za-z0-9_-]+)|\[([0-9]+)\]")


@dataclass(frozen=True, slots=True)
class Observation:
    """What one probe saw. `version` is what the health answer declares; `why` says what is wrong when unhealthy."""

    healthy: bool
    version: str | None
    seconds: float | None
    why: str


@dataclass(frozen=True, slots=True)
class HealthAnswer:
    """Whether a host is healthy with the expected version; `why` is a sentence either way."""

    healthy: bool
    version: str | None
    why: str
    seconds: float | None = None


def probe(url: str, *, field: str = FIELD, timeout: float = TIMEOUT) -> Observation:
    """Ask once; every answer but 2xx is unhealthy, and so is none. The host is a declared one. Never raises."""
    try:
        answer = fetch("GET", url, timeout=timeout, max_bytes=MAX_BYTES, allow_private=True)
    except FetchError as error:
        return Observation(False, None, None, error.sentence)
    version = version_in(answer, field) if field else None
    if not answer.ok:
        return Observation(False, version, answer.seconds, f"{url} answered {answer.status} instead of 2xx.")
    return Observation(True, version, answer.seconds, "")


def check_health(
    url: str, expected_version: str | None, *, field: str = FIELD, timeout: float = TIMEOUT
) -> HealthAnswer:
    """Say whether a host is healthy *with the expected version*: a number (1.2.3) or a content (1.2.3-0123456789ab).

    None, or an empty `field`, asks for health alone: the weaker proof that an installation must have declared.
    """
    seen = probe(url, field=field, timeout=timeout)
    if not seen.healthy:
        return HealthAnswer(False, seen.version, seen.why, seen.seconds)
    if not expected_version or not field:
        return HealthAnswer(True, seen.version, "It is healthy; no version was asked for.", seen.seconds)
    if seen.version is None:
        why = f"It is healthy, but its answer has no {field}, so the version cannot be proven."
        return HealthAnswer(False, None, why, seen.seconds)
    if not is_same(seen.version, expected_version):
        why = f"It is healthy, but runs {seen.version}, not {expected_version}."
        return HealthAnswer(False, seen.version, why, seen.seconds)
    return HealthAnswer(True, seen.version, f"It is healthy and runs {seen.version}.", seen.seconds)


def is_same(seen: str, expected: str) -> bool:
    """Compare a declared version with an expected one. Two contents must agree in full; a number may stand for one."""
    seen, expected = seen.removeprefix("v"), expected.removeprefix("v")
    return seen == expected or number_of(seen) == expected or seen == number_of(expected)


def version_in(answer: Answer, field: str) -> str | None:
    """Answer the text or number that a path such as `.build.version` or `.apps[0].version` leads to."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    for key, position in _STEP.findall(field.removeprefix("$")):
        value = _step(value, key, position)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)[:200]
    return None


def _step(value: Any, key: str, position: str) -> Any:
    if key and isinstance(value, dict):
        return value.get(key)
    if position and isinstance(value, list) and int(position) < len(value):
        return value[int(position)]
    return None
