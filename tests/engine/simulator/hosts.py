"""Machines as they really are: hosts with a link and a process, and the balancer. Both keep the highest fence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class Unreachable(Exception):
    """Nobody answers."""


class Refused(Exception):
    """The machine will not do it, now or later."""


@dataclass(slots=True)
class Host:
    """`link`: what its link is on; `process`: what answers there. `highest` is the simulator's own memory of fences."""

    name: str
    fenced: bool = True
    link: str | None = None
    process: str | None = None
    fence: int = 0
    highest: int = 0
    away_until: int = 0
    restart: tuple[str, int, int] | None = None
    sick: set[str] = field(default_factory=set)
    ran: set[str] = field(default_factory=set)

    def reach(self, now: int) -> None:
        """Raises Unreachable. A restart that has ended by now has ended."""
        if self.away_until > now:
            raise Unreachable(f"{self.name} is out of reach")
        if self.restart is not None and self.restart[1] <= now:
            self.process, self.restart = self.link, None

    def act(self, fence: int, key: str, now: int) -> bool:
        """Any changing act; a lower one that still runs there is ended. False: it should have been refused."""
        self.reach(now)
        if self.fenced and fence < self.fence:
            raise Refused(f"{self.name} saw fence {self.fence}, this is {fence}")
        lawful, self.highest = fence >= self.highest, max(self.highest, fence)
        self.fence = max(self.fence, fence)
        if self.restart is not None and self.restart[0] != key and self.restart[2] < fence:
            self.restart = None
        return lawful

    def switch(self, content: str, expected: str | None, fence: int, key: str, now: int, takes: int) -> bool:
        """Compare and swap the link, then restart; whether the restart has ended already."""
        if self.restart is not None and self.restart[0] == key:
            self.restart = (key, self.restart[1], fence)
            return False
        if self.link == content == self.process:
            return True
        if self.link not in (expected, content):
            raise Refused(f"{self.name} is on {self.link}, expected was {expected}")
        self.link = content
        if takes:
            self.process, self.restart = None, (key, now + takes, fence)
            return False
        self.process = content
        return True

    def once(self, key: str) -> bool:
        """Whether a command is carried out: by one name it is begun once."""
        if key in self.ran:
            return False
        self.ran.add(key)
        return True

    def reboot(self, now: int, takes: int) -> None:
        """What ran is lost; it comes back with the link it had."""
        self.away_until, self.restart, self.process = max(self.away_until, now + takes), None, self.link

    def healthy(self, content: str | None, now: int) -> bool:
        """Its own answer: it runs this content and is well."""
        if content is None or self.away_until > now:
            return False
        running = self.link if self.restart is not None and self.restart[1] <= now else self.process
        return running == content and content not in self.sick


@dataclass(slots=True)
class Balancer:
    """The live weights, and our record of what they should be."""

    weights: dict[str, int]
    wanted: dict[str, int]
    fenced: bool = True
    fence: int = 0
    wanted_fence: int = 0
    highest: int = 0
    away_until: int = 0

    def write_down(self, weights: Mapping[str, int], fence: int) -> bool:
        """Our record first, guarded by the fence."""
        if self.fenced and fence < self.wanted_fence:
            return False
        self.wanted, self.wanted_fence = dict(weights), max(fence, self.wanted_fence)
        return True

    def verify(self, weights: Mapping[str, int], now: int) -> bool:
        """Whether these are live."""
        if self.away_until > now:
            raise Unreachable("the balancer is out of reach")
        return all(self.weights.get(name, 0) == weight for name, weight in weights.items())

    def set(self, weights: Mapping[str, int], fence: int, now: int) -> bool:
        """Make them live. False: it should have been refused."""
        if self.away_until > now:
            raise Unreachable("the balancer is out of reach")
        if self.fenced and fence < self.fence:
            raise Refused(f"the balancer saw fence {self.fence}, this is {fence}")
        lawful, self.highest = fence >= self.highest, max(self.highest, fence)
        self.fence, self.weights = max(self.fence, fence), dict(weights)
        return lawful
