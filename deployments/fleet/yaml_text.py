"""A declaration's bytes as plain values: no aliases, no tags, no duplicate keys, bounded in size and depth. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

LARGEST = 1_000_000
DEEPEST = 12


class Unreadable(ValueError):
    """The file is no declaration at all; the message says why and where."""


class _Loader(yaml.SafeLoader):
    """PyYAML takes the last of two equal keys in silence; here that is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise Unreadable(f"{_line(key_node.start_mark)}: the key {key!r} must be text; put it in quotes")
            if key in found:
                raise Unreadable(f"{_line(key_node.start_mark)}: the key {key} stands here twice")
            found[key] = self.construct_object(value_node, deep=True)
        return found


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    return loader.construct_mapping(node)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read(content: bytes) -> Any:
    """The values of a YAML file. Raises Unreadable."""
    if len(content) > LARGEST:
        raise Unreadable(f"it has {len(content)} bytes; a declaration has at most {LARGEST}")
    try:
        text = content.decode()
        _look_through(text)
        # _Loader is PyYAML's safe one.
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except UnicodeDecodeError:
        raise Unreadable("it is not text in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        where = f"{_line(error.problem_mark)}: " if error.problem_mark else ""
        raise Unreadable(f"{where}{error.problem or error.context or 'it is no YAML'}") from None
    except yaml.YAMLError as error:
        raise Unreadable(str(error)) from None
    except ValueError as error:
        raise error if isinstance(error, Unreadable) else Unreadable(f"a value cannot be read: {error}") from None


def _look_through(text: str) -> None:
    """Before anything is built: a small file can stand for a huge one by aliases, and by depth it can end us."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise Unreadable(f"{_line(event.start_mark)}: aliases (*{event.anchor}) are not taken; write it out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise Unreadable(f"{_line(event.start_mark)}: it is nested deeper than {DEEPEST} levels")


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}"
