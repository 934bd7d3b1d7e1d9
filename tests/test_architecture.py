"""Directions and purity: what may import what."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ("releases", "health", "deployments")
FLOOR = {"journal", "clock", "lease", "fetch"}
PURE_ROOTS = (
    *sorted((ROOT / "deployments" / "engine").glob("*.py")),
    *(ROOT / "health" / f"{name}.py" for name in ("verdicts", "replay", "sequential", "baseline", "specs", "quiet")),
    *(ROOT / "health" / "runs" / f"{name}.py" for name in ("choosing", "decide", "facts", "filling", "plan", "settle")),
    *(ROOT / "health" / "sources" / f"{name}.py" for name in ("promql", "log_lines")),
    *(ROOT / "releases" / f"{name}.py" for name in ("semver", "spec", "spec_reading", "checker", "workflow", "gates")),
    *(ROOT / "releases" / f"{name}.py" for name in ("bumps", "keeping", "notes")),
    *sorted((ROOT / "releases" / "reports").glob("*.py")),
)
# A pure function gets its facts and `now`; it looks neither at the world nor at a clock or a die.
WORLDLY = {
    "os",
    "io",
    "time",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "pathlib",
    "http",
    "urllib",
    "sys",
}
CLOCKS = {"now", "utcnow", "today"}


def imports_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: absolute imports only"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from {node.module or ""} | {name for name in submodules if ours(name)}


def ours(name: str) -> Path | None:
    """The project's file of a module; None for a foreign one."""
    path = ROOT.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


def closure(files: tuple[Path, ...]) -> list[Path]:
    """The files and every file of the project they import, directly or not."""
    reached, waiting = set(), [file for file in files if file.exists()]
    while waiting:
        file = waiting.pop()
        if file not in reached:
            reached.add(file)
            waiting += [found for name in imports_of(file) if (found := ours(name))]
    return sorted(reached)


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_every_direction_is_kept() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_module_of_aureus_is_floor_or_named_as_roof() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [roof] = [contract["forbidden_modules"] for contract in contracts if contract["name"] == "no app imports the roof"]
    there = {
        path.stem for path in (ROOT / "aureus").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert there - FLOOR - {"__init__"} == {name.removeprefix("aureus.") for name in roof}


PURE_FILES = closure(PURE_ROOTS)


@pytest.mark.parametrize("file", PURE_FILES, ids=name_of)
def test_a_pure_file_and_all_it_stands_on_import_the_standard_library_alone(file: Path) -> None:
    outside = {name for name in imports_of(file) if not ours(name)}
    assert not {name for name in outside if name.split(".")[0] not in sys.stdlib_module_names}
    assert not {name for name in outside if name.split(".")[0] in WORLDLY}


@pytest.mark.parametrize("file", PURE_FILES, ids=name_of)
def test_a_pure_file_asks_no_clock(file: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    assert not [call.attr for call in calls if isinstance(call, ast.Attribute) and call.attr in CLOCKS]


def test_ssh_is_spoken_in_one_place() -> None:
    speakers = {
        name_of(file)
        for file in sources("aureus", *APPS)
        if {name.split(".")[0] for name in imports_of(file)} & {"fabric", "paramiko", "invoke"}
    }
    assert not {file for file in speakers if not file.startswith("deployments/drivers/ssh")}


def test_an_app_goes_out_by_http_through_the_floor_alone() -> None:
    ways = {"requests", "urllib.request", "http.client", "httpx", "urllib3", "aiohttp"}
    assert not {name_of(file) for file in sources(*APPS) if ways & set(imports_of(file))}


def test_no_project_file_is_named_for_nothing() -> None:
    empty = {
        "manager",
        "service",
        "handler",
        "processor",
        "util",
        "utils",
        "helper",
        "helpers",
        "common",
        "base",
        "data",
    }
    assert not {name_of(file) for file in sources("aureus", *APPS) if file.stem in empty}
