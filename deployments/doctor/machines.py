"""Judging machines by what they say of themselves. Pure: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from deployments.doctor.findings import GIB, Finding, ok, size, warning, wrong
from deployments.drivers.sudoers import LAST_COUNTS, TRY_IT, Allowed

CLOCK_OFF = 30.0
"""Seconds. Nothing is decided by a host's clock; its logs and certificates are read by people and by TLS."""
LEAST_ROOM = 16 * 1024**2
"""Bytes. A balancer's files are small: with less, a change of weights may not be written."""
RELEASES_KEPT = 4
"""Releases that a host holds at least: the three good ones that prune keeps, and the one that is sent."""
SLACK = 0.05
"""Machines report a little less memory and disk than they were bought with."""


@dataclass(frozen=True, slots=True)
class Needs:
    """The guide's sizes for a kind of machine; bytes."""

    cores: int
    memory: int
    disk: int
    word: str


CONTROL = Needs(2, 4 * GIB, 10 * GIB, "a machine that runs Aureus")
SERVERS = {
    "staging": Needs(4, 8 * GIB, 50 * GIB, "a staging server"),
    "production": Needs(8, 16 * GIB, 100 * GIB, "a production server"),
}


@dataclass(frozen=True, slots=True)
class HostSeen:
    """One application's place on one host. Bytes and seconds; None is not known.

    restart, halt: as sudoers.Allowed, or "own" for an installation's own command. code: why it was not reached, as
    drivers say it.
    """

    name: str
    environment: str
    code: str = ""
    error: str = ""
    missing_tools: tuple[str, ...] = ()
    disk_free: int | None = None
    inodes_free: int | None = None
    disk_size: int | None = None
    largest: int = 0
    files: int = 0
    cores: int | None = None
    memory: int | None = None
    clock_off: float | None = None
    unit: str = ""
    unit_known: bool = True
    restart: str = "own"
    halt: str = "own"
    holds: tuple[str, ...] = field(default=())


def host(seen: HostSeen) -> Iterator[Finding]:
    """What is to be said of a host that an application lives on."""
    about = f"host {seen.name} ({seen.environment})"
    if seen.code:
        yield wrong(about, seen.error, _way_in(seen))
        return
    yield ok(about, "it is reached, its key is pinned, and ours lets us in")
    if seen.missing_tools:
        names = " ".join(seen.missing_tools)
        yield wrong(about, f"it lacks {names}", f"install {names} there (on Debian: coreutils util-linux tar gzip)")
    yield from _room(about, seen)
    yield from _restart(about, seen)
    yield from clock(about, seen.clock_off)
    yield from sizes(about, seen.cores, seen.memory, seen.disk_size, SERVERS.get(seen.environment))


def _way_in(seen: HostSeen) -> str:
    match seen.code:
        case "host_key_unknown" | "host_key_mismatch":
            return f"compare the key on the machine, then: aureus hosts trust {seen.name} -e {seen.environment}"
        case "auth_refused" | "no_key":
            return "put the public half of our key into the user's authorized_keys there, and name the right key"
        case "no_root":
            return "make the installation's root there and give it to the user that we log in as"
        case _:
            return "is it on, does its firewall let us through, are address and port right in the declaration?"


def _room(about: str, seen: HostSeen) -> Iterator[Finding]:
    need = seen.largest * RELEASES_KEPT
    if seen.disk_free is not None:
        left = f"{size(seen.disk_free)} are free, the largest version needs {size(seen.largest)}"
        if seen.disk_free < seen.largest * 2:
            yield wrong(about, left, "free space, or give the installation's root a larger disk")
        elif seen.disk_free < need:
            yield warning(about, f"{left}, and {RELEASES_KEPT} are kept", "free space before it is needed")
        else:
            yield ok(about, left)
    if seen.inodes_free is not None and 0 <= seen.inodes_free < seen.files * 2 + 64:
        yield wrong(
            about, f"{seen.inodes_free} inodes are free, a version has {seen.files} files", "remove small files"
        )


def _restart(about: str, seen: HostSeen) -> Iterator[Finding]:
    for act, allowed in (("restart", seen.restart), ("stop", seen.halt)):
        line = f"systemctl {act} {seen.unit}"
        allow = f"allow it: USER ALL=(root) NOPASSWD: /usr/bin/{line} in /etc/sudoers.d/aureus; {LAST_COUNTS}"
        if allowed == Allowed.NO:
            yield wrong(about, f"sudo -n {line} is not allowed without a password", allow)
        if allowed == Allowed.UNSURE:
            yield warning(about, f"whether sudo -n {line} asks for a password cannot be told", f"{TRY_IT}; or {allow}")
    if seen.restart == Allowed.YES:
        yield ok(about, f"{seen.unit} may be restarted without a password")
    if seen.unit and not seen.unit_known:
        yield wrong(about, f"systemd knows no unit {seen.unit}", "install it, with its files in the slot of the root")


def balancer(about: str, disk: int | None, free: int | None, inodes: int | None) -> Iterator[Finding]:
    """Whether a balancer's machine has room; bytes and files. Logs are what fills it."""
    if disk is None or free is None:
        return
    left = f"{size(free)} of {size(disk)} are free on its disk"
    if free < LEAST_ROOM or inodes == 0:
        files = "" if inodes else ", and no file can be made"
        yield wrong(about, left + files, "free space: a change of weights may not be written")
    elif free < disk / 10:
        yield warning(about, left, "free space before it is needed: are its logs rotated?")
    else:
        yield ok(about, left)


def clock(about: str, off: float | None) -> Iterator[Finding]:
    """How far a machine's clock is off ours; seconds."""
    if off is not None and abs(off) > CLOCK_OFF:
        yield warning(about, f"its clock is {off:+.0f} s off ours", "let it keep time (timedatectl, chrony)")


def sizes(
    about: str, cores: int | None, memory: int | None, disk: int | None, needs: Needs | None
) -> Iterator[Finding]:
    """What a machine has beside what the guide asks of its kind."""
    if needs is None or cores is None or memory is None or disk is None:
        return
    said = f"{cores} cores, {size(memory)} of memory, a disk of {size(disk)}"
    enough = cores >= needs.cores and memory >= needs.memory * (1 - SLACK) and disk >= needs.disk * (1 - SLACK)
    if enough:
        yield ok(about, said)
        return
    wanted = f"{needs.cores} cores, {size(needs.memory)}, {size(needs.disk)}"
    yield warning(about, said, f"{needs.word} should have {wanted}")
