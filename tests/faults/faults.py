"""The faults, each a function of the scene and a seeded choice. Those that last put things right again themselves."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg2
import redis
from celery import Celery
from kombu import Queue

from tests.conftest import wait_until
from tests.faults.scene import Scene
from tests.test_up import children_of

QUEUES = ("deploy", "rollback", "transfer", "watch", "sweep", "smoke", "workflow", "notify")
PREFIX = "aureus:"
ANSWERED = "SELECT name FROM health_canary WHERE name <> 'dispatcher' AND answered_at > %s::timestamptz"
LEASE = 20.0
SKEW = 300.0
AWAY = 30.0
"""Seconds for which Valkey is gone where a run does not say otherwise."""
CONSUMED_WITHIN = 15.0
"""Seconds after which every queue must be consumed again when all connections to Valkey are half-open."""
MESSAGES_FOR = 10.0
CUT_FOR = 8.0
BUSY_WITHIN = 30.0


class Missed(Exception):
    """There was nothing to break just then; it does not count."""


@dataclass(frozen=True)
class Fault:
    """strikes: does it, and returns when it is over. alone: never beside another that takes a server away.

    rare: in every fourth round, since nothing else can happen while it lasts. early: first of its round, since it
    needs a step that is being carried, and a short load may be over later.
    """

    name: str
    strikes: Callable[[Scene, random.Random], None]
    alone: bool = False
    rare: bool = False
    early: bool = False


def _kill(pids: list[int], rng: random.Random) -> None:
    if not pids:
        raise Missed
    with contextlib.suppress(ProcessLookupError):
        os.kill(rng.choice(sorted(pids)), signal.SIGKILL)


def kill_child(scene: Scene, rng: random.Random) -> None:
    """The process that carries a step, if one does."""
    try:
        busy = scene.at_work()
    except psycopg2.Error:
        busy = []
    _kill(busy or scene.worker_children(), rng)


def kill_worker(scene: Scene, rng: random.Random) -> None:
    _kill(scene.workers(), rng)


def _named(name: str) -> Callable[[Scene, random.Random], None]:
    def strike(scene: Scene, rng: random.Random) -> None:
        beside = scene.beside.get(f"second {'dispatcher' if name == 'dispatch' else name}")
        both = [scene.process(name), beside.pid if beside and beside.poll() is None else None]
        _kill([pid for pid in both if pid], rng)

    return strike


def kill_web(scene: Scene, rng: random.Random) -> None:
    _kill([pid for pid in [scene.process("web")] if pid], rng)


def freeze_child(scene: Scene, rng: random.Random) -> None:
    """Longer than a lease: it wakes up as a zombie whose step somebody else has."""
    pid = _busy_child(scene, rng)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(LEASE + 5)
        os.kill(pid, signal.SIGCONT)


def freeze_parent(scene: Scene, rng: random.Random) -> None:
    """A whole worker, Beat, the dispatcher or the web stands still for longer than a lease, and then goes on."""
    group = [[pid, *children_of(pid)] for pid in scene.workers()]
    group += [[pid] for name in ("beat", "dispatch", "web") if (pid := scene.process(name))]
    if not group:
        raise Missed
    pids = rng.choice(group)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    time.sleep(LEASE + 5)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _busy_child(scene: Scene, rng: random.Random) -> int:
    """One that holds a step's lease; most steps are quick, so that one may have to be waited for."""
    ends = time.monotonic() + BUSY_WITHIN
    while time.monotonic() < ends:
        with contextlib.suppress(psycopg2.Error):
            if pids := scene.at_work():
                return rng.choice(sorted(pids))
        time.sleep(0.05)
    raise Missed


def kill_valkey(scene: Scene, rng: random.Random) -> None:
    scene.kill_valkey()
    time.sleep(1)
    scene.start_valkey()


def valkey_away(scene: Scene, rng: random.Random) -> None:
    scene.kill_valkey()
    time.sleep(scene.away)
    scene.start_valkey()


def valkey_half_open(scene: Scene, rng: random.Random) -> None:
    if not scene.to_valkey.half_open():
        raise Missed


@contextlib.contextmanager
def _valkey(scene: Scene) -> Iterator[redis.Redis]:
    """Straight to the server, past the proxy."""
    client = redis.Redis(
        port=scene.valkey.port, password=scene.valkey.password, socket_timeout=2, decode_responses=True
    )
    try:
        yield client
    except redis.RedisError:
        raise Missed from None
    finally:
        client.close()


def flush(scene: Scene, rng: random.Random) -> None:
    with _valkey(scene) as client:
        client.flushall()


def drop_messages(scene: Scene, rng: random.Random) -> None:
    """Whatever lies in a queue is taken away, a hundred times a second."""
    ends = time.monotonic() + MESSAGES_FOR
    with _valkey(scene) as client:
        while time.monotonic() < ends:
            client.delete(*(f"{PREFIX}{queue}" for queue in QUEUES))
            time.sleep(0.01)


def repeat_messages(scene: Scene, rng: random.Random) -> None:
    """Each message that is seen in a queue is put there twice more. Quick workers take some before they are seen."""
    ends = time.monotonic() + MESSAGES_FOR
    with _valkey(scene) as client:
        while time.monotonic() < ends:
            for queue in QUEUES:
                _repeat(client, f"{PREFIX}{queue}")
            time.sleep(0.005)


def _repeat(client: redis.Redis, queue: str) -> None:
    for raw in client.lrange(queue, 0, -1):
        message = json.loads(raw)
        if message["headers"].get("repeated"):
            continue
        if not client.lrem(queue, 1, str(raw)):
            continue  # a worker was quicker
        message["headers"]["repeated"] = True
        for _ in range(3):
            message["properties"]["delivery_tag"] = str(uuid.uuid4())
            client.lpush(queue, json.dumps(message))


def crash_postgres(scene: Scene, rng: random.Random) -> None:
    scene.stop_postgres(signal.SIGQUIT)
    scene.start_postgres()


def postgres_half_open(scene: Scene, rng: random.Random) -> None:
    if not scene.to_postgres.half_open():
        raise Missed


def skew_worker(scene: Scene, rng: random.Random) -> None:
    """A worker beside the others, five minutes ahead or behind."""
    process = scene.start_skewed(rng.choice((SKEW, -SKEW)))
    time.sleep(20)
    process.kill()
    process.wait(10)


def cut_host(scene: Scene, rng: random.Random) -> None:
    """Its SSH server and every session of it stand still: connections hang, and then everything goes on."""
    pids = scene.sessions(rng.choice(scene.machines()))
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    time.sleep(CUT_FOR)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def break_sessions(scene: Scene, rng: random.Random) -> None:
    """Kill every SSH session of a host, in the middle of whatever it does; the server goes on."""
    machine = rng.choice(scene.machines())
    sessions = scene.sessions(machine)[1:]
    if not sessions:
        raise Missed
    for pid in sessions:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_up(scene: Scene, rng: random.Random) -> None:
    scene.kill_up()


def seconds_to_consume_again(scene: Scene) -> float:
    """How long after every connection to Valkey fell silent until the worker of each queue has carried out a message.

    Valkey goes on giving messages to the silent connections, so there is one more every half second.
    """
    wait_until(lambda: len(scene.rows(ANSWERED, "-infinity")) == len(QUEUES), seconds=60, what="first canaries")
    app = Celery(broker=f"redis://:{scene.valkey.password}@127.0.0.1:{scene.valkey.port}/0")
    app.conf.update(
        broker_transport_options={"global_keyprefix": PREFIX},
        task_queues=[Queue(name) for name in QUEUES],
        task_create_missing_queues=False,
    )
    [(since,)] = scene.rows("SELECT clock_timestamp() + interval '0.5 s'")
    begun = time.monotonic()
    scene.to_valkey.half_open()

    def answered() -> bool:
        for queue in QUEUES:
            app.send_task("answer canary", [queue], queue=queue, expires=30)
        time.sleep(0.5)
        return len(scene.rows(ANSWERED, since)) == len(QUEUES)

    wait_until(answered, seconds=60, what="every queue is consumed again")
    app.close()
    return time.monotonic() - begun


ALL = (
    Fault("kill -9 of a worker's child", kill_child),
    Fault("kill -9 of a worker", kill_worker),
    Fault("kill -9 of Beat", _named("beat")),
    Fault("kill -9 of the dispatcher", _named("dispatch")),
    Fault("kill -9 of the web", kill_web),
    Fault("kill -9 of the whole tree", kill_up, alone=True, rare=True),
    Fault("a child stopped past its lease", freeze_child, early=True),
    Fault("a whole process stopped past the lease", freeze_parent),
    Fault("kill -9 of Valkey", kill_valkey, alone=True),
    Fault("Valkey gone for a while", valkey_away, alone=True, rare=True),
    Fault("Valkey half-open", valkey_half_open),
    Fault("FLUSHALL", flush),
    Fault("every message dropped for 10 s", drop_messages),
    Fault("every message three times for 10 s", repeat_messages),
    Fault("PostgreSQL stopped at once", crash_postgres, alone=True),
    Fault("PostgreSQL half-open", postgres_half_open),
    Fault("a worker's clock 5 minutes off", skew_worker),
    Fault("a host frozen for 8 s", cut_host),
    Fault("SSH sessions of a host killed", break_sessions),
)
