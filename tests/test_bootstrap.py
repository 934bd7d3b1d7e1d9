"""The bootstrap finds a Python that really runs, or says in one sentence what to install."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).resolve().parent.parent / "deploy" / "bootstrap.sh"
TOOLS = ("sh", "env", "sed", "grep", "cut", "cat", "dirname", "sha256sum")
DEAD_SHIMS = {
    "python3.13": "#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n",
    "python3.12": "#!/bin/sh\nexit 0\n",
    "python3.14": "#!/nonexistent/interpreter\n",
    "python3": "#!/bin/sh\necho 3.11 >/dev/null\nexit 1\n",
}


class Machine:
    """A PATH and a home with nothing on them but what a test puts there."""

    def __init__(self, root: Path) -> None:
        self.bin, self.home = root / "bin", root / "home"
        self.bin.mkdir()
        self.home.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self.bin / tool).symlink_to(found)

    def put(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def put_python(self, path: Path) -> Path:
        return self.put(path, f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')

    def which(self, **environ: str) -> subprocess.CompletedProcess[str]:
        libraries = {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"}
        return subprocess.run(
            ["/bin/sh", BOOTSTRAP, "--which"],
            env={"PATH": str(self.bin), "HOME": str(self.home)} | libraries | environ,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    for name, text in DEAD_SHIMS.items():
        machine.put(machine.bin / name, text)
    return machine


def test_dead_shims_are_passed_over_and_the_lack_is_one_sentence(machine: Machine) -> None:
    answer = machine.which()
    assert answer.returncode == 1
    assert answer.stdout == ""
    [sentence] = answer.stderr.splitlines()
    assert "Python 3.12 or newer" in sentence and "PYTHON=" in sentence


@pytest.mark.parametrize(
    "place",
    [".pyenv/versions/3.13.0/bin/python3", ".local/share/uv/python/cpython-3.12.9-linux-x86_64-gnu/bin/python3"],
)
def test_an_interpreter_behind_dead_shims_is_found(machine: Machine, place: str) -> None:
    python = machine.put_python(machine.home / place)
    assert machine.which().stdout.strip() == str(python)


def test_the_path_comes_before_other_places(machine: Machine) -> None:
    machine.put_python(machine.home / ".pyenv/versions/3.13.0/bin/python3")
    python = machine.put_python(machine.bin / "python3.12")
    assert machine.which().stdout.strip() == str(python)


def test_a_named_interpreter_wins_and_a_wrong_one_is_refused(machine: Machine, tmp_path: Path) -> None:
    machine.put_python(machine.bin / "python3.12")
    mine = machine.put_python(tmp_path / "my python")
    assert machine.which(PYTHON=str(mine)).stdout.strip() == str(mine)
    refused = machine.which(PYTHON=str(machine.bin / "python3"))
    assert refused.returncode == 1
    assert "PYTHON=" in refused.stderr


def test_an_old_interpreter_does_not_count(machine: Machine) -> None:
    old = f'#!/bin/sh\nshift\nexec "{sys.executable}" -c "import sys; sys.version_info = (3, 11, 7); $*"\n'
    machine.put(machine.bin / "python3", old)
    assert machine.which().returncode == 1
