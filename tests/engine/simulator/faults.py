"""What happens to a world from outside: machines that fail, and people who speak at any moment."""

from __future__ import annotations

from collections.abc import Callable

from tests.engine.simulator import people
from tests.engine.simulator.rows import Row
from tests.engine.simulator.world import QUIET_AFTER, RATES, World


def _host_away(world: World) -> bool:
    host = world.rng.choice(list(world.hosts.values()))
    host.away_until = max(host.away_until, world.now + world.rng.choice((2_000, 5_000, 20_000, 120_000, 900_000)))
    return True


def _host_rebooted(world: World) -> bool:
    host = world.rng.choice(list(world.hosts.values()))
    host.reboot(world.now, world.rng.choice((2_000, 10_000, 40_000)))
    return True


def _balancer_away(world: World) -> bool:
    world.balancer.away_until = world.now + world.rng.choice((2_000, 10_000, 120_000))
    return world.balanced


def _fell_sick(world: World) -> bool:
    """A version falls sick on a host that runs it, and may be well again later."""
    host = world.rng.choice(list(world.hosts.values()))
    if host.link is None or host.link in host.sick:
        return False
    host.sick.add(host.link)
    world.later(world.rng.choice((5_000, 60_000, 400_000)), "well again", host, host.link)
    return True


def _some(world: World) -> Row:
    """Mostly what is open, else anything there is."""
    rows = list(world.rows.values())
    open_ones = [r for r in rows if r.open]
    return world.rng.choice(open_ones if open_ones and world.rng.random() < 0.8 else rows)


def _said(word: Callable[[World, Row], bool]) -> Callable[[World], bool]:
    return lambda world: word(world, _some(world))


def _undone_twice(world: World) -> bool:
    """The same rollback is asked for again: there is still only one."""
    row = _some(world)
    heard = people.roll_back(world, row)
    if heard and people.roll_back(world, row):
        world.news.refused.append(f"{row.id} was rolled back twice")
    return heard


def _undone_with_others_waiting(world: World) -> bool:
    return bool(world.waiting()) and people.roll_back(world, world.current() or _some(world))


OUTSIDE: dict[str, tuple[int, Callable[[World], bool]]] = {
    "host out of reach": (5, _host_away),
    "host rebooted": (5, _host_rebooted),
    "balancer out of reach": (3, _balancer_away),
    "version fell sick": (3, _fell_sick),
    "another deployment": (8, people.deploy),
    "approved": (5, lambda w: people.approve(w, _some(w), w.rng.choice(people.PEOPLE))),
    "rejected": (1, _said(people.reject)),
    "paused": (4, _said(people.pause)),
    "resumed": (6, _said(people.resume)),
    "aborted": (1, _said(people.abort)),
    "abandoned": (1, _said(people.abandon)),
    "promoted to the full": (2, _said(people.promote_full)),
    "retried": (3, _said(people.retry)),
    "host excluded": (3, _said(people.exclude)),
    "rolled back by hand": (3, _said(people.roll_back)),
    "rolled back twice": (2, _undone_twice),
    "rolled back while another waits": (3, _undone_with_others_waiting),
    "converged": (3, people.converge),
    "edited": (3, people.edit),
    "version withdrawn": (1, people.withdraw),
    "host retired": (1, people.retire),
    "freeze": (3, people.freeze),
    "held": (2, people.hold),
}
"""Kind -> how often beside the others, and what it does; it says whether it could be."""

FAULTS = (*RATES, *OUTSIDE)


def draw(world: World) -> None:
    """Which of these a world has, and how often they come."""
    rng = world.rng
    world.outside = [name for name in OUTSIDE if rng.random() < 0.5]
    world.gap = rng.choice((4_000, 8_000, 16_000, 32_000))
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        world.later(rng.randrange(5_000, QUIET_AFTER), "asked")
    if world.outside:
        world.later(rng.randrange(world.gap), "outside")


def strike(world: World) -> None:
    """One of them happens, and the next is on its way until the world goes quiet."""
    if world.now >= QUIET_AFTER:
        return
    name = world.rng.choices(world.outside, [OUTSIDE[n][0] for n in world.outside])[0]
    if OUTSIDE[name][1](world):
        world.count(name)
        world.trace.append((world.now, "", name))
    world.later(int(world.rng.expovariate(1 / world.gap)), "outside")
