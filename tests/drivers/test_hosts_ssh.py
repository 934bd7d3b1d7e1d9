"""Who we talk to and how: pinned keys, our own keys, strong algorithms, one pool, and no faith in what a host says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import deployments
from aureus.embedded import kept
from deployments.drivers import (
    ActFailed,
    ActRefused,
    ActTimedOut,
    AuthRefused,
    HostAddress,
    KeyRefused,
    Site,
    Unreachable,
)
from deployments.drivers.ssh import SSHHosts, fingerprint_of, no_keys
from deployments.drivers.ssh.acts import act_command, plain
from tests.conftest import wait_until
from tests.drivers.conftest import Bed, require_sshd
from tests.drivers.releases import content, release
from tests.drivers.sshd import SSHServer, start_sshd, write_key


@pytest.fixture
def own_sshd(tmp_path: Path) -> Iterator[SSHServer]:
    """A real sshd for one test, with a log of its own."""
    require_sshd()
    server = start_sshd(tmp_path)
    yield server
    server.stop()


def test_a_changed_host_key_is_refused_before_anything_is_sent(own_sshd: SSHServer, ssh_hosts: SSHHosts) -> None:
    other = f"SHA256:{'B' * 43}"
    with pytest.raises(KeyRefused) as caught:
        ssh_hosts.run(own_sshd.address(fingerprint=other), ["true"])
    error = caught.value
    assert error.code == "host_key_mismatch"
    assert not error.retry
    assert own_sshd.fingerprint in error.sentence
    assert other in error.sentence
    assert "aureus hosts trust h1" in error.sentence
    wait_until(
        lambda: re.search(r"Connection (closed|reset)|Unable|Received", own_sshd.log()),
        seconds=20,
        what="the server saw us leave",
    )
    assert own_sshd.log().count("Connection from") == 1
    assert "Accepted" not in own_sshd.log()
    assert "userauth" not in own_sshd.log()
    assert f"user {own_sshd.user}" not in own_sshd.log(), "not even the user's name"


def test_an_unknown_host_key_is_refused_without_a_connection(own_sshd: SSHServer, ssh_hosts: SSHHosts) -> None:
    with pytest.raises(KeyRefused, match=r"host h2 has no pinned key.*run: aureus hosts trust h2"):
        ssh_hosts.run(own_sshd.address("h2", fingerprint=""), ["true"])
    assert "Connection from" not in own_sshd.log()


def test_a_fingerprint_is_fetched_without_authenticating(own_sshd: SSHServer) -> None:
    assert fingerprint_of("127.0.0.1", own_sshd.port) == own_sshd.fingerprint
    assert "Accepted" not in own_sshd.log()


def test_the_fingerprint_is_the_one_that_openssh_shows(sshd: SSHServer) -> None:
    shown = subprocess.run(
        ["ssh-keygen", "-lf", sshd.folder / "hostkey.pub"], capture_output=True, text=True, check=True
    ).stdout
    assert sshd.fingerprint in shown


def test_a_key_that_the_host_does_not_know_is_not_tried_twice(
    own_sshd: SSHServer, ssh_hosts: SSHHosts, tmp_path: Path
) -> None:
    write_key(tmp_path / "stranger")
    with pytest.raises(AuthRefused) as caught:
        ssh_hosts.run(own_sshd.address(key_ref=f"file:{tmp_path / 'stranger'}"), ["true"])
    assert not caught.value.retry
    assert own_sshd.log().count("Connection from") == 1


def test_a_key_may_come_from_the_environment(
    sshd: SSHServer, ssh_hosts: SSHHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("H1_KEY", (sshd.folder / "client").read_text())
    assert ssh_hosts.run(sshd.address(key_ref="env:H1_KEY"), ["true"])[0] == 0


@pytest.mark.parametrize("ref", ["file:/nowhere/key", "env:NOT_SET_ANYWHERE", "file:/etc/hostname"])
def test_a_key_that_cannot_be_read_is_named(sshd: SSHServer, ssh_hosts: SSHHosts, ref: str) -> None:
    with pytest.raises(AuthRefused, match=ref):
        ssh_hosts.run(sshd.address(key_ref=ref), ["true"])


def test_a_web_process_cannot_reach_hosts(sshd: SSHServer) -> None:
    with pytest.raises(AuthRefused, match="may not use SSH keys"):
        SSHHosts(no_keys).run(sshd.address(), ["true"])


@pytest.mark.parametrize(
    "line", ["Ciphers aes256-cbc", "Ciphers 3des-cbc", "MACs hmac-sha1\nCiphers aes256-ctr", "MACs hmac-md5"]
)
def test_a_host_with_only_weak_algorithms_is_refused(tmp_path: Path, ssh_hosts: SSHHosts, line: str) -> None:
    require_sshd()
    # Without authenticated ciphers beside it, the weak MAC is all there is.
    server = start_sshd(tmp_path, line if "Ciphers" in line else f"{line}\nCiphers aes256-ctr")
    try:
        with pytest.raises(AuthRefused, match="no acceptable algorithm"):
            ssh_hosts.run(server.address(), ["true"])
    finally:
        server.stop()


def test_a_bastion_is_pinned_as_well(sshd: SSHServer, own_sshd: SSHServer, ssh_hosts: SSHHosts) -> None:
    bastion = own_sshd.address("gate")
    assert ssh_hosts.run(sshd.address(bastion=bastion), ["echo", "through"])[1] == b"through\n"
    assert "direct-tcpip" in own_sshd.log() or "Accepted" in own_sshd.log()
    wrong = replace(bastion, fingerprint=f"SHA256:{'C' * 43}")
    with pytest.raises(KeyRefused, match="host gate"):
        ssh_hosts.run(sshd.address(bastion=wrong), ["true"])


def test_one_connection_serves_many_commands_and_threads(own_sshd: SSHServer, ssh_hosts: SSHHosts) -> None:
    threads = [
        threading.Thread(target=ssh_hosts.run, args=(own_sshd.address(), ["echo", str(number)])) for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert own_sshd.log().count("Accepted publickey") == 1


def test_a_restarted_server_is_met_with_a_new_connection(tmp_path: Path, ssh_hosts: SSHHosts) -> None:
    require_sshd()
    first = start_sshd(tmp_path)
    assert ssh_hosts.run(first.address(), ["true"])[0] == 0
    second = start_sshd(tmp_path)
    first.stop()
    try:
        assert ssh_hosts.run(second.address(), ["true"])[0] == 0
    finally:
        second.stop()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_opens_its_own_connection(own_sshd: SSHServer, ssh_hosts: SSHHosts) -> None:
    assert ssh_hosts.run(own_sshd.address(), ["true"])[0] == 0
    child = os.fork()
    if child == 0:
        try:
            os._exit(ssh_hosts.run(own_sshd.address(), ["true"])[0])
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ssh_hosts.run(own_sshd.address(), ["true"])[0] == 0
    assert own_sshd.log().count("Accepted publickey") == 2


def test_a_frozen_host_is_given_up_in_time(tmp_path: Path) -> None:
    require_sshd()
    server = start_sshd(tmp_path)
    server.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Unreachable) as caught:
            fingerprint_of("127.0.0.1", server.port, seconds=1)
        assert caught.value.retry
    finally:
        server.stop()


def test_a_port_where_nobody_listens_is_unreachable(ssh_hosts: SSHHosts, sshd: SSHServer) -> None:
    [port] = kept.free_ports(1)
    with pytest.raises(Unreachable, match="cannot be reached"):
        ssh_hosts.run(sshd.address(port=port), ["true"])


def test_endless_output_is_cut_off(sshd: SSHServer, ssh_hosts: SSHHosts) -> None:
    with pytest.raises(ActFailed) as caught:
        ssh_hosts.run(sshd.address(), ["yes"], timeout=30)
    assert caught.value.code == "too_much_output"
    assert ssh_hosts.run(sshd.address(), ["echo", "well"])[1] == b"well\n"


def test_a_host_cannot_answer_for_an_act_with_a_line_it_prints(real_bed: Bed) -> None:
    """The nonce tells our script's answer from anything else, such as a restart command's output or a greeting."""
    forged = '{"nonce":"none","state":"done","code":"","sentence":"","data":{}}'
    real_bed.tell_restart(f"echo '{forged}'; exit 1")
    with pytest.raises(ActFailed) as caught:
        real_bed.hosts.status(real_bed.host, real_bed.site, "a")
    assert caught.value.code == "absent"


def test_text_from_a_host_cannot_move_a_cursor(real_bed: Bed) -> None:
    assert plain("\x1b[2J\x1b]0;title\x07red\x1b[31m text\x08\r\x9b1m") == "red text1m"
    Path(real_bed.site.root, ".aureus").mkdir(parents=True)
    log = real_bed.folder / "app.log"
    log.write_bytes(b'\x1b[31m"quoted" \\ back\ttab\x00\xff\nsecond line\n')
    said = real_bed.hosts.logs(real_bed.host, replace(real_bed.site, log=str(log)), 10)
    assert said == '"quoted" \\ back\ttab\N{REPLACEMENT CHARACTER}\nsecond line\n'.rstrip("\n")


def test_an_act_script_that_was_changed_on_the_host_is_replaced(real_bed: Bed) -> None:
    real_bed.hosts.facts(real_bed.host, real_bed.site)
    [script] = Path(real_bed.site.root, ".aureus").glob("act-*")
    script.write_text(f"touch {real_bed.folder}/canary\n")
    real_bed.hosts.facts(real_bed.host, real_bed.site)
    assert not (real_bed.folder / "canary").exists()


def test_a_root_that_cannot_be_made_says_what_to_do(real_bed: Bed) -> None:
    (real_bed.folder / "file").write_text("")
    with pytest.raises(ActRefused, match="create it and give it to") as caught:
        real_bed.hosts.facts(real_bed.host, Site(f"{real_bed.folder}/file/app"))
    assert caught.value.code == "no_root"


def test_missing_tools_are_named_before_anything_is_touched(real_bed: Bed, tmp_path: Path) -> None:
    """The script itself, with a PATH that lacks two tools."""
    tools = tmp_path / "tools"
    tools.mkdir()
    words = "sh sed tail tr df stat find xargs sort head od readlink realpath sync mktemp setsid timeout sha256sum date"
    for name in [*words.split(), "gzip", "base64", "mkdir", "cat", "grep", "id", "rm", "mv", "chmod", "ls", "wc", "ln"]:
        found = shutil.which(name)
        assert found, name
        (tools / name).symlink_to(found)
    script = Path(deployments.__file__).parent / "host" / "act.sh"
    changed = script.read_text().replace("PATH=${PATH:-/usr/bin:/bin}:/usr/sbin:/sbin", f"PATH={tools}")
    (tmp_path / "act.sh").write_text(changed)
    words_of_act: list[str | Path] = ["/bin/sh", tmp_path / "act.sh", tmp_path / "root", "n", "facts"]
    said = subprocess.run(words_of_act, capture_output=True, text=True, check=True).stdout
    assert '"missing_tools":["flock","tar","GNU-tar"]' in said


def test_the_act_script_passes_shellcheck() -> None:
    script = Path(deployments.__file__).parent / "host" / "act.sh"
    shellcheck = shutil.which("shellcheck") or str(Path(os.sys.executable).parent / "shellcheck")  # type: ignore[attr-defined]
    done = subprocess.run([shellcheck, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_client_of_ours_accepts_any_key() -> None:
    source = Path(deployments.__file__).parent
    for path in source.rglob("*.py"):
        assert "AutoAdd" not in path.read_text(), path
        if path.parent.name != "ssh":
            assert not re.search(r"^\s*(import|from) (fabric|paramiko)", path.read_text(), re.M), path


def test_a_command_line_never_holds_a_line_break() -> None:
    """Some login shells cannot quote one."""
    assert "\n" not in act_command("/srv/app", "n", "facts", ["--slot", "main"], 20)


def test_a_command_that_outlives_its_caller_ends_at_its_own_time(own_sshd: SSHServer, tmp_path: Path) -> None:
    """The connection is cut while the command hangs; nobody is left to end it but the host."""
    hosts = SSHHosts()
    mark = tmp_path / "pid"
    outcome: list[BaseException] = []

    def ask() -> None:
        try:
            hosts.run(own_sshd.address(), ["sh", "-c", f"echo $$ >{mark}; trap '' HUP PIPE; sleep 600"], timeout=4)
        except (Unreachable, ActTimedOut) as error:
            outcome.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: mark.exists() and mark.read_text().strip(), seconds=20, what="the command runs")
    hosts.close()
    asking.join(20)
    pid = int(mark.read_text())
    assert isinstance(outcome[0], Unreachable)
    assert alive(pid)
    wait_until(lambda: not alive(pid), seconds=30, what="the command ends by itself")


def alive(pid: int) -> bool:
    """Whether a process still runs; one that nobody reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_addresses_compare_by_all_they_say(sshd: SSHServer) -> None:
    """The pool's key: another user, key or bastion is another connection."""
    one: HostAddress = sshd.address()
    assert len({one, replace(one, user="other"), replace(one, key_ref="agent"), replace(one, bastion=one), one}) == 4


def test_a_foreign_current_is_never_taken_over(real_bed: Bed) -> None:
    root = Path(real_bed.site.root)
    one = content(1)
    real_bed.hosts.prepare(real_bed.host, real_bed.site, release(one), fence=1, key="p", deadline=60)
    (root / "mine").mkdir()
    (root / "current").symlink_to("mine")
    with pytest.raises(ActRefused) as caught:
        real_bed.hosts.adopt(real_bed.host, real_bed.site, one, expected=None, fence=2, key="a")
    assert caught.value.code == "not_ours"
    assert (root / "current").readlink() == Path("mine")
    assert not (root / "slots" / "main").exists()
