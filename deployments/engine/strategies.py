"""Strategies: hosts and options in, batches of hosts out. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


class Unfit(ValueError):
    """The strategy or its options do not fit this installation; the text says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an installation may tune.

    batch: hosts at a time, a number ("2") or a share ("25%").
    max_failures: hosts that may fail before the deployment has failed.
    bake: seconds each batch is watched before the next begins; 0 watches nothing.
    """

    batch: str = "1"
    max_failures: int = 0
    bake: float = 0.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Hosts that change side by side, the hosts that must serve meanwhile, and whether it is watched afterwards."""

    endpoints: tuple[str, ...]
    min_serving: int
    bake: float


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


def all_at_once(endpoints: Sequence[str], options: Options) -> tuple[Batch, ...]:
    """Everybody together: for staging."""
    return (Batch(tuple(endpoints), 0, options.bake),)


def rolling(endpoints: Sequence[str], options: Options) -> tuple[Batch, ...]:
    """Batch after batch; the hosts outside a batch go on serving. One host alone has nobody to lean on."""
    size = batch_size(options.batch, len(endpoints))
    keep = len(endpoints) - size
    parts = [tuple(endpoints[i : i + size]) for i in range(0, len(endpoints), size)]
    return tuple(Batch(part, keep, options.bake) for part in parts)


Strategy = Callable[[Sequence[str], Options], tuple[Batch, ...]]

STRATEGIES: dict[str, Strategy] = {"all-at-once": all_at_once, "rolling": rolling}


def batches(strategy: str, endpoints: Sequence[str], options: Options) -> tuple[Batch, ...]:
    """The batches of a named strategy. Raises Unfit."""
    if strategy not in STRATEGIES:
        raise Unfit(f'there is no strategy "{strategy}"; choose one of {", ".join(sorted(STRATEGIES))}')
    if not endpoints:
        raise Unfit("the installation has no host")
    return STRATEGIES[strategy](endpoints, options)
