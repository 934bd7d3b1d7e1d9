"""How answers look, what is said when no server answers as it should, and that the command starts light."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.main import get_command

from aureus.cli import app, following, output, reference
from tests.cli.conftest import deployment_of, run

ROOT = Path(__file__).parents[2]


class Canned(BaseHTTPRequestHandler):
    """Answers what it was told, in order; the last answer again and again."""

    answers: list[tuple[int, dict[str, str], bytes]]
    seen: list[dict[str, str]]

    def do_GET(self) -> None:
        type(self).seen.append({"line": self.requestline, **self.headers})
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Canned]]:
    kind = type("Told", (Canned,), {"answers": [], "seen": []})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    monkeypatch.setenv("AUREUS_URL", f"http://127.0.0.1:{listening.server_port}/")
    monkeypatch.setenv("AUREUS_TOKEN", "t")
    yield kind
    listening.shutdown()
    thread.join(10)
    listening.server_close()


def test_nobody_at_the_address_is_a_sentence_that_says_what_to_do():
    done = run("status")
    assert done.code == 1
    assert "nobody answers at http://127.0.0.1:1: start Aureus with `aureus up`, or set AUREUS_URL" in done.err


@pytest.mark.parametrize(
    ("status", "headers", "body", "code", "said"),
    [
        (200, {}, b"<html>another server</html>", 1, "not as Aureus does: is AUREUS_URL right?"),
        (301, {"Location": "https://console/"}, b"", 2, "redirects to https://console/: set AUREUS_URL"),
        (401, {}, b'{"detail": "the token has run out"}', 1, "the token has run out (AUREUS_TOKEN is not accepted)"),
        (400, {}, b'{"detail": "wrong", "errors": [{"path": "limit", "message": "a number"}]}', 2, "limit: a number"),
        (500, {}, b'{"detail": "a fault", "requestId": "r-7"}', 1, "request id r-7"),
    ],
)
def test_an_answer_that_is_none_is_said_in_plain_words(server, status, headers, body, code, said):
    server.answers[:] = [(status, headers, body)]
    done = run("status")
    assert done.code == code
    assert said in done.err


def test_a_server_that_is_restarting_is_asked_again_with_the_same_key(server, tmp_path):
    spec = tmp_path / "shop.json"
    spec.write_text("{}")
    version = {"id": "v", "workflowId": "shop", "version": "1.0.0"}
    server.answers[:] = [(503, {}, b"{}"), (201, {}, json.dumps(version).encode())]
    done = run("version", "register", str(spec), "--version", "1.0.0", "--json")
    assert done.json == version
    first, second = (request["Idempotency-Key"] for request in server.seen)
    assert first == second


def test_the_token_follows_no_link_to_another_place(server):
    link = {"Link": '<http://evil.example/api/deployments?cursor=c>; rel="next"'}
    server.answers[:] = [(200, link, b"[]"), (200, {}, b"[]")]
    assert run("status", "--json").json == []
    assert server.seen[1]["line"].startswith("GET /api/deployments?limit=200&cursor=c ")


def test_a_terminal_gets_colours_and_no_color_takes_them_away(world, monkeypatch):
    world.environment("staging")
    deployment_of(world)
    assert "\x1b[" in at_terminal("status")
    assert "\x1b[" not in at_terminal("status", NO_COLOR="1")
    assert "\x1b[" not in run("status").out


def test_a_terminal_follows_a_deployment_live(world):
    world.environment("staging")
    deployment = world.deployed("1.0.0")
    shown = at_terminal("watch", str(deployment.pk))
    assert "shop@1.0.0 to staging: deployed" in shown
    assert "12 of 12 steps" in shown


def at_terminal(*words: str, **environ: str) -> str:
    """What a command writes to a terminal."""
    leader, follower = pty.openpty()
    known = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    command = [sys.executable, "-m", "aureus.cli", *words]
    child = subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, cwd=ROOT,
        env={**known, "TERM": "xterm-256color", "COLUMNS": "160", **environ},
    )  # fmt: skip
    os.close(follower)
    said = b""
    try:
        while piece := os.read(leader, 65536):
            said += piece
    except OSError:
        pass  # Linux: the other side has closed
    os.close(leader)
    assert child.wait(30) == 0, said
    return said.decode()


def test_plain_tables_are_aligned_and_never_cut():
    long = "x" * 300
    assert output.plain_table(("A", "LONGER"), [("1", long), ("22", "y")]) == [
        "A   LONGER",
        f"1   {long}",
        "22  y",
    ]


@pytest.mark.parametrize("words", [["--help"], ["deploy", "--help"], ["apply", "--help"], ["status"]])
def test_commands_of_the_api_and_every_help_load_no_django(words):
    code = f"""
import sys
from aureus.cli import main
try:
    main({words!r})
except SystemExit:
    pass
print("loaded:", [name for name in ("django", "celery", "paramiko", "rest_framework") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stderr


def test_each_command_of_the_design_is_there():
    wanted = (
        "up demo apply hosts login version deploy status watch promote approve reject pause resume abort abandon retry "
        "exclude rollback converge recover dispatch keys grant users"
    )
    there = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert set(wanted.split()) <= there


def test_the_reference_page_is_the_command_s_own_help():
    assert (ROOT / "docs/reference/cli.md").read_text() == reference.page(), (
        "run: python -m aureus.cli.reference > docs/reference/cli.md"
    )


def test_a_wrong_configuration_is_said_before_anything_else(monkeypatch):
    environ = {**os.environ, "PORT": "many"}
    done = subprocess.run(
        [sys.executable, "-m", "aureus.cli", "hosts"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_not_there_is_a_sentence(tmp_path):
    environ = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "aureus.cli", "hosts"], cwd=ROOT, env={**environ, "AUREUS_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the database does not answer: start it with `aureus up`" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_looked_at_again_with_the_same_result_is_told_once(capsys):
    lines = following.Lines()
    for state in ("running", "pending", "running", "pending", "failed"):
        step = {"id": 1, "kind": "verify", "host": "p1", "status": state, "held": False, "reason": "503", "attempts": 1}
        plan = {"stages": [{"name": "all hosts", "steps": [step]}]}
        lines.show({"status": "in_progress", "reason": "503", "plan": plan})
    told = [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert told == ["in_progress: 503", "verify p1: running: 503", "verify p1: failed: 503"]
