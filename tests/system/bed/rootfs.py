"""The root file system that all hosts share, made once from Debian's packages and kept in a cache outside of here."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.system.bed.calls import run, try_to

SUITE = "bookworm"
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "python3-minimal", "libpython3-stdlib", "iproute2", "procps",
    "sudo",
)  # fmt: skip
# What a container must not start, or what a host of some seconds never needs.
MASKED = (
    "systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service", "systemd-logind.service",
    "systemd-udevd.service", "systemd-journal-flush.service", "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service", "systemd-pstore.service", "systemd-modules-load.service", "getty.target",
    "console-getty.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
    "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "systemd-tmpfiles-clean.timer", "modprobe@.service",
    "cryptsetup.target", "veritysetup.target", "integritysetup.target", "dev-hugepages.mount",
    "systemd-ask-password-console.path", "systemd-ask-password-wall.path",
)  # fmt: skip
SSHD = "PasswordAuthentication no\nUseDNS no\nMaxStartups 200:30:400\nMaxSessions 100\nPrintMotd no\n"
JOURNAL = "[Journal]\nStorage=volatile\nRuntimeMaxUse=8M\n"
SECONDS = 400
CACHE = "AUREUS_BED_CACHE"
"""The folder of the cache, where the default is not wanted."""


def cache() -> Path:
    """Where root file systems are kept."""
    chosen = os.environ.get(CACHE)
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or "/var/cache") / "aureus-bed"


def rootfs() -> Path:
    """The folder of the root file system; made first where this recipe has never been followed here."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    folder = cache() / recipe
    with _alone(cache()):
        if not folder.is_dir():
            new = cache() / f"{recipe}.new"
            shutil.rmtree(new, ignore_errors=True)
            _bootstrap(new)
            _dress(new)
            new.rename(folder)
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _bootstrap(new: Path) -> None:
    """By mmdebstrap, or by the slower debootstrap; from where this machine has its own packages, if it is a Debian."""
    if shutil.which("mmdebstrap"):
        options = ["--variant=minbase", f"--include={','.join(PACKAGES)}", '--aptopt=Acquire::Retries "3"']
        for unread in ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"):
            options.append(f"--dpkgopt=path-exclude={unread}")
        run("mmdebstrap", "-q", *options, SUITE, new, *_sources(), seconds=SECONDS)
    else:
        run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, new, seconds=SECONDS)


def _sources() -> list[str]:
    files = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
    return [str(file) for file in files if file.is_file() and SUITE in file.read_text()]


def _dress(new: Path) -> None:
    """What every host has, and nothing that only one may have."""
    for unit in MASKED:
        link = new / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    default = new / "etc/systemd/system/default.target"
    default.unlink(missing_ok=True)
    default.symlink_to("/lib/systemd/system/multi-user.target")
    # Without logind a login would wait for it.
    session = new / "etc/pam.d/common-session"
    kept = [line for line in session.read_text().splitlines() if "pam_systemd" not in line]
    session.write_text("\n".join(kept) + "\n")
    (new / "etc/ssh/sshd_config.d/bed.conf").write_text(SSHD)
    (new / "etc/systemd/journald.conf.d").mkdir(exist_ok=True)
    (new / "etc/systemd/journald.conf.d/bed.conf").write_text(JOURNAL)
    run("chroot", new, "useradd", "--create-home", "--uid", "1000", "--shell", "/bin/sh", "deploy")
    (new / "srv/app").mkdir()
    os.chown(new / "srv/app", 1000, 1000)
    (new / "etc/machine-id").write_text("")
    for key in (new / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    try_to("chroot", new, "apt-get", "clean")
    for file in (new / "var/lib/apt/lists").glob("*_*"):
        file.unlink()
