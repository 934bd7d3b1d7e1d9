"""How a unit is restarted and looked at: the words that systemctl, journalctl and ss get from the act script."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import deployments
from tests.drivers.releases import content

ONE = content(1)
WORKFLOW = b'{"id":"app"}'


class Machine:
    """The act script on this machine, with stand-ins for the programs that need systemd."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tools = folder / "tools"
        self.tools.mkdir()
        self.calls = folder / "calls"
        self.tool("sudo", '[ "$1" = -n ] || exit 9; shift; exec "$@"')
        self.tool("systemctl", f'echo "systemctl $*" >>{self.calls}; [ "$1" = restart ] || echo ActiveState=active')
        self.tool("journalctl", "echo 'the unit says: ready'")
        self.tool("ss", "echo 'LISTEN 0 5 *:8080 users:((\"old-app\",pid=7,fd=3))'")

    def tool(self, name: str, script: str) -> None:
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def act(self, verb: str, *options: str, stdin: bytes = b"") -> dict[str, Any]:
        script = Path(deployments.__file__).parent / "host" / "act.sh"
        words: list[str | Path] = ["sh", script, self.folder / "app", "nonce", verb, *options]
        environment = {"PATH": f"{self.tools}:{os.environ['PATH']}"}
        said = subprocess.run(words, input=stdin, capture_output=True, env=environment, check=False, timeout=60)
        answer: dict[str, Any] = json.loads(said.stdout)
        return answer

    def activate(self) -> dict[str, Any]:
        sizes = ["--workflow", str(len(WORKFLOW))]
        self.act("prepare", "--fence", "1", "--key", "p", "--content", ONE, *sizes, stdin=WORKFLOW)
        unit = ["--unit", "app@blue.service", "--port", "8080"]
        return self.act("activate", "--fence", "2", "--key", "a", "--content", ONE, "--slot", "blue", *unit)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_unit_is_restarted_by_its_name_and_nothing_else(machine: Machine) -> None:
    assert machine.activate()["state"] == "done"
    assert machine.calls.read_text() == "systemctl restart app@blue.service\n"


def test_a_unit_that_does_not_start_comes_with_state_journal_and_port_owner(machine: Machine) -> None:
    machine.tool("systemctl", '[ "$1" = restart ] && exit 1; echo ActiveState=failed; echo Result=exit-code')
    said = machine.activate()
    assert (said["state"], said["code"]) == ("failed", "restart_failed")
    assert said["data"] == {
        "service": "ActiveState=failed Result=exit-code ",
        "logs": "the unit says: ready",
        "port_owner": 'LISTEN 0 5 *:8080 users:(("old-app",pid=7,fd=3))',
    }


def test_when_a_unit_was_started_is_read_from_systemd(machine: Machine) -> None:
    machine.tool("systemctl", "echo 'Mon 2026-11-23 12:00:00 UTC'")
    assert machine.act("facts", "--unit", "app.service")["data"]["started_at"] == 1795435200


@pytest.mark.parametrize("option", ["--unit", "--slot", "--content", "--key", "--expected"])
@pytest.mark.parametrize("value", ["-x", "a b", "$(id)", "a/b", "..", "a;b", "a\nb"])
def test_the_host_too_refuses_what_is_no_name(machine: Machine, option: str, value: str) -> None:
    assert machine.act("facts", option, value)["code"] == "usage"


@pytest.mark.parametrize("option", ["--fence", "--size", "--deadline", "--lines"])
@pytest.mark.parametrize("value", ["", "-1", "1e3", "x", "9" * 19])
def test_the_host_too_refuses_what_is_no_number(machine: Machine, option: str, value: str) -> None:
    assert machine.act("facts", option, value)["code"] == "usage"
