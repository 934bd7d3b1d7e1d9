"""Queries with placeholders: each value goes into a PromQL string, escaped for where it stands. Pure."""

import re
from collections.abc import Collection, Iterator, Mapping

MOST = 2000
"""Characters of one query."""
OF_ENDPOINT = frozenset({"address", "application", "content", "endpoint", "environment", "host", "port", "slot",
                         "version", "window"})  # fmt: skip
OF_VERSION = frozenset({"application", "content", "environment", "hosts", "instances", "version", "window"})
"""`hosts` and `instances` (address:port) name all of them, for a matcher with =~."""
LISTS = frozenset({"hosts", "instances"})
DURATIONS = frozenset({"window"})
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PIECE = re.compile(
    r"""(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<raw>`[^`]*`)|(?P<comment>\#[^\n]*)|(?P<open>["'`])|(?P<plain>[^"'`#]+)""",
    re.S,
)
_SELECTOR = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*(\{[^{}]*\})?\s*")
_MATCHER = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)\s*$")
_CHANGES = re.compile(r"\b(rate|irate|increase|delta|idelta|deriv|resets)\s*\(")
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")


class TemplateInvalid(ValueError):
    """The query cannot be used as it stands; the message says what to change."""


def check(template: str, known: Collection[str] = OF_ENDPOINT) -> None:
    """Refuse an unknown placeholder, and one where its value could become part of the query. Raises TemplateInvalid."""
    if not isinstance(template, str) or not template.strip() or len(template) > MOST:
        raise TemplateInvalid(f"must be a query of at most {MOST} characters")
    for name, inside, regex in _placeholders(template):
        if name not in known:
            raise TemplateInvalid(f"knows no {{{name}}}; it knows {', '.join(f'{{{n}}}' for n in sorted(known))}")
        if not inside and name not in DURATIONS:
            raise TemplateInvalid(f'{{{name}}} must stand in quotes, such as instance="{{{name}}}"')
        if name in LISTS and not regex:
            raise TemplateInvalid(f'{{{name}}} names several: it must stand behind =~, such as instance=~"{{{name}}}"')


def check_counter(template: str) -> None:
    """Refuse what is no counter any more. Raises TemplateInvalid."""
    check(template)
    if found := _CHANGES.search(template):
        raise TemplateInvalid(f"must give the counter itself, without {found[1]}(): Aureus subtracts by itself")


def check_selector(template: str) -> None:
    """Demand one plain selector: only of that does Prometheus tell when it was measured. Raises TemplateInvalid."""
    check(template)
    if not selects(template):
        raise TemplateInvalid('must be one selector, such as up{instance="{address}:{port}"}')


def selects(template: str) -> bool:
    """Whether this is one plain selector."""
    return template.strip() != "" and _SELECTOR.fullmatch(_blank(template)) is not None


def matched(template: str) -> tuple[str, frozenset[str]]:
    """The metric's name and the labels that a plain selector matches on; "" and none of any other query."""
    if not selects(template):
        return "", frozenset()
    found = _SELECTOR.fullmatch(_blank(template))
    before = [template[: piece.start()] for piece in _PIECE.finditer(template) if piece.lastgroup == "text"]
    labels = frozenset(m[1] for text in before if (m := _MATCHER.search(text)))
    return (found[1] or "") if found else "", labels


def filled(template: str, values: Mapping[str, str | Collection[str]]) -> str:
    """The query with its values, each escaped as a PromQL string, behind =~ as a regular expression first."""
    parts = []
    for piece in _PIECE.finditer(template):
        text = piece[0]
        if piece.lastgroup == "text":
            regex = _is_regex(template, piece.start())
            text = _PLACEHOLDER.sub(lambda found, regex=regex: _escaped(values[found[1]], regex), text)  # type: ignore[misc]
        elif piece.lastgroup == "plain":
            text = _PLACEHOLDER.sub(lambda found: str(values[found[1]]), text)
        parts.append(text)
    return "".join(parts)


def _placeholders(template: str) -> Iterator[tuple[str, bool, bool]]:
    """Answer (name, whether it stands in a string, whether behind =~) of each."""
    for piece in _PIECE.finditer(template):
        kind = piece.lastgroup
        if kind == "open":
            raise TemplateInvalid("has a string without its end")
        if kind in ("raw", "comment") and _PLACEHOLDER.search(piece[0]):
            raise TemplateInvalid('knows placeholders in "quotes" alone, not in backquotes or comments')
        if kind in ("text", "plain"):
            regex = kind == "text" and _is_regex(template, piece.start())
            yield from ((found[1], kind == "text", regex) for found in _PLACEHOLDER.finditer(piece[0]))


def _is_regex(template: str, start: int) -> bool:
    return template[:start].rstrip().endswith(("=~", "!~"))


def _blank(template: str) -> str:
    """The template without what its strings hold, so that braces in them are not taken for its own."""
    return _PIECE.sub(lambda piece: '""' if piece.lastgroup in ("text", "raw") else piece[0], template)


def _escaped(value: str | Collection[str], regex: bool) -> str:
    if not isinstance(value, str):
        value = "|".join(_SPECIAL.sub(r"\\\g<0>", one) for one in value)
    elif regex:
        value = _SPECIAL.sub(r"\\\g<0>", value)
    return "".join(_ESCAPES.get(letter) or letter for letter in value)


_ESCAPES = {"\\": "\\\\", '"': '\\"', "'": "\\'", "\n": "\\n"}
