"""Strategies: a fleet and options in, the parts of a deployment out, one after the other. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise

MAIN = "main"
"""The slot of an application that has one place on each host."""
SIDES = ("blue", "green")
"""The slots of an application that has two sides, of which one serves."""


class Unfit(ValueError):
    """The strategy or its options do not fit this installation; the text says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an installation may tune.

    batch: hosts at a time, a number ("2") or a share ("25%").
    max_failures: hosts that may fail before the deployment has failed.
    bake: seconds each part is watched before the next begins; 0 watches nothing.
    spread: seconds of rest between two batches of a rolling deployment.
    weights: percent of the traffic that a canary gives the new version, one after the other; the last is 100.
    pause_at: those of the weights at which a person has to say that it goes on.
    """

    batch: str = "1"
    max_failures: int = 0
    bake: float = 0.0
    spread: float = 0.0
    weights: tuple[int, ...] = (5, 25, 50, 100)
    pause_at: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a strategy knows of the endpoints, each in the order in which the installation names it.

    zones: the zone of an endpoint; those without one are alike. sick: unhealthy when last seen. owed: not where they
    belong. balanced: a balancer stands in front. sides: the slot of each endpoint, where there are two of which one
    serves. serving: who has traffic.
    """

    endpoints: tuple[str, ...]
    zones: Mapping[str, str] = field(default_factory=dict)
    sick: Collection[str] = ()
    owed: Collection[str] = ()
    balanced: bool = False
    sides: Mapping[str, str] = field(default_factory=dict)
    serving: Collection[str] = ()

    def split(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The side that rests and the side that serves. Where nobody serves the first side named is deployed to.

        Raises Unfit where one side has no host left.
        """
        names = list(dict.fromkeys(self.sides[name] for name in self.endpoints))
        if len(names) < len(SIDES):
            raise Unfit(f"only {names[0]} has hosts: a deployment needs a side that rests")
        served = {side: sum(self.sides[name] == side for name in self.serving) for side in names}
        resting = min(names, key=lambda side: served[side])
        idle = tuple(name for name in self.endpoints if self.sides[name] == resting)
        return idle, tuple(name for name in self.endpoints if name not in idle)


@dataclass(frozen=True, slots=True)
class Part:
    """Hosts that change side by side, and what follows before the next part begins.

    min_serving: hosts that must serve meanwhile. bake: seconds it is watched. rest: seconds until the next part.
    before, weight: percent of the traffic that the new version has while these hosts change, and once they have; None
    where every host that serves has its equal share. arrived: all hosts of the new version once this part is done.
    pause: a person has to say that it goes on. replaces: who has no traffic any more once this part is done.
    resting: these hosts have no traffic until it is switched to them. retires: nor do they get any afterwards.
    """

    endpoints: tuple[str, ...]
    min_serving: int = 0
    bake: float = 0.0
    rest: float = 0.0
    before: int = 0
    weight: int | None = None
    arrived: tuple[str, ...] = ()
    pause: bool = False
    replaces: tuple[str, ...] = ()
    resting: bool = False
    retires: bool = False


def batch_size(batch: str, hosts: int) -> int:
    """Hosts at a time. A share is rounded down, but never to nobody."""
    text = batch.strip()
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else None
        size = math.floor(hosts * share) if share is not None else int(text)
    except ValueError:
        raise Unfit(f'batch "{batch}" is neither a number of hosts nor a percentage') from None
    if size < 0 or (share is None and size == 0) or (share is not None and not 0 < share <= 1):
        raise Unfit(f'batch "{batch}" must be at least one host, or a percentage above 0 % and up to 100 %')
    return min(max(size, 1), hosts)


def all_at_once(fleet: Fleet, options: Options) -> tuple[Part, ...]:
    """Everybody together: for staging."""
    _one_side(fleet, "all-at-once")
    return (Part(fleet.endpoints, 0, options.bake, arrived=fleet.endpoints),)


def rolling(fleet: Fleet, options: Options) -> tuple[Part, ...]:
    """Batch after batch; the hosts outside a batch go on serving. One host alone has nobody to lean on.

    The unhealthy go first, since nobody misses them, then the owed. Two zones are never touched at once.
    """
    _one_side(fleet, "rolling")
    names = _worst_first(fleet)
    size = batch_size(options.batch, len(names))
    batches = _batches(fleet, names, size)
    parts = [
        Part(batch, len(names) - len(batch), options.bake, options.spread, arrived=_upto(batches, number))
        for number, batch in enumerate(batches, start=1)
    ]
    return (*parts[:-1], replace(parts[-1], rest=0.0))


def blue_green(fleet: Fleet, options: Options) -> tuple[Part, ...]:
    """The side that rests is changed and proven while the other serves; then all traffic is switched at once."""
    if not fleet.sides:
        raise Unfit("blue-green needs two sides of which one serves: declare slots or pools; or choose rolling")
    _needs_balancer(fleet, "blue-green")
    idle, live = fleet.split()
    return (Part(idle, 0, options.bake, arrived=idle, replaces=live, resting=True),)


def canary(fleet: Fleet, options: Options) -> tuple[Part, ...]:
    """Weight after weight. At weight w at least ceil(w·N) of N hosts have the new version, so that none is overrun.

    While hosts change, the new version keeps the weight it has, or has what its hosts can carry by now. Two zones are
    never touched at once. Where there are two sides, the whole resting one is changed first, and only weights follow.
    """
    _check_canary(fleet, options)
    if fleet.sides:
        return _canary_of_sides(fleet, options)
    names, size = _well_first(fleet), batch_size(options.batch, len(fleet.endpoints))
    parts: list[Part] = []
    done, reached = 0, 0
    for weight in options.weights:
        need = math.ceil(weight * len(names) / 100)
        batches = _batches(fleet, names[done:need], size) or [()]
        for batch in batches:
            done += len(batch)
            last = done >= need
            share = weight if last else max(reached, 100 * done // len(names))
            bake, pause = (options.bake, weight in options.pause_at) if last else (0.0, False)
            parts.append(Part(batch, len(names) - len(batch), bake, 0.0, reached, share, names[:done], pause))
            reached = share
    return tuple(parts)


def _canary_of_sides(fleet: Fleet, options: Options) -> tuple[Part, ...]:
    idle, live = fleet.split()
    parts, reached = [], 0
    for number, weight in enumerate(options.weights):
        pause, out = weight in options.pause_at, live if weight == 100 else ()
        hosts = () if number else idle
        parts.append(Part(hosts, 0, options.bake, 0.0, reached, weight, idle, pause, out, resting=True))
        reached = weight
    return tuple(parts)


def weights_wrong(weights: Sequence[int], pause_at: Sequence[int]) -> str:
    """What is wrong with a canary's weights; "" where nothing is."""
    rising = all(low < high for low, high in pairwise(weights))
    if not weights or not rising or weights[0] < 1 or weights[-1] != 100:
        return "weights must be whole percentages that rise from 1 or more to 100, such as 5, 25, 50, 100"
    if odd := sorted(set(pause_at) - set(weights)):
        return f"pause_at names {', '.join(map(str, odd))}, which is none of the weights"
    return ""


def _check_canary(fleet: Fleet, options: Options) -> None:
    _needs_balancer(fleet, "a canary")
    if len(fleet.endpoints) < 2:
        raise Unfit("a canary needs two hosts, or slots: something for the new version and for the old; choose rolling")
    if wrong := weights_wrong(options.weights, options.pause_at):
        raise Unfit(wrong)


def _needs_balancer(fleet: Fleet, what: str) -> None:
    if not fleet.balanced:
        raise Unfit(f"{what} needs a balancer that shares the traffic out; without one choose rolling")


def _one_side(fleet: Fleet, strategy: str) -> None:
    if fleet.sides:
        raise Unfit(
            f"{strategy} changes hosts that serve, and here one of two sides rests: choose blue-green or canary"
        )


def _worst_first(fleet: Fleet) -> tuple[str, ...]:
    def rank(name: str) -> tuple[bool, bool]:
        return name not in fleet.sick, name not in fleet.owed

    return tuple(sorted(_by_zone(fleet), key=rank))


def _well_first(fleet: Fleet) -> tuple[str, ...]:
    """The first to have the new version must be a fair witness."""
    return tuple(sorted(_by_zone(fleet), key=lambda name: (name in fleet.sick, name in fleet.owed)))


def _by_zone(fleet: Fleet) -> list[str]:
    """Zone after zone, in the order in which they are first named."""
    zones = list(dict.fromkeys(_zone(fleet, name) for name in fleet.endpoints))
    return sorted(fleet.endpoints, key=lambda name: zones.index(_zone(fleet, name)))


def _batches(fleet: Fleet, names: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Of so many hosts at the most, and each of one zone."""
    stretches = [tuple(stretch) for _, stretch in groupby(names, key=lambda name: _zone(fleet, name))]
    return [batch for stretch in stretches for batch in _cut(stretch, size)]


def _zone(fleet: Fleet, name: str) -> str:
    return fleet.zones.get(name, "")


def _cut(names: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(names[i : i + size]) for i in range(0, len(names), size)]


def _upto(batches: Sequence[tuple[str, ...]], number: int) -> tuple[str, ...]:
    return tuple(name for batch in batches[:number] for name in batch)


Strategy = Callable[[Fleet, Options], tuple[Part, ...]]

STRATEGIES: dict[str, Strategy] = {
    "all-at-once": all_at_once,
    "blue-green": blue_green,
    "canary": canary,
    "rolling": rolling,
}


def parts_of(strategy: str, fleet: Fleet, options: Options) -> tuple[Part, ...]:
    """The parts of a named strategy. Raises Unfit."""
    if strategy not in STRATEGIES:
        raise Unfit(f'there is no strategy "{strategy}"; choose one of {", ".join(sorted(STRATEGIES))}')
    if not fleet.endpoints:
        raise Unfit("the installation has no host")
    return STRATEGIES[strategy](fleet, options)
