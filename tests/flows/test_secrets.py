"""Canaries: the secrets of a running Aureus, searched wherever they must not be."""

import json
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest
import redis

from aureus.embedded import kept
from tests.conftest import wait_until
from tests.flows.rig import Rig, environ_of
from tests.test_up import command_of, descendants_of

pytestmark = pytest.mark.flow


def canaries(rig: Rig) -> dict[str, str]:
    """Secrets by name. Of the SSH key, a line of its middle: no other key has it."""
    found = kept.read(rig.aureus.home)
    assert found
    return {
        "SSH key": rig.key.read_text().splitlines()[2],
        "JWT secret": found.jwt_secret,
        "admin password": rig.aureus.password,
        "database password": found.postgres_password,
    }


def hits(rig: Rig, places: dict[str, str]) -> list[str]:
    assert all(places.values()), "a place that is empty proves nothing"
    return [f"{name} in {place}" for name, value in canaries(rig).items() for place, text in places.items()
            if value in text]  # fmt: skip


@pytest.fixture(scope="module")
def busy(rig: Rig) -> Rig:
    """Every part has worked with the secrets before anybody looks."""
    rig.fleet("canary", {"canary": 1})
    rig.deployed("canary", "1.0.0", "canary")
    return rig


def test_no_secret_lies_in_a_row_of_the_database(busy: Rig) -> None:
    tables = [name for (name,) in busy.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    assert {"deployments_host", "deployments_step", "journal_event", "auth_user"} <= set(tables)
    dump = {name: busy.rows(f"SELECT coalesce(string_agg(t::text, E'\\n'), '-') FROM \"{name}\" t") for name in tables}
    assert not hits(busy, {f"table {name}": str(rows[0][0]) for name, rows in dump.items()})


def test_no_secret_lies_in_a_log(busy: Rig) -> None:
    logs = {log.name: log.read_text(errors="replace") or "-" for log in (busy.aureus.home / "logs").iterdir()}
    assert "worker-deploy.log" in logs
    assert not hits(busy, logs)


def test_no_secret_lies_in_valkey(busy: Rig) -> None:
    client = redis.Redis(port=busy.valkey.port, password=busy.valkey.password, socket_timeout=5)
    try:
        names = list(client.scan_iter(count=1000))
        assert names
        dumped = {name.decode(): repr(client.dump(name)) + name.decode() for name in names}
    finally:
        client.close()
    appended = b"".join(file.read_bytes() for file in (busy.valkey.folder / "appendonlydir").iterdir())
    assert b"advance deployment" in appended
    assert not hits(busy, {**dumped, "the append-only file": appended.decode("latin-1")})


def test_no_secret_stands_on_a_page_of_flower(busy: Rig) -> None:
    found = kept.read(busy.aureus.home)
    assert found
    given = b64encode(f"aureus:{found.flower_password}".encode()).decode()

    def page(path: str) -> str:
        address = f"http://127.0.0.1:{busy.aureus.flower_port}{path}"
        asked = urllib.request.Request(address, headers={"Authorization": f"Basic {given}"})
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return str(answer.read().decode(errors="replace"))
        except (urllib.error.HTTPError, OSError) as error:
            return f"- {error}"

    tasks = "/api/tasks?limit=1000"
    wait_until(lambda: "advance deployment" in page(tasks), seconds=30, what="Flower has seen the work by its name")
    seen = json.loads(page(tasks))
    some = [f"/task/{name}" for name, task in seen.items() if task["name"] == "advance deployment"][:5]
    pages = {path: page(path) for path in ("/", "/workers", "/tasks", "/broker", "/metrics", tasks, *some)}
    assert not [path for path, text in pages.items() if text.startswith("- ")]
    assert not hits(busy, pages)


def test_no_secret_stands_in_a_process_list_or_in_the_environment_of_web_beat_and_flower(busy: Rig) -> None:
    assert busy.aureus.process
    up = busy.aureus.process.pid
    commands = {str(pid): command_of(pid) or "-" for pid in [up, *descendants_of(up)]}
    assert len(commands) > 10
    assert not hits(busy, {f"command of {pid}": words for pid, words in commands.items()})
    known: dict[str, str] = {}
    for name in ("granian", " beat ", "flower"):
        pids = [int(pid) for pid, words in commands.items() if name in words and Path(f"/proc/{pid}").exists()]
        assert pids, name
        known |= {f"environment of{name} ({pid})": environ_of(pid) for pid in pids}
    assert not hits(busy, known)
