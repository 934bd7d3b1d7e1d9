"""One start of `aureus up`, from the configuration to the last child's end."""

import gc
import http.client
import importlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from aureus import conf
from aureus.conf import Configuration, ConfigurationError
from aureus.embedded import kept as keeping
from aureus.embedded.kept import Kept
from aureus.embedded.postgres import Postgres, PostgresError
from aureus.embedded.valkey import Valkey
from aureus.up import home as homes
from aureus.up import processes
from aureus.up.child import Child
from aureus.up.home import Home, HomeError
from aureus.up.stuck import Lookout
from aureus.up.tree import StartFailed, Stopped, Tree

SERVER_SECONDS = 60
PORT_SECONDS = 3
CODE_OF_WORKERS = (
    "celery.bin.celery",
    "celery.apps.worker",
    "celery.worker.consumer",
    "celery.worker.pidbox",
    "celery.concurrency.prefork",
    "kombu.transport.redis",
)


def run(environ: Mapping[str, str] | None = None) -> int:
    """Run everything until SIGINT or SIGTERM. 0: ended in order; 1: could not start; 2: wrong configuration."""
    environ = dict(os.environ if environ is None else environ)
    try:
        configuration = conf.read(environ)
        home = homes.enter(configuration.home, _say)
    except (ConfigurationError, HomeError) as error:
        print(error, file=sys.stderr)
        return 2
    environ |= {"AUREUS_HOME": str(configuration.home), "DJANGO_SETTINGS_MODULE": "aureus.settings"}
    tree = Tree(home, _say)
    tree.listen()
    try:
        _start_and_keep(tree, home, configuration, environ)
        return 0
    except Stopped:
        return 0
    except (StartFailed, PostgresError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        _say("up", "stopping")
        tree.end()
        home.leave()
        _say("up", "stopped")


def _start_and_keep(tree: Tree, home: Home, configuration: Configuration, environ: dict[str, str]) -> None:
    begun = time.monotonic()
    for sentence in configuration.ignored:
        _say("up", sentence)
    _demand_port("PORT", configuration.HOST, configuration.PORT)
    _demand_port("FLOWER_PORT", "127.0.0.1", configuration.FLOWER_PORT)
    kept = keeping.with_free_ports(home.path, keeping.ensure(home.path))
    servers = _start_servers(tree, home, configuration, kept, environ)
    # The web loads its code while the servers start and the migrations run; until then it is up, not ready.
    tree.add(processes.web(configuration, environ))
    _load_code(environ)
    servers()
    password = tree.run_once(processes.first(environ)).strip()
    waking = (processes.dispatch(environ), processes.beat(home.run, environ))
    for process in (*processes.workers(environ), *waking):
        tree.add(process)
    tree.add(processes.flower(configuration, kept, environ))
    lookout = Lookout(configuration.STUCK_AFTER)
    tree.keep(
        lambda: _told(configuration, "/ready") is not None,
        lambda: _greet(configuration, kept, password, time.monotonic() - begun),
        lambda running: _stuck(lookout, configuration, running),
    )


def _load_code(environ: Mapping[str, str]) -> None:
    """Load what the workers are forked with."""
    # Read at import: it makes SIGTERM the soft shutdown of a worker (finish within the limit or give the message back).
    os.environ.update(environ, REMAP_SIGTERM="SIGQUIT")
    import django

    django.setup()
    from aureus.celery import app

    app.loader.import_default_modules()
    app.finalize()
    for name in CODE_OF_WORKERS:
        importlib.import_module(name)
    gc.collect()
    # What is loaded by now stays shared: no collection in a child touches its pages.
    gc.freeze()


def _start_servers(
    tree: Tree, home: Home, configuration: Configuration, kept: Kept, environ: Mapping[str, str]
) -> Callable[[], None]:
    """Start the embedded servers that no address was given for; answers the wait until they are ready."""
    waits: list[tuple[Child, Callable[[], bool]]] = []
    if configuration.embedded_valkey:
        valkey = Valkey(home.path / "valkey", kept.valkey_port, kept.valkey_password)
        waits.append((tree.add(processes.valkey(valkey, environ)), valkey.is_ready))
    if configuration.embedded_postgres:
        postgres = Postgres(home.path / "postgres", kept.postgres_port, kept.postgres_password)
        waits.append((tree.add(processes.postgres(postgres, environ)), postgres.is_ready))

    def wait() -> None:
        for child, is_ready in waits:
            tree.wait_for(child, is_ready, SERVER_SECONDS)
            _say(child.process.name, f"started (process {child.pid})")
        if configuration.embedded_postgres:
            postgres.create_database()

    return wait


def _demand_port(name: str, host: str, port: int) -> None:
    """Raises StartFailed when somebody else listens; a killed predecessor gets a moment to end."""
    end = time.monotonic() + PORT_SECONDS
    while True:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                return probe.bind((host.strip("[]"), port))
            except OSError as error:
                reason = error.strerror or str(error)
        if time.monotonic() > end or reason != "Address already in use":
            raise StartFailed(f"{name}={port} on {host} cannot be used ({reason}); set {name} to a free port.")
        time.sleep(0.2)


def _stuck(lookout: Lookout, configuration: Configuration, running: Mapping[str, float]) -> list[str]:
    ready = _told(configuration, "/ready")
    alive = ready is not None or _told(configuration, "/live") is not None
    return lookout.judge(time.monotonic(), ready, alive, running)


def _told(configuration: Configuration, path: str) -> dict[str, Any] | None:
    """What the web says there; None where it does not say 200 within two seconds."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(configuration.HOST, configuration.HOST)  # noqa: S104
    connection = http.client.HTTPConnection(host.strip("[]"), configuration.PORT, timeout=2)
    try:
        connection.request("GET", path, headers={"Host": "localhost"})
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _greet(configuration: Configuration, kept: Kept, password: str, seconds: float) -> None:
    address = configuration.PUBLIC_URL or f"http://{configuration.HOST}:{configuration.PORT}"
    _say("up", f"ready after {seconds:.1f} s")
    lines = [("console", f"{address}/admin/"), ("API", f"{address}/api")]
    if password:
        lines.append(("sign in", f"user admin, password {password} (shown this once; change it in the console)"))
    lines.append(
        ("Flower", f"http://127.0.0.1:{configuration.FLOWER_PORT}/ user aureus, password {kept.flower_password}")
    )
    lines.append(("data and logs", str(configuration.home)))
    for name, value in lines:
        print(f"  {name:14} {value}", flush=True)


def _say(who: str, what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {who:16} {what}", flush=True)
