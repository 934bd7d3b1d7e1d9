"""Cobertura XML, as coverage.py, Istanbul, gcovr and coverlet write it. Pure.

Counted are the lines of classes; those of their methods are the same ones once more.
"""

from __future__ import annotations

from collections.abc import Mapping

from releases.reports import xml_events
from releases.reports.summaries import Coverage, ReportInvalid, lies

ROUNDED = 0.0051
"""A stated rate may be rounded to two digits."""


class _Cobertura:
    def __init__(self) -> None:
        self.covered = self.valid = 0
        self.stated: dict[str, int | None] = {}
        self.rate: float | None = None

    def start(self, path: list[str], attributes: Mapping[str, str]) -> None:
        if len(path) == 1:
            self._root(path[0], attributes)
        elif path[-3:] == ["class", "lines", "line"]:
            hits = xml_events.whole(attributes, "hits")
            if hits is None:
                raise ReportInvalid("the report has a line without hits")
            self.valid += 1
            self.covered += hits > 0

    def _root(self, name: str, attributes: Mapping[str, str]) -> None:
        if name != "coverage" or "line-rate" not in attributes:
            raise ReportInvalid("the report does not begin with <coverage line-rate=…>, as Cobertura's format does")
        self.stated = {one: xml_events.whole(attributes, one) for one in ("lines-covered", "lines-valid")}
        self.rate = _rate(attributes["line-rate"])

    def end(self, path: list[str]) -> None:
        """Everything is known at the start of an element."""

    def compare(self) -> Coverage:
        counted = {"lines-covered": self.covered, "lines-valid": self.valid}
        for name, stated in self.stated.items():
            if stated is not None and stated != counted[name]:
                raise lies(name, stated, counted[name])
        found = Coverage(self.covered, self.valid)
        if self.rate is not None and found.valid and abs(self.rate - found.rate) > ROUNDED:
            raise lies("line-rate", self.rate, round(found.rate, 4))
        return found


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0.0 <= rate <= 1.0:
        raise ReportInvalid(f'the report has line-rate="{text[:40]}", which is no number from 0 to 1')
    return rate


def parse(octets: bytes) -> Coverage:
    """Count the lines. Raises ReportInvalid."""
    found = _Cobertura()
    xml_events.read(octets, found)
    return found.compare()
