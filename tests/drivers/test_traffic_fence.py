"""Commands on a balancer's host run under its fence, over real SSH; and what its kernel says of connections."""

import socket

import pytest

from deployments.drivers.connections import established, parsed
from deployments.drivers.errors import ActRefused
from deployments.drivers.traffic import ShellOnHost, TrafficError
from tests.drivers.caddy_server import LocalShell


@pytest.fixture
def shell(standin, ssh_hosts, tmp_path):
    (tmp_path / "lb").mkdir()
    return ShellOnHost(ssh_hosts, standin.address(), str(tmp_path / "lb"))


def test_a_command_under_a_fence_that_was_overtaken_is_never_begun(shell, tmp_path):
    shell.put_file(str(tmp_path / "lb" / "weights"), b"x", fence=5)
    assert shell.run_fenced(["cat"], b"said", fence=5) == (0, b"said", b"")
    assert shell.run_fenced(["sh", "-c", "exit 3"], fence=6)[0] == 3
    with pytest.raises(ActRefused, match="fence 4 is lower than 5") as error:
        shell.run_fenced(["touch", str(tmp_path / "begun")], fence=4)
    assert error.value.code == "stale_fence"
    assert not (tmp_path / "begun").exists()


def test_a_program_that_is_missing_is_told_from_one_that_was_not_begun(shell, tmp_path):
    shell.put_file(str(tmp_path / "lb" / "weights"), b"x", fence=5)
    assert shell.run_fenced(["no-such-program"], fence=5)[0] == 127


def test_no_command_runs_where_no_fence_can_be_kept(shell):
    with pytest.raises(TrafficError) as error:
        shell.run_fenced(["true"], fence=5)
    assert (error.value.code, error.value.retry) == ("busy", False)


def test_connections_to_a_port_are_counted_whoever_holds_them():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert established(LocalShell(), f"127.0.0.1:{port}") == 0
        with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            assert established(LocalShell(), f"127.0.0.1:{port}") == 2
            assert established(LocalShell(), f"localhost:{port}") == 2
            assert established(LocalShell(), f"127.0.0.2:{port}") == 0
    assert established(LocalShell(), "no-such-host.invalid:80") is None


@pytest.mark.parametrize(
    ("word", "address"),
    [
        ("0100007F:1F90", "127.0.0.1"),
        ("0000000000000000FFFF00000100007F:1F90", "127.0.0.1"),
        ("00000000000000000000000001000000:0050", "::1"),
        ("B80D01200000000000000000010A0000:0050", "2001:db8::a01"),
    ],
)
def test_addresses_are_read_as_the_kernel_writes_them(word, address):
    assert str(parsed(word)) == address
