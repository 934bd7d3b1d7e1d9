"""One rig for all flows; its folder may be entered by the user who runs PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.rig import Rig


@pytest.fixture(scope="session")
def rig(open_folder: Path) -> Iterator[Rig]:
    folder = open_folder / "flows"
    folder.mkdir(mode=0o711)
    made = Rig(folder)
    try:
        made.begin()
        yield made
    finally:
        made.end()
