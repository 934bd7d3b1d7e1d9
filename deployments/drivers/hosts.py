"""What we ask of a host: the Protocol every host driver keeps, and the frozen values it takes and gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, Protocol

CONTENT = re.compile(r"\A[0-9A-Za-z][0-9A-Za-z.+-]{0,127}-[0-9a-f]{12}\Z")
KEY = re.compile(r"\A[0-9A-Za-z][0-9A-Za-z._:@+=-]{0,159}\Z")
_NAME = re.compile(r"\A[0-9A-Za-z][0-9A-Za-z._-]{0,127}\Z")
_ADDRESS = re.compile(r"\A[0-9A-Za-z:][0-9A-Za-z.:_-]{0,252}\Z")
_USER = re.compile(r"\A[A-Za-z_][0-9A-Za-z_.-]{0,31}\Z")
_FINGERPRINT = re.compile(r"\ASHA256:[0-9A-Za-z+/]{43}\Z")
_KEY_REF = re.compile(r"\A(file:/[^\0-\x1f\x7f]+|env:[A-Za-z_][0-9A-Za-z_]*|agent)\Z")
_PATH = re.compile(r"\A(/[^/\0-\x1f\x7f]+)+\Z")
_UNIT = re.compile(r"\A[0-9A-Za-z][0-9A-Za-z._:@-]{0,199}\Z")


def _demand(pattern: re.Pattern[str], value: str, what: str) -> None:
    if not pattern.match(value):
        raise ValueError(f"{what} {value!r} is not acceptable")


@dataclass(frozen=True)
class HostAddress:
    """Where and as whom a host is reached. `fingerprint` is "" until somebody pinned the host's key."""

    name: str
    address: str
    port: int
    user: str
    fingerprint: str
    key_ref: str
    bastion: HostAddress | None = None

    def __post_init__(self) -> None:
        _demand(_NAME, self.name, "host name")
        _demand(_ADDRESS, self.address, "host address")
        _demand(_USER, self.user, "user")
        _demand(_KEY_REF, self.key_ref, "key reference (file:/path, env:NAME or agent)")
        if self.fingerprint:
            _demand(_FINGERPRINT, self.fingerprint, "key fingerprint (SHA256:…)")
        if not 0 < self.port < 65536:
            raise ValueError(f"port {self.port} is not acceptable")


@dataclass(frozen=True)
class Site:
    """One application's place on a host. `restart` and `halt` are the installation's own commands and win over `unit`.

    `port` and `log` (a file's path) only serve diagnosis; they may be left out.
    """

    root: str
    slot: str = "main"
    unit: str = ""
    restart: str = ""
    halt: str = ""
    port: int = 0
    log: str = ""

    def __post_init__(self) -> None:
        _demand(_PATH, self.root, "root (an absolute path)")
        if ".." in self.root.split("/"):
            raise ValueError(f"root {self.root!r} is not acceptable")
        _demand(_NAME, self.slot, "slot")
        if self.unit:
            _demand(_UNIT, self.unit, "unit")
        if self.log:
            _demand(_PATH, self.log, "log (an absolute path)")
        if "\0" in self.restart + self.halt:
            raise ValueError("the restart or halt command holds a NUL character")


@dataclass(frozen=True)
class Base:
    """A content that the host holds and that another is made from.

    copies: the files that it takes from there, a line `./path` each. manifest: sha256 of the list of files that must
    come out of it.
    """

    content: str
    copies: bytes
    manifest: str

    def __post_init__(self) -> None:
        _demand(CONTENT, self.content, "content")


@dataclass(frozen=True)
class ReleaseFiles:
    """What a host needs to hold a content: sizes in bytes, `files` counts members, `workflow` is canonical JSON.

    `archive` opens the bytes anew each time it is called; None for a version without artifact. `configured`: the
    content has variables. `env` is their file; without it the host must hold them already, or it refuses (no_env).
    With a `base` the archive holds no more than what differs from it. A host that does not hold the base refuses
    (no_base), and so does one on which something else comes out of it (base_differs): then send the whole.
    """

    content: str
    archive: Callable[[], BinaryIO] | None
    sha256: str
    size: int
    unpacked_size: int
    files: int
    workflow: bytes
    configured: bool = False
    env: bytes = field(default=b"", repr=False)
    base: Base | None = None

    def __post_init__(self) -> None:
        _demand(CONTENT, self.content, "content")
        if self.archive is None and self.size:
            raise ValueError("a release without archive has size 0")
        if self.archive is not None and not re.match(r"\A[0-9a-f]{64}\Z", self.sha256):
            raise ValueError("an archive needs its sha256 as 64 hexadecimal digits")
        if self.env and not self.configured:
            raise ValueError("a release without variables has no file of them")


@dataclass(frozen=True)
class HostFacts:
    """What a host says about a site. `started_at` is seconds since 1970 by the host's clock; inodes -1: not counted.

    `service` and `restarts` are what systemd says of the unit; "" and None without one.
    """

    current: str | None
    previous: str | None
    live: str | None
    releases: tuple[str, ...]
    fence: int
    disk_free: int
    inodes_free: int
    missing_tools: tuple[str, ...]
    zstd: bool
    started_at: int | None
    service: str = ""
    restarts: int | None = None


@dataclass(frozen=True)
class Answer:
    """How an act went. `running`: the restart goes on, ask `status` or the same act again with the same key."""

    state: Literal["done", "already", "running"]
    sentence: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


class Hosts(Protocol):
    """Each changing call carries `fence` (ever growing) and `key` (the act's name, stable over retries).

    A host refuses a fence lower than the highest it saw, and a higher one ends what a lower one still runs.
    `deadline` is in seconds and is kept by the host itself. All raise deployments.drivers.errors.HostError.
    """

    def facts(self, host: HostAddress, site: Site, *, seconds: float | None = None) -> HostFacts:
        """Only reads. `seconds`: how long the host may take; None: as long as any look."""
        ...

    def prepare(
        self, host: HostAddress, site: Site, release: ReleaseFiles, *, fence: int, key: str, deadline: float
    ) -> Answer:
        """Let the host hold a content, verified, and its variables where nobody else reads them."""
        ...

    def activate(
        self,
        host: HostAddress,
        site: Site,
        content: str,
        *,
        expected: str | None,
        fence: int,
        key: str,
        deadline: float,
        again: bool = False,
    ) -> Answer:
        """Switch the slot and restart. What the slot runs already is left alone; with `again` only what this act
        has started itself is, since what another one started there has not become healthy.

        Before the restart shared/.env and shared/SLOT.env are the content's variables. A content without any leaves
        them as they are, or brings back what was there before the first of ours."""
        ...

    def once(
        self,
        host: HostAddress,
        site: Site,
        content: str,
        command: str,
        *,
        fence: int,
        key: str,
        deadline: float,
        in_root: bool = False,
    ) -> Answer:
        """Run a shell command in the folder of a prepared content, or in the root, at most once for this key.

        `data["said"]` is the end of what it wrote. While it runs the same key answers `running`, afterwards `already`.
        Raises ActFailed (command_failed), ActTimedOut, and ActRefused (broke_off) where it was begun before and has
        not ended well: whether another try does harm is for a person to say, with another key.
        """
        ...

    def beside(self, host: HostAddress, site: Site, command: str, *, key: str, deadline: float) -> Answer:
        """As `once`, but in the folder of what is live, and beside all deployments: without the fence, so that none of
        them waits for it, ends it, or is ended by it. Refused (no_release) where nothing is live."""
        ...

    def adopt(
        self, host: HostAddress, site: Site, content: str, *, expected: str | None, fence: int, key: str
    ) -> Answer:
        """Point the slot at a prepared content, and restart nothing. Refused where the slot is on anything else."""
        ...

    def set_live(self, host: HostAddress, site: Site, *, fence: int, key: str) -> Answer: ...

    def cool(self, host: HostAddress, site: Site, *, fence: int, key: str) -> Answer:
        """Stop the service of a slot without traffic. Activating the slot later starts it, whatever it is on."""
        ...

    def stop(self, host: HostAddress, site: Site, *, fence: int, key: str) -> Answer: ...

    def status(self, host: HostAddress, site: Site, key: str) -> Answer: ...

    def read_workflow(self, host: HostAddress, site: Site) -> tuple[str, bytes]: ...

    def logs(self, host: HostAddress, site: Site, lines: int) -> str: ...

    def diagnose(self, host: HostAddress, site: Site) -> dict[str, str]: ...

    def prune(self, host: HostAddress, site: Site, keep: AbstractSet[str], *, fence: int, key: str) -> Answer: ...

    def put_file(self, host: HostAddress, path: str, content: bytes, *, root: str, fence: int) -> None: ...

    def read_file(self, host: HostAddress, path: str) -> bytes: ...

    def run(
        self, host: HostAddress, words: Sequence[str], stdin: bytes = b"", timeout: float = 30
    ) -> tuple[int, bytes, bytes]: ...
