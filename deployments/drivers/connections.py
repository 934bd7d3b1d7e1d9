"""Established TCP connections of the balancer's machine, as its kernel lists them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from deployments.drivers.traffic import BalancerShell

TIMEOUT = 10
# Address and port of the other side, of connections to this port alone: a busy balancer has very many others.
_TO_PORT = '$4 == "01" && $3 ~ (":" port "$") {print $3}'


def established(shell: BalancerShell, dial: str) -> int | None:
    """Count the connections from the balancer's machine to host:port, whoever holds them; None is unknown."""
    host, _, port = dial.rpartition(":")
    wanted = _addresses(shell, host.strip("[]"))
    words = ["awk", "-v", f"port={int(port):04X}", _TO_PORT, "/proc/net/tcp", "/proc/net/tcp6"]
    status, out, _ = shell.run(words, b"", TIMEOUT)
    if status == 2:  # a machine without IPv6 has no second file
        status, out, _ = shell.run(words[:-1], b"", TIMEOUT)
    if status != 0 or not wanted:
        return None
    return sum(parsed(word) in wanted for word in out.decode("ascii", "replace").split())


def _addresses(shell: BalancerShell, host: str) -> set[IPv4Address | IPv6Address]:
    """What a host's name stands for on the balancer's machine; nothing where it does not know it."""
    try:
        return {_plain(ip_address(host))}
    except ValueError:
        status, out, _ = shell.run(["getent", "ahosts", host], b"", TIMEOUT)
        words = [line.split()[0] for line in out.decode("ascii", "replace").splitlines() if line.split()]
        return {_plain(ip_address(word.partition("%")[0])) for word in words} if status == 0 else set()


def parsed(word: str) -> IPv4Address | IPv6Address:
    """Read an address as the kernel writes it: 32-bit words, each in the machine's own (little) order."""
    octets = bytes.fromhex(word.partition(":")[0])
    ordered = b"".join(octets[at : at + 4][::-1] for at in range(0, len(octets), 4))
    return _plain(ip_address(ordered))


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address written as IPv6 is the IPv4 address."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
