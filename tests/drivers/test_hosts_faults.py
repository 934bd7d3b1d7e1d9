"""What is left on a real host after kills, cuts, full disks and late commands."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from deployments.drivers import ActFailed, ActRefused, ActTimedOut, Answer, HostError, Unreachable
from deployments.drivers.ssh import SSHHosts
from tests.conftest import wait_until
from tests.drivers.conftest import Bed, make_bed
from tests.drivers.releases import content, packed, release
from tests.drivers.sshd import SSHServer, start_standin, write_key
from tests.drivers.test_hosts_ssh import alive

ONE, TWO = content(1), content(2)


def prepare(bed: Bed, what: str, *, fence: int = 1) -> Answer:
    return bed.hosts.prepare(bed.host, bed.site, release(what), fence=fence, key=f"prepare:{what}", deadline=60)


def activate(bed: Bed, what: str, expected: str | None, *, fence: int, key: str, deadline: float = 60) -> Answer:
    return bed.hosts.activate(bed.host, bed.site, what, expected=expected, fence=fence, key=key, deadline=deadline)


def written(path: Path) -> int:
    """The process number that a script wrote there."""
    wait_until(lambda: path.exists() and path.read_text().strip(), seconds=30, what=f"{path.name} is written")
    return int(path.read_text())


def act_of(bed: Bed, key: str) -> Path:
    return Path(bed.site.root, ".aureus", "acts", key)


def done_lines(bed: Bed) -> int:
    return sum(line[2] == "activate@main" and line[4] == "done" for line in bed.ledger())


class Stalling(io.RawIOBase):
    """An archive whose bytes stop coming."""

    def __init__(self, held: bytes) -> None:
        self.held = io.BytesIO(held)
        self.go_on = threading.Event()

    def read(self, size: int = -1) -> bytes:
        if self.held.tell() > len(self.held.getvalue()) // 2:
            self.go_on.wait(120)
        return self.held.read(size)


def test_a_higher_fence_ends_a_prepare_that_hangs_in_its_transfer(real_bed: Bed, sshd: SSHServer) -> None:
    held = os.urandom(300_000)
    archive = packed({"noise": held})
    stalling = Stalling(archive)
    slow = replace(release(ONE, archive), archive=lambda: cast(BinaryIO, stalling))
    errors: list[HostError] = []
    real_bed.hosts.facts(real_bed.host, real_bed.site)

    def late_worker() -> None:
        hosts = SSHHosts()
        try:
            hosts.prepare(real_bed.host, real_bed.site, slow, fence=1, key="slow", deadline=100)
        except HostError as error:
            errors.append(error)
        hosts.close()

    worker = threading.Thread(target=late_worker, daemon=True)
    worker.start()
    leader = act_of(real_bed, "slow") / "leader"
    wait_until(lambda: list(Path(real_bed.site.root).glob("releases/.tmp-slow.*/archive")), seconds=30, what="it hangs")
    pid = int(leader.read_text().split()[0])
    assert prepare(real_bed, TWO, fence=2).state == "done"
    assert not alive(pid)
    assert not list(Path(real_bed.site.root).glob("releases/.tmp-*"))
    stalling.go_on.set()
    worker.join(60)
    [error] = errors
    assert (type(error), error.code) == (ActRefused, "stale_fence")
    assert real_bed.hosts.facts(real_bed.host, real_bed.site).releases == (TWO,)


def test_a_higher_fence_ends_a_restart_that_does_not_listen(real_bed: Bed) -> None:
    prepare(real_bed, ONE)
    mark = real_bed.folder / "pid"
    real_bed.tell_restart(f"trap '' TERM; echo $$ >{mark}; while :; do sleep 1; done")
    assert activate(real_bed, ONE, None, fence=2, key="a").state == "running"
    stubborn = written(mark)
    answer = real_bed.hosts.stop(real_bed.host, real_bed.site, fence=3, key="s")
    assert stubborn in answer.data["ended"]
    assert not alive(stubborn)


def test_a_number_that_was_given_to_somebody_else_is_not_killed(real_bed: Bed) -> None:
    """The machine's numbers go round; the start time tells whose it is."""
    prepare(real_bed, ONE)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as innocent:
        act = act_of(real_bed, "gone")
        act.mkdir()
        (act / "fence").write_text("1\n")
        (act / "leader").write_text(f"{innocent.pid} 1 {boot} gone\n")
        answer = real_bed.hosts.stop(real_bed.host, real_bed.site, fence=2, key="s")
        assert answer.data["ended"] == []
        assert alive(innocent.pid)
        innocent.kill()


def test_what_a_killed_act_left_running_is_found_and_ended(real_bed: Bed) -> None:
    prepare(real_bed, ONE)
    mark = real_bed.folder / "pid"
    real_bed.tell_restart(f"echo $$ >{mark}; sleep 600")
    activate(real_bed, ONE, None, fence=2, key="a")
    orphan = written(mark)
    leader = int((act_of(real_bed, "a") / "leader").read_text().split()[0])
    for line in Path("/proc").glob("[0-9]*/stat"):
        _kill_act_shell(line, leader, orphan)
    os.kill(leader, signal.SIGKILL)
    wait_until(lambda: not alive(leader), seconds=10, what="the leader is gone")
    assert alive(orphan)
    with pytest.raises(ActFailed) as caught:
        real_bed.hosts.status(real_bed.host, real_bed.site, "a")
    assert caught.value.code == "lost"
    assert orphan in real_bed.hosts.stop(real_bed.host, real_bed.site, fence=3, key="s").data["ended"]
    assert not alive(orphan)


def _kill_act_shell(stat: Path, leader: int, spared: int) -> None:
    """Ends the act's own shells of a session, not the restart command's."""
    try:
        command = (stat.parent / "cmdline").read_bytes()
        session = int(stat.read_text().rsplit(")", 1)[1].split()[3])
    except (FileNotFoundError, ProcessLookupError):
        return
    pid = int(stat.parent.name)
    if session == leader and pid not in (leader, spared) and b"activate-now" in command:
        os.kill(pid, signal.SIGKILL)


def test_an_activation_killed_between_switch_and_restart_is_finished_by_the_next(real_bed: Bed) -> None:
    prepare(real_bed, ONE)
    once = real_bed.folder / "once"
    # The first restart ends its whole act by force before it has any effect.
    real_bed.tell_restart(f"[ -e {once} ] || {{ : >{once}; kill -KILL 0; sleep 60; }}")
    with pytest.raises(ActFailed) as caught:
        activate(real_bed, ONE, None, fence=2, key="a")
    assert caught.value.retry
    assert real_bed.hosts.facts(real_bed.host, real_bed.site).current == ONE
    assert (real_bed.restarts(), done_lines(real_bed)) == (0, 0)
    assert activate(real_bed, ONE, None, fence=3, key="a").state == "done"
    assert activate(real_bed, ONE, None, fence=4, key="a").state == "already"
    assert (real_bed.restarts(), done_lines(real_bed)) == (1, 1)


def test_a_worker_killed_in_the_middle_does_not_end_the_restart(real_bed: Bed, sshd: SSHServer) -> None:
    prepare(real_bed, ONE)
    go, begun = real_bed.folder / "go", real_bed.folder / "begun"
    real_bed.tell_restart(f"echo $$ >{begun}; while [ ! -e {go} ]; do sleep 0.1; done")
    hosts = SSHHosts()
    errors: list[HostError] = []

    def ask() -> None:
        try:
            hosts.activate(real_bed.host, real_bed.site, ONE, expected=None, fence=2, key="a", deadline=60)
        except HostError as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    written(begun)
    hosts.close()
    asking.join(30)
    assert isinstance(errors[0], Unreachable)
    assert activate(real_bed, ONE, None, fence=3, key="a").state == "running"
    go.touch()
    wait_until(
        lambda: real_bed.hosts.status(real_bed.host, real_bed.site, "a").state == "done", seconds=30, what="it ends"
    )
    assert (real_bed.restarts(), done_lines(real_bed)) == (1, 1)


def test_a_restart_that_hangs_ends_at_its_deadline_with_nobody_watching(real_bed: Bed) -> None:
    prepare(real_bed, ONE)
    mark = real_bed.folder / "pid"
    real_bed.tell_restart(f"trap '' TERM; echo $$ >{mark}; while :; do sleep 1; done")
    assert activate(real_bed, ONE, None, fence=2, key="a", deadline=3).state == "running"
    stubborn = written(mark)
    real_bed.hosts.close()  # type: ignore[attr-defined]
    wait_until(lambda: not alive(stubborn), seconds=30, what="the restart is ended by the host")
    wait_until((act_of(real_bed, "a") / "result").exists, seconds=10, what="its end is written down")
    with pytest.raises(ActTimedOut, match="within 3 s"):
        SSHHosts().status(real_bed.host, real_bed.site, "a")
    assert real_bed.ledger()[-1][4] == "timed_out"


def test_an_app_that_a_restart_started_outlives_later_acts(real_bed: Bed) -> None:
    for each in (ONE, TWO):
        prepare(real_bed, each)
    mark = real_bed.folder / "pid"
    real_bed.tell_restart(f"[ -e {mark} ] || {{ sleep 600 >/dev/null 2>&1 & echo $! >{mark}; }}")
    activate(real_bed, ONE, None, fence=2, key="a")
    app = written(mark)
    try:
        activate(real_bed, TWO, ONE, fence=3, key="b")
        assert real_bed.hosts.stop(real_bed.host, real_bed.site, fence=4, key="s").data["ended"] == []
        assert alive(app)
    finally:
        os.kill(app, signal.SIGKILL)


def test_a_release_that_changed_on_disk_is_not_activated_and_is_repaired(real_bed: Bed) -> None:
    prepare(real_bed, ONE)
    app = Path(real_bed.site.root, "releases", ONE, "bin", "app")
    app.write_text("something else")
    with pytest.raises(ActRefused) as caught:
        activate(real_bed, ONE, None, fence=2, key="a")
    assert caught.value.code == "incomplete"
    assert prepare(real_bed, ONE, fence=3).state == "done"
    assert app.read_text() == ONE
    assert activate(real_bed, ONE, None, fence=4, key="a").state == "done"


def test_a_release_holds_a_manifest_of_every_file(real_bed: Bed) -> None:
    archive = packed({"a b": b"1", "deep/ä": b"2"})
    real_bed.hosts.prepare(real_bed.host, real_bed.site, release(ONE, archive), fence=1, key="p", deadline=60)
    folder = Path(real_bed.site.root, "releases", ONE)
    manifest = {line[66:]: line[:64] for line in (folder / ".manifest").read_text().splitlines()}
    found = {f"./{path.relative_to(folder)}": path for path in folder.rglob("*") if path.is_file()}
    del found["./.manifest"]
    assert manifest == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}
    assert {"./a b", "./deep/ä", "./workflow.json", "./.links"} == set(manifest)


def test_what_a_killed_prepare_left_is_swept_by_prune(real_bed: Bed) -> None:
    prepare(real_bed, ONE)
    left = Path(real_bed.site.root, "releases", ".tmp-dead.abc123")
    left.mkdir()
    act_of(real_bed, "dead").mkdir()
    (left / "half").write_text("half a release")
    real_bed.hosts.prune(real_bed.host, real_bed.site, {ONE}, fence=2, key="prune")
    assert not left.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Eight MiB that are really full when they are full."""
    if os.geteuid() != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("mounting a small disk needs root")
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=500", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.system
def test_a_disk_that_fills_up_while_unpacking_leaves_the_old_release_untouched(real_bed: Bed, small_disk: Path) -> None:
    bed = make_bed(real_bed.hosts, real_bed.host, small_disk, real_bed.server)
    prepare(bed, ONE)
    activate(bed, ONE, None, fence=2, key="a")
    # Announced as small, so that only the disk itself can say no.
    big = release(TWO, packed({"zeros": bytes(20 * 2**20)}), unpacked_size=1000)
    with pytest.raises(ActRefused) as caught:
        bed.hosts.prepare(bed.host, bed.site, big, fence=3, key="big", deadline=60)
    assert (caught.value.code, caught.value.retry) == ("no_space", False)
    facts = bed.hosts.facts(bed.host, bed.site)
    assert (facts.current, facts.releases) == (ONE, (ONE,))
    assert not list(small_disk.glob("app/releases/.tmp-*"))
    assert prepare(bed, TWO, fence=4).state == "done"


def fill(path: Path) -> None:
    """As an app's log does: byte by byte, to the end."""
    with path.open("wb", buffering=0) as log:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while log.write(bytes(size)):
                    pass
        log.write(b"1")


@pytest.mark.system
def test_a_full_disk_does_not_prevent_going_back(real_bed: Bed, small_disk: Path) -> None:
    bed = make_bed(real_bed.hosts, real_bed.host, small_disk, real_bed.server)
    bed.tell_restart("exit 0")
    for each in (ONE, TWO):
        prepare(bed, each)
    activate(bed, ONE, None, fence=2, key="a")
    activate(bed, TWO, ONE, fence=3, key="b")
    with pytest.raises(OSError, match="No space left"):
        fill(small_disk / "app.log")
    assert activate(bed, ONE, TWO, fence=4, key="back").state == "done"
    assert bed.hosts.facts(bed.host, bed.site).current == ONE


@pytest.mark.system
def test_too_few_inodes_are_refused_before_the_transfer(real_bed: Bed, small_disk: Path) -> None:
    bed = make_bed(real_bed.hosts, real_bed.host, small_disk, real_bed.server)
    with pytest.raises(ActRefused) as caught:
        bed.hosts.prepare(bed.host, bed.site, release(ONE, files=480), fence=1, key="p", deadline=60)
    assert caught.value.code == "no_inodes"


def test_the_stand_in_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    for name in ("client", "hostkey"):
        write_key(tmp_path / name)
    words = ["--home", tmp_path, "--authorized-key", tmp_path / "client.pub", "--host-key", tmp_path / "hostkey"]
    command = [sys.executable, "-m", "aureus.demo.sshhost", *map(str, words)]
    # The parent ends as soon as the server listens, and has asked the kernel for nothing.
    program = (
        "import subprocess, sys\n"
        f"server = subprocess.Popen({command!r}, stdout=subprocess.PIPE)\n"
        "assert b'listening' in server.stdout.readline()\n"
        "sys.stdout.write(str(server.pid))\n"
    )
    root = Path(__file__).parents[2]
    said = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True).stdout
    wait_until(lambda: not alive(int(said)), seconds=20, what="the stand-in ends")


def test_the_stand_in_survives_a_command_that_closes_its_input_early(tmp_path: Path) -> None:
    server = start_standin(tmp_path)
    hosts = SSHHosts()
    try:
        flood = bytes(8 * 2**20)
        assert hosts.run(server.address(), ["sh", "-c", "exec 0<&-; sleep 0.2; exit 3"], flood)[0] == 3
        assert hosts.run(server.address(), ["wc", "-c"], flood)[1].strip() == str(len(flood)).encode()
    finally:
        hosts.close()
        server.stop()
