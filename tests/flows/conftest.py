"""One stage for all flows; its folder may be entered by the user who runs PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.stage import Stage


@pytest.fixture(scope="session")
def stage(open_folder: Path) -> Iterator[Stage]:
    folder = open_folder / "flows"
    folder.mkdir(mode=0o711)
    made = Stage(folder)
    try:
        made.begin()
        yield made
    finally:
        made.end()
