"""The demo as a person starts it."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aureus.demo.children import CODE
from tests.conftest import wait_until
from tests.test_up import command_of

pytestmark = pytest.mark.flow


@pytest.fixture
def temporary(open_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Where this test's demos make their folder: by it their processes are known."""
    folder = open_folder / request.node.name[:20]
    folder.mkdir(mode=0o711)
    yield folder
    assert not left_running(folder)


@contextmanager
def begun(temporary: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "aureus.demo"],
        cwd=CODE,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(temporary), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        try:
            yield demo
        finally:
            demo.kill()


def left_running(folder: Path) -> list[str]:
    """Processes that name the folder on their command line or in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            known = (entry / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        command = command_of(int(entry.name))
        if str(folder) in known or str(folder) in command:
            found.append(f"{entry.name}: {command}")
    return found


def test_the_demo_ships_catches_and_undoes_loses_no_request_and_leaves_nothing(temporary: Path) -> None:
    with begun(temporary) as demo:
        said, _ = demo.communicate(timeout=170)
    assert demo.returncode == 0, said
    figures = dict(re.findall(r"^  (\S.*?)  +([0-9.,]+)$", said, re.MULTILINE))
    assert int(figures["requests sent"].replace(",", "")) > 1000
    assert figures["lost (no answer, or an error made by the balancer)"] == "0"
    assert int(figures["answered with an error by 2.0.0"]) > 0
    assert 0 < float(figures["seconds from fault to restored"]) < 60
    for words in ("3 of 3 smoke tests passed", "hard_stop_errors", "all traffic to production-2, production-3"):
        assert words in said
    assert "production-1 runs 1.0.0, production-2 runs 1.0.0, production-3 runs 1.0.0" in said
    assert not list(temporary.glob("aureus-demo-*"))


def test_an_interrupted_demo_ends_everything_and_says_where_its_logs_are(temporary: Path) -> None:
    with begun(temporary) as demo:
        wait_until(lambda: list(temporary.glob("aureus-demo-*/caddy/admin.sock")), seconds=60, what="Caddy is started")
        wait_until(lambda: len(left_running(temporary)) > 10, seconds=60, what="all is started")
        demo.send_signal(signal.SIGINT)
        said, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130
    [folder] = temporary.glob("aureus-demo-*")
    assert "interrupted" in said and str(folder / "aureus" / "logs") in said
    assert list((folder / "aureus" / "logs").iterdir())
