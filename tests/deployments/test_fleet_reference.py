"""The reference of the declaration names every field, and the defaults that really hold."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from deployments.fleet.environments import DeclaredHost, DeclaredNode
from deployments.fleet.installations import DeclaredInstallation
from deployments.policy import DEMANDED, Policy, defaults

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "declaration.md").read_text()
OURS = {"path"}


@pytest.mark.parametrize("kind", [Policy, DeclaredHost, DeclaredNode, DeclaredInstallation])
def test_every_field_is_on_the_page(kind):
    assert not {f.name for f in fields(kind) if f"`{f.name}`" not in PAGE} - OURS


def test_the_page_tells_the_defaults_that_hold():
    for name in {f.name for f in fields(Policy)} - set(DEMANDED):
        cells = re.search(rf"^\| `{name}` \| `(.*?)` \| `(.*?)` \|", PAGE, re.M)
        assert cells, name
        for told, source in zip(cells.groups(), (None, "staging"), strict=True):
            assert told.strip('"') == shown(getattr(defaults(source), name)), name


def shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)
