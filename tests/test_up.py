"""`aureus up` as a person starts it: real servers, real processes, watched through /proc."""

import http.cookiejar
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from aureus.embedded import kept
from aureus.embedded.postgres import Postgres, PostgresError
from aureus.up import environment, processes
from tests.conftest import wait_until

pytestmark = pytest.mark.flow

CODE = Path(__file__).resolve().parent.parent
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nnot really\n-----END OPENSSH PRIVATE KEY-----"
HIDDEN = {
    "STAGING_SSH_KEY": "canary-staging-key",
    "SLACK_WEBHOOK": "https://hooks.example.test/canary-webhook",
    "SSH_AUTH_SOCK": "/tmp/canary-agent",
    "GITHUB_TOKEN": "canary-token",
    "MY_HOST_KEY": KEY,
}


class Instance:
    """One `aureus up` with a folder and ports of its own."""

    def __init__(self, home: Path, **given: str) -> None:
        self.home, self.given = home, given
        self.port, self.flower_port = kept.free_ports(2)
        self.starts = 0

    def start(self) -> "Instance":
        self.starts += 1
        self.out = self.home.with_name(f"{self.home.name}.{self.starts}.out")
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "aureus.up"], cwd=CODE, env=self.environ(), stdout=out, stderr=out
            )
        wait_until(lambda: "ready after" in self.text or self.process.poll() is not None, seconds=90, what="ready")
        wait_until(lambda: "data and logs" in self.text or self.process.poll() is not None, seconds=5, what="greeting")
        assert self.process.poll() is None, self.text
        return self

    def environ(self) -> dict[str, str]:
        given = {"AUREUS_HOME": str(self.home), "PORT": str(self.port), "FLOWER_PORT": str(self.flower_port)}
        system = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return system | given | HIDDEN | self.given

    @property
    def text(self) -> str:
        return self.out.read_text()

    @property
    def password(self) -> str:
        found = re.search(r"password (\S+) \(shown this once", self.text)
        assert found, self.text
        return found[1]

    def child(self, name: str) -> int:
        """The pid of a child by a word of its command, or by the log file a forked worker writes to."""
        for pid in children_of(self.process.pid):
            if name in command_of(pid) or os.readlink(f"/proc/{pid}/fd/2").endswith(f"/{name}.log"):
                return pid
        raise AssertionError(f"no child {name}")

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)


def children_of(pid: int) -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if parent_of(int(entry.name)) == pid]


def descendants_of(pid: int) -> list[int]:
    found = children_of(pid)
    return found + [grandchild for child in found for grandchild in descendants_of(child)]


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def command_of(pid: int) -> str:
    """Nothing where the process has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def sign_in(port: int, password: str) -> bool:
    """Whether the user `admin` reaches the console with this password."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    address = f"http://127.0.0.1:{port}/admin/login/?next=/admin/"
    with opener.open(address, timeout=20) as page:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.read().decode())
    assert token
    form = {"username": "admin", "password": password, "csrfmiddlewaretoken": token[1], "next": "/admin/"}
    with opener.open(address, urllib.parse.urlencode(form).encode(), timeout=20):
        return any(cookie.name == "sessionid" for cookie in jar)


def status_of(address: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.fixture(scope="module")
def living(open_folder: Path) -> Iterator[Instance]:
    instance = Instance(open_folder / "living").start()
    yield instance
    instance.stop()


@pytest.fixture
def fresh(open_folder: Path, request: pytest.FixtureRequest) -> Iterator[Instance]:
    instance = Instance(open_folder / request.node.name[:40]).start()
    yield instance
    instance.stop()


def test_the_first_start_prints_a_password_that_opens_the_console(living: Instance) -> None:
    assert sign_in(living.port, living.password)
    assert not sign_in(living.port, "another password")


def test_nothing_but_the_console_output_holds_the_first_password(living: Instance) -> None:
    for log in (living.home / "logs").iterdir():
        assert living.password not in log.read_text(errors="replace")


def test_web_beat_and_flower_know_no_key_and_no_token(living: Instance) -> None:
    for name in ("granian", "beat", "flower", "valkey-server", "bin/postgres"):
        known = Path(f"/proc/{living.child(name)}/environ").read_bytes().decode()
        assert not [word for word in HIDDEN.values() if word in known], name
    assert "canary-staging-key" in Path(f"/proc/{living.child('worker-deploy')}/environ").read_bytes().decode()


def test_no_process_list_shows_a_password(living: Instance) -> None:
    secrets = json.loads((living.home / "kept.json").read_text())
    hidden = [value for name, value in secrets.items() if not name.endswith("port")]
    for pid in [living.process.pid, *descendants_of(living.process.pid)]:
        assert not [value for value in hidden if value in command_of(pid)]


def test_flower_asks_for_its_password(living: Instance) -> None:
    address = f"http://127.0.0.1:{living.flower_port}/workers"
    wait_until(lambda: _flower_listens(address), seconds=30, what="Flower answers")
    password = json.loads((living.home / "kept.json").read_text())["flower_password"]
    assert status_of(address) == 401
    given = b64encode(f"aureus:{password}".encode()).decode()
    assert status_of(address, Authorization=f"Basic {given}") == 200


def _flower_listens(address: str) -> bool:
    try:
        return status_of(address) > 0
    except urllib.error.URLError:
        return False


def test_secrets_are_kept_for_their_owner_alone(living: Instance) -> None:
    assert (living.home / "kept.json").stat().st_mode & 0o777 == 0o600
    assert (living.home / "valkey" / "valkey.conf").stat().st_mode & 0o777 == 0o600
    assert (living.home / "postgres" / "data").stat().st_mode & 0o777 == 0o700


def test_a_second_start_in_the_same_folder_is_refused(living: Instance) -> None:
    again = subprocess.run(
        [sys.executable, "-m", "aureus.up"], cwd=CODE, env=living.environ(), capture_output=True, text=True, timeout=60
    )
    assert again.returncode == 2
    assert "already runs" in again.stderr


def test_two_instances_run_side_by_side_and_a_taken_port_is_named(living: Instance, fresh: Instance) -> None:
    assert sign_in(living.port, living.password)
    assert sign_in(fresh.port, fresh.password)
    assert not sign_in(fresh.port, living.password)
    fresh.stop()
    third = fresh.environ() | {"PORT": str(living.port)}
    refused = subprocess.run(
        [sys.executable, "-m", "aureus.up"], cwd=CODE, env=third, capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 1
    assert f"PORT={living.port}" in refused.stderr


def test_with_given_servers_neither_is_started(open_folder: Path, postgres: Postgres, valkey: str) -> None:
    postgres.create_database("given")
    url = f"postgresql://aureus:{postgres.password}@127.0.0.1:{postgres.port}/given"
    instance = Instance(
        open_folder / "given", DATABASE_URL=url, REDIS_URL=valkey, JWT_SECRET="s" * 40, ADMIN_PASSWORD="chosen by me"
    ).start()
    try:
        assert sign_in(instance.port, "chosen by me")
        assert "chosen by me" not in instance.text and "shown this once" not in instance.text
        assert not (instance.home / "postgres").exists() and not (instance.home / "valkey").exists()
        worker = Path(f"/proc/{instance.child('worker-deploy')}/environ").read_bytes()
        wait_until(lambda: children_of(instance.child("worker-deploy")), seconds=60, what="a worker at the given Redis")
        assert b"DATABASE_URL" in worker
    finally:
        assert instance.stop() == 0


def test_a_killed_worker_is_started_again_and_leaves_no_child(living: Instance) -> None:
    worker = living.child("worker-deploy")
    wait_until(lambda: children_of(worker), seconds=60, what="the worker has its own processes")
    family = [worker, *descendants_of(worker)]
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: all(map(is_gone, family)), seconds=20, what="the worker and its processes are gone")
    wait_until(lambda: _has(living, "worker-deploy", worker), seconds=20, what="another worker in its place")
    assert "worker deploy" in living.text


def _has(instance: Instance, name: str, other_than: int) -> bool:
    try:
        return instance.child(name) != other_than
    except (AssertionError, OSError):
        return False


def test_a_stop_ends_every_process_in_order_and_the_next_start_finds_its_data(fresh: Instance) -> None:
    password = fresh.password
    family = descendants_of(fresh.process.pid)
    assert len(family) > 10
    assert fresh.stop() == 0
    assert all(map(is_gone, family))
    assert "was killed" not in fresh.text
    assert "database system is shut down" in (fresh.home / "logs" / "postgres.log").read_text()
    fresh.start()
    assert "shown this once" not in fresh.text
    assert sign_in(fresh.port, password)


def test_kill_9_of_the_parent_leaves_no_orphan_and_the_next_start_works(fresh: Instance) -> None:
    password = fresh.password
    wait_until(
        lambda: all(children_of(fresh.child(f"worker-{name}")) for name, *_ in processes.WORKERS),
        seconds=60,
        what="every worker has its own processes",
    )
    family = descendants_of(fresh.process.pid)
    fresh.process.kill()
    fresh.process.wait(10)
    wait_until(lambda: all(map(is_gone, family)), seconds=30, what="every process of the tree is gone")
    fresh.start()
    assert sign_in(fresh.port, password)


def test_a_private_key_by_any_name_stays_with_the_workers() -> None:
    given = {
        "ANY_NAME": KEY,
        "TZ": KEY,
        "PORT": "1",
        "PATH": "/bin",
        "STAGING_SSH_KEY_FILE": "/key",
        "NODE_ENV": "test",
    }
    assert environment.of_web(given) == {"PORT": "1", "PATH": "/bin", "NODE_ENV": "test"}
    assert environment.of_worker(given) == given


def test_every_queue_has_exactly_one_worker_and_rollback_has_its_own() -> None:
    from aureus.celery import QUEUES

    served = [queue for _, queues, _ in processes.WORKERS for queue in queues]
    assert sorted(served) == sorted(QUEUES)
    assert ("rollback",) in [queues for _, queues, _ in processes.WORKERS]


def test_a_wrong_configuration_names_every_mistake_at_once(tmp_path: Path) -> None:
    wrong = {
        "AUREUS_HOME": str(tmp_path),
        "PORT": "many",
        "ENABLE_AUTH": "false",
        "HOST": "0.0.0.0",
        "JWT_SECRET": "short",
    }
    refused = subprocess.run(
        [sys.executable, "-m", "aureus.up"],
        cwd=CODE,
        env={"PATH": os.environ["PATH"]} | wrong,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert refused.returncode == 2
    assert all(name in refused.stderr for name in ("PORT", "ENABLE_AUTH", "JWT_SECRET"))
    assert "Traceback" not in refused.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand PostgreSQL to another user")
def test_root_is_told_which_folder_the_other_user_cannot_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(PostgresError, match=r"cannot enter .*set AUREUS_HOME"):
        Postgres(closed / "postgres", 1, "password").prepare()


@pytest.fixture(scope="module")
def impatient(open_folder: Path) -> Iterator[Instance]:
    """It waits for an answer no longer than 15 s; the canaries of all are there."""
    instance = Instance(open_folder / "stuck", STUCK_AFTER="15s").start()
    try:
        wait_until(lambda: None not in canary_ages(instance).values(), seconds=60, what="everybody's first canary")
        yield instance
    finally:
        instance.stop()


@pytest.mark.parametrize(
    "names",
    [("worker deploy", "dispatch"), ("beat",), ("granian",)],
    ids=["a worker, and the dispatcher", "Beat", "the web"],
)
def test_who_is_there_and_does_not_work_is_replaced(impatient: Instance, names: tuple[str, ...]) -> None:
    stuck = [impatient.child(name.replace(" ", "-")) for name in names]
    before = len(impatient.text)
    for pid in [one for parent in stuck for one in (parent, *descendants_of(parent))]:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(map(is_gone, stuck)), seconds=90, what=f"those that stand still are replaced: {names}")
    wait_until(lambda: _all_answer(impatient), seconds=60, what="everybody's canary is answered again")
    replaced = impatient.text[before:]
    for name in names:
        shown = "web" if name == "granian" else name
        assert re.search(rf" {shown} +it has not answered for too long", replaced), replaced
    if names != ("beat",):  # without Beat nobody is asked, so that everybody is replaced with it
        assert replaced.count("it has not answered") == len(names)


def _all_answer(instance: Instance) -> bool:
    try:
        return all(age is not None and age < 10 for age in canary_ages(instance).values())
    except OSError:
        return False


def canary_ages(instance: Instance) -> dict[str, float | None]:
    with urllib.request.urlopen(f"http://127.0.0.1:{instance.port}/ready", timeout=20) as answer:
        return dict(json.load(answer)["queues"])
