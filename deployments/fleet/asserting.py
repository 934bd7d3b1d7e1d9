"""The periodic look at every balancer: what it routes by, beside the weights last desired, which are put right.

A deployment under way moves its own traffic. The fence is that of the last move: whoever moves later has a higher.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from aureus import clock
from aureus.journal.actor import AUREUS
from aureus.journal.models import record
from aureus.journal.plain import plain
from deployments import identity
from deployments.drivers import HostError
from deployments.drivers.traffic import STRUCTURE, Traffic, TrafficError
from deployments.engine.status import Status
from deployments.models import BalancerNode, Installation, Pool
from deployments.outside import Outside

EVERY = timedelta(seconds=30)
ROUND = 8.0
"""Seconds after which a round begins with no further balancer."""
_NOBODY = "no host that should serve proves healthy: nothing was moved"
AS_DESIRED, REASSERTED, FOREIGN, UNREACHABLE = "as_desired", "reasserted", "foreign", "unreachable"


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at one machine of a balancer: how it stands, and what it routed by."""

    state: str
    why: str = ""
    weights: Mapping[str, int] | None = None


def assert_due(outside: Outside) -> int:
    """Look at the balancers whose turn it is, and put right what somebody else has changed; how many were looked at."""
    ends, looked = time.monotonic() + ROUND, 0
    for pool in Pool.objects.select_related("installation").exclude(installation__balancer=None):
        nodes = BalancerNode.objects.filter(balancer=pool.installation.balancer_id)
        for node in nodes.select_related("host__bastion", "balancer"):
            if time.monotonic() > ends:
                return looked
            if _is_due(node, pool.installation, clock.now()) and _is_ours(pool.installation):
                _keep(node, pool.installation, look(outside, node, pool))
                looked += 1
    return looked


def _is_due(node: BalancerNode, installation: Installation, now: datetime) -> bool:
    before = node.observed.get(str(installation.pk), {}).get("at")
    return before is None or now - datetime.fromisoformat(before) >= EVERY


def _is_ours(installation: Installation) -> bool:
    """Nothing is under way there, and the record may be believed."""
    busy = installation.deployments.filter(status=Status.IN_PROGRESS).exists()
    return not busy and not identity.now_and_doubt(installation.pk)[1]


def look(outside: Outside, node: BalancerNode, pool: Pool) -> Seen | None:
    """What one machine routes by, put right where it is not as desired; None where somebody moves it just now."""
    if not any(pool.weights.values()):
        return None
    try:
        return _put_right(outside, outside.traffic(node, pool.installation), pool)
    except HostError as error:
        return None if error.code == "stale_fence" else Seen(UNREACHABLE, error.sentence)


def _put_right(outside: Outside, traffic: Traffic, pool: Pool) -> Seen:
    """Raises HostError."""
    try:
        live = traffic.read()
    except TrafficError as error:
        if error.code not in STRUCTURE:
            raise
        return _set_up_anew(outside, traffic, pool, error.sentence)
    if set(live) != set(pool.weights):
        return Seen(FOREIGN, f"it knows {', '.join(sorted(live))}: the next deployment puts it right", live)
    told = [] if live == pool.weights else [f"it routed by {_told(live)}, desired was {_told(pool.weights)}"]
    told += ["its file was edited"] if traffic.edited(pool.weights) else []
    if not told:
        return Seen(AS_DESIRED, weights=live)
    wanted = _healthy_ones(outside, pool, live)
    if not any(wanted.values()):
        return Seen(FOREIGN, _NOBODY, live)
    traffic.set_weights(wanted, fence=pool.fence)
    return Seen(REASSERTED, "; ".join(told), live)


def _set_up_anew(outside: Outside, traffic: Traffic, pool: Pool, why: str) -> Seen:
    """A balancer that lost what it was told, by an edit that it cannot read or a start without our files."""
    living = pool.installation.endpoints.filter(retired=False).select_related("host", "installation")
    dials = {endpoint.name: endpoint.dial for endpoint in living}
    wanted = {name: weight for name, weight in _healthy_ones(outside, pool, {}).items() if name in dials}
    if not any(wanted.values()):
        return Seen(FOREIGN, _NOBODY)
    weights = dict.fromkeys(dials, 0) | wanted
    traffic.ensure(dials, fence=pool.fence, initial=weights)
    traffic.set_weights(weights, fence=pool.fence)
    return Seen(REASSERTED, f"it was set up anew: {why}")


def _healthy_ones(outside: Outside, pool: Pool, live: Mapping[str, int]) -> dict[str, int]:
    """The desired weights; who would come in must prove healthy with what our record says it runs."""
    here = pool.installation.endpoints.select_related("host", "installation")
    endpoints = {endpoint.name: endpoint for endpoint in here}

    def may(name: str) -> bool:
        endpoint, installation = endpoints.get(name), pool.installation
        if endpoint is None or endpoint.retired or endpoint.owed:
            return False
        proves = installation.version_proof == "health"
        asked = outside.ask(
            endpoint.base_url + installation.health_path,
            endpoint.recorded if proves else None,
            field=installation.version_field if proves else "",
            timeout=3.0,
        )
        return bool(asked.healthy)

    return {name: weight if not weight or live.get(name) or may(name) else 0 for name, weight in pool.weights.items()}


def _told(weights: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {weight}" for name, weight in sorted(weights.items()))


@transaction.atomic
def _keep(node: BalancerNode, installation: Installation, seen: Seen | None) -> None:
    """Write down what was seen; a change of state, and each time it was put right, is an event."""
    if seen is None:
        return
    row = BalancerNode.objects.select_for_update().filter(pk=node.pk).first()
    if row is None:
        return
    key, why = str(installation.pk), plain(seen.why)[:500]
    before = row.observed.get(key, {}).get("state", AS_DESIRED)
    kept = {"at": clock.now().isoformat(), "state": seen.state, "why": why, "weights": dict(seen.weights or {})}
    BalancerNode.objects.filter(pk=row.pk).update(observed={**row.observed, key: kept})
    if seen.state != before or seen.state == REASSERTED:
        about = {"node": str(row), "before": before, "why": why}
        record(f"installation:{installation.pk}", f"balancer.{seen.state}", AUREUS, **about)
