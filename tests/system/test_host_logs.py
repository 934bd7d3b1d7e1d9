"""Journal and access log of a host with a systemd of its own, read over SSH as the user that deploys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import pytest

from deployments.drivers import HostAddress, HostError
from deployments.drivers.ssh import SSHHosts
from health.sources.access_log import LogRead, read_log
from health.sources.journal import count_errors
from health.sources.shell import CannotRun, Run
from tests.system.bed import Bed, BedHost, why_not

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
NOISY = """[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo "<3>it broke"; echo "<6>all is well"; echo "<2>it burns"; echo plain'
"""
LINE = '10.0.0.9 [2026-11-24T01:02:03+00:00] "GET / HTTP/1.1" 200 12 0.044 "10.0.0.11:8080" "200" "0.042"\n'
LOG = "var/log/shop.log"


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    if why := why_not():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    with Bed(1) as bed:
        [host] = bed.hosts
        host.put("etc/systemd/system/noisy.service", NOISY)
        bed.boot()
        yield bed


@pytest.fixture
def login(bed: Bed) -> Iterator[Callable[[], Run]]:
    """A new login each time: groups are those of its beginning."""
    opened: list[SSHHosts] = []
    [host] = bed.hosts
    address = HostAddress("h1", host.address, 22, "deploy", host.fingerprint, f"file:{bed.key}")

    def log_in() -> Run:
        hosts = SSHHosts()
        opened.append(hosts)

        def run(words: Sequence[str], stdin: bytes, timeout: float) -> tuple[int, bytes, bytes]:
            try:
                return hosts.run(address, words, stdin, timeout)
            except HostError as error:
                raise CannotRun(error.sentence) from None

        return run

    yield log_in
    for hosts in opened:
        hosts.close()


def test_errors_of_a_unit_are_counted_once_and_only_by_who_may_read_them(bed, login):
    [host] = bed.hosts
    host.run("systemctl", "start", "noisy.service")
    refused = count_errors(login(), "noisy.service", None, 3600)
    assert refused.kind == "absent" and "systemd-journal" in refused.why
    host.run("usermod", "-aG", "systemd-journal", "deploy")
    run = login()
    unknown = count_errors(run, "nobody.service", None, 3600)
    assert unknown.kind == "absent" and "knows no unit" in unknown.why
    first = count_errors(run, "noisy.service", None, 3600)
    assert (first.kind, first.count) == ("value", 2), first.why
    assert count_errors(run, "noisy.service", first.state, 3600).count == 0
    host.run("systemctl", "start", "noisy.service")
    assert count_errors(run, "noisy.service", first.state, 3600).count == 2
    assert count_errors(run, "noisy.service", None, 3600).count == 4
    assert count_errors(run, "noisy.service", None, 0).count == 0


def write(host: BedHost, text: str, *, mode: str = "a") -> None:
    with (host.root / LOG).open(mode) as stream:
        stream.write(text)


def test_an_access_log_is_read_over_ssh_through_rotation_and_much_traffic(bed, login):
    [host], run = bed.hosts, login()

    def read(state: object) -> LogRead:
        return read_log(run, f"/{LOG}", "nginx", state, {"10.0.0.11:8080": "h1"})  # type: ignore[arg-type]

    assert read(None).kind == "absent"
    host.put(LOG, LINE, mode=0o600)
    hidden = read(None)
    assert hidden.kind == "absent" and "cannot be read by our user" in hidden.why
    (host.root / LOG).chmod(0o644)
    first = read(None)
    assert first.kind == "first"
    write(host, LINE * 30_000)  # 3 MB, more than the connection carries unpacked
    much = read(first.state)
    assert (much.kind, much.of["h1"].requests) == ("counts", 30_000), much.why
    write(host, LINE * 2)
    host.run("mv", f"/{LOG}", f"/{LOG}.1")
    host.put(LOG, LINE * 3)
    rotated = read(much.state)
    assert (rotated.kind, rotated.of["h1"].requests) == ("counts", 5), rotated.why
    write(host, os.urandom(1_500_000).hex() + "\n")
    hostile = read(rotated.state)
    assert (hostile.kind, hostile.state) == ("down", None)
    assert "said more than" in hostile.why


def test_a_host_that_lacks_a_tool_says_so(bed, login):
    [host] = bed.hosts
    host.put("var/log/other.log", LINE)
    host.run("mv", "/usr/bin/gzip", "/usr/bin/gzip.away")
    try:
        first = read_log(login(), "/var/log/other.log", "nginx", None, {})
        assert first.kind == "down", first
    finally:
        host.run("mv", "/usr/bin/gzip.away", "/usr/bin/gzip")
