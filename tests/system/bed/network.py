"""A bridge of its own and a free /24; each host has a network namespace with one leg in it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.system.bed.calls import BedError, run, try_to


class Network:
    """`tag` begins every name, so that two beds stand side by side; names of interfaces have 15 letters at most."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.bridge = f"{tag}br"
        self.prefix = ""

    def up(self) -> None:
        """Make the bridge."""
        self.prefix = _free_prefix()
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "address", "add", f"{self.prefix}.1/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")

    def down(self) -> None:
        """Take the bridge away; the legs of hosts went with their namespaces."""
        try_to("ip", "link", "delete", self.bridge)

    def leg(self, number: int) -> Leg:
        """The place of one host."""
        return Leg(self, f"{self.tag}h{number}", f"{self.prefix}.{10 + number}")


class Leg:
    """One host's namespace and its cable to the bridge."""

    def __init__(self, network: Network, name: str, address: str) -> None:
        self.network = network
        self.name = name
        self.address = address
        self.rules: list[tuple[str, ...]] = []

    @property
    def namespace(self) -> Path:
        """Where the kernel shows it."""
        return Path("/run/netns") / self.name

    def up(self) -> None:
        """Make it."""
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "link", "set", self.name, "master", self.network.bridge, "up")
        run("ip", "-n", self.name, "address", "add", f"{self.address}/24", "dev", "eth0")
        run("ip", "-n", self.name, "link", "set", "eth0", "up")
        run("ip", "-n", self.name, "link", "set", "lo", "up")

    def down(self) -> None:
        """Take it away."""
        try_to("ip", "link", "delete", self.name)
        try_to("ip", "netns", "delete", self.name)

    def plug(self, state: str) -> None:
        """Pull the cable out ("down") or put it in ("up")."""
        run("ip", "link", "set", self.name, state)

    def filter(self, chain: str, *rule: str) -> None:
        """Put a rule of iptables before all others."""
        self._iptables("-I", chain, *rule)
        self.rules.append((chain, *rule))

    def unfilter(self) -> None:
        """Take all of our rules out."""
        while self.rules:
            self._iptables("-D", *self.rules.pop())

    def _iptables(self, *words: str) -> None:
        run("ip", "netns", "exec", self.name, "iptables", "-w", "10", *words)


def _free_prefix() -> str:
    taken = {
        address["local"].rsplit(".", 1)[0]
        for link in json.loads(run("ip", "-json", "-4", "address"))
        for address in link.get("addr_info", ())
    }
    routed = {route["dst"].split("/")[0].rsplit(".", 1)[0] for route in json.loads(run("ip", "-json", "-4", "route"))}
    for number in range(213, 250):
        prefix = f"10.{number}.0"
        if prefix not in taken | routed:
            return prefix
    raise BedError("no /24 below 10.213.0.0 to 10.249.0.0 is free")
