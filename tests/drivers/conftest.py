"""Hosts to test against: in memory, behind the demo's SSH server, behind a real sshd."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployments.drivers import HostAddress, Hosts, Site
from deployments.drivers.fake_hosts import FakeHosts
from deployments.drivers.ssh import SSHHosts
from tests.drivers.sshd import SSHD, SSHServer, start_sshd, start_standin


@dataclass
class Bed:
    """A driver, one host it reaches, and a site with a restart command that can be told to misbehave."""

    hosts: Hosts
    host: HostAddress
    site: Site
    folder: Path
    server: SSHServer | None

    def tell_restart(self, script: str) -> None:
        """What the site's restart command does from now on; the fake knows `exit 1` and `sleep` alone."""
        (self.folder / "restart.sh").write_text(script)
        if isinstance(self.hosts, FakeHosts):
            machine = self.hosts.at(self.host.name)
            machine.restart_fails = "exit 1" in script
            machine.restart_hangs = "sleep" in script

    def end(self) -> None:
        """What a failed test left running must not outlive it."""
        if list(Path(self.site.root).glob(".aureus/acts/*/leader")):
            self.hosts.stop(self.host, self.site, fence=10**15, key="end-of-test")

    def restarts(self) -> int:
        """How often the site's app was restarted to the end."""
        if isinstance(self.hosts, FakeHosts):
            return self.hosts.at(self.host.name).site(self.site.root).restarts
        seen = self.folder / "restarts"
        return len(seen.read_text().splitlines()) if seen.exists() else 0

    def ledger(self) -> list[list[str]]:
        """The lines of the host's ledger, split: key, fence, verb, content, result."""
        if isinstance(self.hosts, FakeHosts):
            return [[str(word) for word in line] for line in self.hosts.at(self.host.name).site(self.site.root).ledger]
        ledger = Path(self.site.root) / ".aureus" / "ledger"
        return [line.split()[:5] for line in ledger.read_text().splitlines()] if ledger.exists() else []


def require_sshd() -> None:
    """Skip without sshd on a laptop, fail where the whole suite is promised."""
    if SSHD is None:
        if os.environ.get("CI") == "true":
            pytest.fail("sshd is not installed: apt-get install openssh-server")
        pytest.skip("sshd is not installed")


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHServer]:
    """A real sshd of this run."""
    require_sshd()
    server = start_sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHServer]:
    """The demo's SSH server of this run."""
    server = start_standin(tmp_path_factory.mktemp("standin"))
    yield server
    server.stop()


@pytest.fixture
def ssh_hosts() -> Iterator[SSHHosts]:
    """The real driver, short of patience for restarts."""
    hosts = SSHHosts(seconds_to_wait=1)
    yield hosts
    hosts.close()


@pytest.fixture(params=["fake", "standin", "sshd"])
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    """The contract's beds."""
    if request.param == "fake":
        host = HostAddress("h1", "127.0.0.1", 22, "deploy", f"SHA256:{'A' * 43}", "agent")
        yield make_bed(FakeHosts(), host, tmp_path, None)
        return
    server: SSHServer = request.getfixturevalue(request.param)
    made = make_bed(request.getfixturevalue("ssh_hosts"), server.address(), tmp_path, server)
    yield made
    made.end()


@pytest.fixture
def real_bed(sshd: SSHServer, ssh_hosts: SSHHosts, tmp_path: Path) -> Iterator[Bed]:
    """Real sshd alone."""
    made = make_bed(ssh_hosts, sshd.address(), tmp_path, sshd)
    yield made
    made.end()


def make_bed(hosts: Hosts, host: HostAddress, folder: Path, server: SSHServer | None) -> Bed:
    """A bed with a restart command that counts."""
    restart = f"sh {folder}/restart.sh && echo $AUREUS_CONTENT >>{folder}/restarts"
    bed = Bed(hosts, host, Site(str(folder / "app"), restart=restart), folder, server)
    bed.tell_restart("exit 0")
    return bed
