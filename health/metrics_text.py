"""The text format of Prometheus and OpenMetrics, read line by line. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_SERIES = 50_000
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\\n]|\\.)*)"\s*(,|(?=\}))')
_TYPE = re.compile(r"# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) ([a-z]+)\s*")
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


class MetricsInvalid(ValueError):
    """The text is no metrics text; the message names the line."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line: a name, its labels and a value."""

    name: str
    labels: dict[str, str]
    value: float


def parse(text: str, names: frozenset[str]) -> Iterator[Series]:
    """Read the series of the given names; other lines are only passed over. Raises MetricsInvalid."""
    found = 0
    for number, line in enumerate(text.split("\n"), start=1):
        match = _NAME.match(line)
        if match is None:
            if line.strip() and not line.startswith("#"):
                raise MetricsInvalid(f"Line {number} is no metric: {line[:60]!r}.")
            continue
        if match[0] in names:
            found += 1
            if found > MAX_SERIES:
                raise MetricsInvalid(f"There are more than {MAX_SERIES} series of the declared metrics.")
            yield _series(match[0], line[match.end() :], number)


def types(text: str, names: frozenset[str]) -> dict[str, str]:
    """What the text says that these metrics are: counter, gauge, histogram, …; OpenMetrics leaves out _total."""
    found = (_TYPE.fullmatch(line) for line in text.split("\n") if line.startswith("# TYPE "))
    return {
        name: match[2] for match in found if match for name in (match[1], f"{match[1]}_total", f"{match[1]}_bucket")
        if name in names
    }  # fmt: skip


def _series(name: str, rest: str, number: int) -> Series:
    labels: dict[str, str] = {}
    if rest.startswith("{"):
        labels, rest = _labels(rest[1:], number)
    # An exemplar after `#` and a time stamp after the value may follow.
    words = rest.partition(" # ")[0].split()
    try:
        return Series(name, labels, float(words[0]))
    except (IndexError, ValueError):
        raise MetricsInvalid(f"Line {number} has no value after {name}.") from None


def _labels(rest: str, number: int) -> tuple[dict[str, str], str]:
    labels: dict[str, str] = {}
    while not rest.lstrip().startswith("}"):
        match = _LABEL.match(rest)
        if match is None:
            raise MetricsInvalid(f"The labels of line {number} cannot be read.")
        labels[match[1]] = re.sub(r"\\.", lambda escape: _ESCAPES.get(escape[0], escape[0]), match[2])
        rest = rest[match.end() :]
    return labels, rest.lstrip()[1:]
