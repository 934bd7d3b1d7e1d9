"""What a configured text may mean: one parser per kind; ValueError says in plain words what is allowed."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Kind:
    name: str
    parse: Callable[[str], Any]


SIZES = {"b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3, "tb": 1024**4}
SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off"}:
        return False
    raise ValueError("must be true or false")


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text.strip()) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _measured(units: dict[str, int], unit: str, example: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        found = re.fullmatch(r"([0-9]{1,12})\s*([a-z]*)", text.strip().lower())
        if not found or (found[2] or unit) not in units or int(found[1]) == 0:
            raise ValueError(f"must be a number above 0 with one of {', '.join(units)}, such as {example}")
        return int(found[1]) * units[found[2] or unit]

    return parse


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _url(schemes: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        try:
            parts = urlsplit(text)
            named = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            named = False
        if not named:
            raise ValueError(
                f"must be an address that begins with {' or '.join(s + '://' for s in schemes)} and names a host"
            )
        return text

    return parse


def _store(text: str) -> str:
    chosen = text.strip()
    if chosen == "directory":
        return chosen
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()-]+)*/?", chosen):
        raise ValueError("must be directory, s3://bucket or s3://bucket/prefix")
    return chosen.rstrip("/")


def _fraction(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text.strip()) or not low <= float(text) <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return float(text)

    return parse


def _each(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: tuple(parse(word) for word in _words(text))


def one_of(*allowed: str) -> Kind:
    """A word out of a closed list, in any case."""

    def parse(text: str) -> str:
        if text.strip().lower() not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return text.strip().lower()

    return Kind(" \\| ".join(allowed), parse)


def whole(low: int, high: int) -> Kind:
    return Kind(f"number {low}-{high}", _whole(low, high))


def fraction(low: float, high: float) -> Kind:
    return Kind(f"number {low:g}-{high:g}", _fraction(low, high))


TEXT = Kind("text", str)
BOOLEAN = Kind("true \\| false", _boolean)
PORT = Kind("port", _whole(1, 65535))
SIZE = Kind("size", _measured(SIZES, "b", "10mb"))
SPAN = Kind("time span", _measured(SPANS, "s", "24h"))
WORDS = Kind("comma-separated list", _words)
FOLDER = Kind("folder", str)
HTTP = Kind("http(s) address", _url(("http", "https")))
HTTPS = Kind("comma-separated http(s) addresses", _each(_url(("http", "https"))))
POSTGRES = Kind("PostgreSQL address", _url(("postgresql", "postgres")))
REDIS = Kind("Redis address", _url(("redis", "rediss")))
STORE = Kind("directory \\| s3://bucket/prefix", _store)
