"""A thousand requests with one key, all on their way to a real web server before the first is answered."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from aureus.embedded import kept
from aureus.up.tie import tied
from deployments.models import Deployment
from tests.api.conftest import key
from tests.conftest import wait_until

MANY = 1000
CODE = Path(__file__).parents[2]


@pytest.fixture
def port(transactional_db: None, tmp_path: Path) -> Iterator[int]:
    """A web server as `aureus up` runs it, on the database of this test."""
    [port] = kept.free_ports(1)
    it = connection.settings_dict
    address = f"postgresql://{it['USER']}:{it['PASSWORD']}@{it['HOST']}:{it['PORT']}/{it['NAME']}"
    environ = {
        **os.environ,
        "AUREUS_HOME": str(tmp_path),
        "DATABASE_URL": address,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "JWT_SECRET": settings.AUREUS.JWT_SECRET or "s" * 40,
    }
    words = [sys.executable, "-m", "granian", "--interface=wsgi", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    words += ["--blocking-threads=8", "--log-level=warning", "aureus.up.application:application"]
    with (tmp_path / "log").open("wb") as log:
        web = subprocess.Popen(
            words,
            cwd=CODE,
            env=environ,
            stdout=log,
            stderr=log,
            preexec_fn=tied(signal.SIGKILL),
            start_new_session=True,
        )
    try:
        wait_until(lambda: web.poll() is not None or answers(port), seconds=60, what="the web answers")
        assert web.poll() is None, (tmp_path / "log").read_text()
        yield port
    finally:
        web.terminate()
        try:
            web.wait(15)
        except subprocess.TimeoutExpired:
            web.kill()
            web.wait()
        # Its connections to the database end with it; the next test empties the tables.


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def request(token: str, body: Mapping[str, object], name: str) -> bytes:
    sent = json.dumps(body).encode()
    head = (
        "POST /api/deployments HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {token}",
        f"Idempotency-Key: {name}",
        "Content-Type: application/json",
        f"Content-Length: {len(sent)}",
        "Connection: close",
    )
    return "\r\n".join([*head, "", ""]).encode() + sent


async def all_at_once(port: int, asked: list[bytes]) -> list[tuple[int, dict[str, object]]]:
    """Every connection is open before anything is sent, and everything is sent before an answer is read."""
    lines = [await asyncio.open_connection("127.0.0.1", port) for _ in asked]
    for (_, out), octets in zip(lines, asked, strict=True):
        out.write(octets)
    await asyncio.gather(*(out.drain() for _, out in lines))
    found = await asyncio.gather(*(asyncio.wait_for(back.read(), 60) for back, _ in lines))
    for _, out in lines:
        out.close()
    return [read(answer) for answer in found]


def read(answer: bytes) -> tuple[int, dict[str, object]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MANY + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this machine allows {hard} open files; {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_posts_with_one_key_are_one_deployment_and_one_answer(many_files, port, fleet):
    fleet.environment("staging")
    body: dict[str, object] = {"versionId": str(fleet.version("1.0.0").pk), "environment": "staging"}
    token = key()
    told = asyncio.run(all_at_once(port, [request(token, body, "once")] * MANY))
    assert Counter(status for status, _ in told) == {201: MANY}
    assert len({json.dumps(answer, sort_keys=True) for _, answer in told}) == 1
    assert Deployment.objects.count() == 1
    other = {**body, "deployedBy": "somebody else"}
    [(status, problem)] = asyncio.run(all_at_once(port, [request(token, other, "once")]))
    assert (status, problem["type"]) == (422, "urn:aureus:problem:key_taken")
    assert Deployment.objects.count() == 1


def test_of_two_bodies_that_race_for_one_key_one_is_taken_and_the_other_refused(port, fleet):
    fleet.environment("staging")
    version = str(fleet.version("1.0.0").pk)
    token = key()
    bodies = [{"versionId": version, "environment": "staging", "deployedBy": f"bot {n % 2}"} for n in range(40)]
    told = asyncio.run(all_at_once(port, [request(token, body, "once") for body in bodies]))
    assert Counter(status for status, _ in told) == {201: 20, 422: 20}
    assert Deployment.objects.count() == 1
