"""XML as a stream of events, in constant memory: no tree, no entity, nothing fetched. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from xml.parsers import expat

from releases.reports.summaries import ReportInvalid

PIECE = 65_536
MAX_DEPTH = 100
MAX_ELEMENTS = 1_000_000
MAX_NAMES = 1_000
"""Different names of elements and attributes: the parser remembers each."""
MAX_TOKEN = 2 * 2**20
"""Bytes of one tag or comment: the parser holds it whole, with every attribute."""
ENCODINGS = frozenset({"utf-8", "utf-16", "us-ascii"})


class Events(Protocol):
    """What a format does with the events. `path` holds the names of the open elements, the newest last."""

    def start(self, path: list[str], attributes: Mapping[str, str]) -> None:
        """An element was opened; it is the last of the path."""
        ...

    def end(self, path: list[str]) -> None:
        """The last element of the path is closed."""
        ...


def read(octets: bytes, events: Events) -> None:
    """Play a document to its end. Raises ReportInvalid.

    A document type that names a public DTD is passed over, since tools write one and nothing is ever fetched; one that
    declares anything is refused, and so is every entity but those of XML itself.
    """
    _Reading(events).play(octets)


class _Reading:
    def __init__(self, events: Events) -> None:
        self.events = events
        self.path: list[str] = []
        self.elements = 0
        self.names: set[str] = set()
        self.parser = expat.ParserCreate(intern=None)
        self.parser.XmlDeclHandler = self.declared
        self.parser.StartDoctypeDeclHandler = self.doctype
        self.parser.EntityDeclHandler = self.entity
        self.parser.SkippedEntityHandler = self.entity
        self.parser.ExternalEntityRefHandler = self.outside
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end

    def play(self, octets: bytes) -> None:
        try:
            for at in range(0, len(octets), PIECE):
                self.parser.Parse(octets[at : at + PIECE], False)
                if at + PIECE - self.parser.CurrentByteIndex > MAX_TOKEN:
                    raise ReportInvalid(f"the report has a tag or comment of more than {MAX_TOKEN} bytes")
            self.parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise ReportInvalid(f"the report is not whole XML: {error}") from None

    def declared(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ENCODINGS:
            raise ReportInvalid(f"the report is encoded as {encoding[:40]}: write it as UTF-8")

    def doctype(self, name: str, system: str | None, public: str | None, has_subset: int) -> None:
        if has_subset:
            raise ReportInvalid("the report declares a document type of its own: no such XML is read")

    def entity(self, *_: object) -> None:
        raise ReportInvalid("the report declares or uses XML entities: no such XML is read")

    def outside(self, *_: object) -> int:
        raise ReportInvalid("the report uses an XML entity from elsewhere: no such XML is read")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.path.append(name.rpartition(":")[2])
        self.elements += 1
        if len(self.path) > MAX_DEPTH:
            raise ReportInvalid(f"the report is nested deeper than {MAX_DEPTH} elements")
        if self.elements > MAX_ELEMENTS:
            raise ReportInvalid(f"the report has more than {MAX_ELEMENTS} elements: send it in parts, each a subject")
        self.names.add(name)
        self.names.update(attributes)
        if len(self.names) > MAX_NAMES:
            raise ReportInvalid(f"the report has more than {MAX_NAMES} names of elements and attributes")
        self.events.start(self.path, attributes)

    def end(self, name: str) -> None:
        self.events.end(self.path)
        self.path.pop()


def whole(attributes: Mapping[str, str], name: str) -> int | None:
    """A count among attributes; None where it is not there. Raises ReportInvalid."""
    text = attributes.get(name)
    if text is None or text == "":
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ReportInvalid(f'the report has {name}="{text[:40]}", which is no whole number')
    return int(text)
