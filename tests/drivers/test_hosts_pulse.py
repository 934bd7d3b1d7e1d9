"""A connection whose host answers nothing any more is given up, and one whose host answers is kept."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.drivers.ssh import local_keys, pulse
from deployments.drivers.ssh.connect import open_connection
from tests.conftest import wait_until
from tests.drivers.sshd import SSHServer, start_standin


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SSHServer]:
    server = start_standin(tmp_path)
    yield server
    server.stop()


def test_a_frozen_host_is_noticed_while_its_kernel_still_takes_our_packets(server: SSHServer) -> None:
    connection = open_connection(server.address(), local_keys, None)
    transport = connection.transport
    pulse.watch(transport, every=0.05, within=1)
    before = transport.packetizer._Packetizer__sequence_number_in
    wait_until(
        lambda: transport.packetizer._Packetizer__sequence_number_in > before + 3,
        seconds=10,
        what="the server answers each question",
    )
    assert transport.is_active()
    server.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: not transport.is_active(), seconds=20, what="the connection is given up")
