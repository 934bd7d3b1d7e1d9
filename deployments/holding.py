"""What holds a deployment by time, freeze, window or soak, and what lets one of them past it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Q

from deployments import gating
from deployments.engine import calendar
from deployments.models import BreakGlass, Deployment, Environment, Freeze
from deployments.policy import Policy
from health import windows

FREEZE, WINDOW, SOAK = "freeze", "window", "soak"
KINDS = (FREEZE, WINDOW, SOAK)
SAID = {FREEZE: "frozen until", WINDOW: "outside the deployment windows of", SOAK: "soaks in"}
"""How the sentence of each begins."""
SOAK_AGAIN = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Hold:
    """One of them: what it is, when to look again, and the sentence that people read."""

    kind: str
    until: datetime
    why: str


def holds(deployment: Deployment, policy: Policy, now: datetime) -> list[Hold]:
    """Everything that holds it by time now, but what was overridden for the plan as it is; the longest first."""
    passed = overridden(deployment)
    there = deployment.installation.environment
    found = [*_frozen(there, now), *_outside(there, policy, now)]
    kept = [hold for hold in found if hold.kind not in passed]
    # A gate that demands quiet journals is waived by an approver, and not overridden.
    kept += _soaking(deployment, replace(policy, soak=0.0) if SOAK in passed else policy, now)
    return sorted(kept, key=lambda hold: hold.until, reverse=True)


def overridden(deployment: Deployment) -> frozenset[str]:
    """The kinds of hold that somebody lets the plan of a deployment past."""
    rows = deployment.overrides.filter(plan_hash=deployment.plan_hash).values_list("holds", flat=True)
    return frozenset(kind for kinds in rows for kind in kinds)


def period_of(freeze: Freeze) -> calendar.Period:
    """A freeze as a period."""
    if freeze.starts is not None and freeze.ends is not None:
        first, last = calendar.Edge("instant", freeze.starts), calendar.Edge("instant", freeze.ends)
        return calendar.Period(first, last, freeze.zone)
    return calendar.read({"from": freeze.first, "to": freeze.last, "days": freeze.days, "zone": freeze.zone})


def freezes_of(environment: Environment | None, now: datetime) -> list[tuple[Freeze, calendar.Period]]:
    """The freezes that hold there or will, those of every environment among them, each as a period."""
    here = Q(environment=None) if environment is None else Q(environment=environment) | Q(environment=None)
    rows = Freeze.objects.filter(here).filter(Q(ends=None) | Q(ends__gt=now)).select_related("environment")
    return [(freeze, period_of(freeze)) for freeze in rows]


def _frozen(there: Environment, now: datetime) -> Iterator[Hold]:
    known = freezes_of(there, now)
    if (held := calendar.holding([period for _, period in known], now)) is None:
        return
    longest, until = held
    freeze = next(freeze for freeze, period in known if period is longest)
    yield Hold(FREEZE, until, f"{SAID[FREEZE]} {calendar.shown(until, freeze.zone)}: {freeze.reason}")


def _outside(there: Environment, policy: Policy, now: datetime) -> Iterator[Hold]:
    periods = policy.windows()
    if (opens := calendar.opens(periods, now)) is not None:
        until = calendar.shown(opens, periods[0].zone)
        yield Hold(WINDOW, opens, f"{SAID[WINDOW]} {there}: the next one opens {until}")


def _soaking(deployment: Deployment, policy: Policy, now: datetime) -> Iterator[Hold]:
    source = deployment.source
    if source is None:
        return
    seconds = gating.soak_of(source.version, deployment.installation.environment.name, policy, now)
    if not seconds:
        return
    quiet = windows.quietness(source.id, source.content, now, timedelta(seconds=seconds))
    if not quiet.quiet:
        # Time alone never ends it: it is looked at again, and only quiet journals let it go on.
        again = max(quiet.until or now, now + SOAK_AGAIN)
        yield Hold(SOAK, again, f"{SAID[SOAK]} {source.installation.environment}: {quiet.sentence}")


def glass_of(deployment: Deployment, now: datetime) -> BreakGlass | None:
    """The glass that somebody asked to break for the plan as it is, or that two have broken, while it counts."""
    return deployment.glasses.filter(plan_hash=deployment.plan_hash, expires_at__gt=now, used_at=None).last()


def is_broken(glass: BreakGlass | None) -> bool:
    """Two people have broken it."""
    return glass is not None and glass.confirmed_at is not None


def told_of(deployment: Deployment, glass: BreakGlass | None) -> str:
    """What the wait for approvals says of a glass: that a second person is wanted, or that nobody used it."""
    if glass is not None:
        until = f"until {glass.expires_at:%Y-%m-%d %H:%M} UTC"
        return f"{glass.asked_by} asks to break the glass ({glass.reason}), and somebody else may confirm it {until}"
    last = deployment.glasses.filter(plan_hash=deployment.plan_hash, used_at=None).last()
    if last is None:
        return ""
    what = "was broken and not used" if last.confirmed_at else f"that {last.asked_by} asked to break was not confirmed"
    return f"the glass {what} by {last.expires_at:%Y-%m-%d %H:%M} UTC"
