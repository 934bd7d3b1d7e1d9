"""A policy tried on past windows: what it would have decided, and when. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aureus.journal.refusals import Invalid, NotFound
from deployments.lifecycle.windows import bake_rules
from deployments.models import Deployment, Environment
from deployments.policy import Policy, PolicyError, parse, stored, tightened
from health import windows
from health.baseline import Baseline
from health.checks import Check, kept_checks
from health.measured import Sample
from health.models import Window
from health.replay import Past, Replayed, replay
from health.thresholds import kept

LAST = 40
MOST = 1000


@dataclass(frozen=True, slots=True)
class Tried:
    """One past window. `then` is how it ended, `now` how it would have; `good`: its content became good."""

    window: Window
    deployment: Deployment
    then: str
    now: Replayed
    left_out: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return self.deployment.good_at is not None

    @property
    def stopped(self) -> bool:
        """This policy would have stopped what went on."""
        return self.now.result == "fail" and self.then != "fail"

    @property
    def let_go(self) -> bool:
        """This policy would have let go on what was stopped."""
        return self.now.result in ("pass", "inconclusive") and self.then == "fail"


def policy_from(environment: str, declared: object) -> Policy:
    """The environment's policy with what a file says in its place. Raises Invalid with every error, NotFound."""
    row = Environment.objects.filter(name=environment).first()
    if row is None:
        known = ", ".join(Environment.objects.values_list("name", flat=True)) or "none"
        raise NotFound(f"There is no environment {environment}; there is: {known}.")
    if not isinstance(declared, Mapping):
        raise Invalid("The policy must be a mapping, such as `rules: {max_error_rate: 0.02}`.")
    try:
        return parse({**stored(row.policy).as_json(), **declared})
    except PolicyError as error:
        raise Invalid("The policy cannot be used:", errors=error.errors) from None


def try_on(environment: str, policy: Policy, *, last: int = LAST, application: str = "") -> Iterator[Tried]:
    """The newest closed windows of an environment, newest first, each judged anew by this policy."""
    if not 1 <= last <= MOST:
        raise Invalid(f"From 1 to {MOST} windows can be tried.")
    places = Deployment.objects.filter(installation__environment__name=environment)
    if application:
        places = places.filter(installation__application__key=application)
    closed = Window.objects.filter(subject__in=places.values("id"), closed_at__isnull=False)
    found = list(closed.order_by("-closed_at", "-pk")[:last])
    deployments = places.select_related("version", "installation__application", "installation__environment").in_bulk(
        [window.subject for window in found]
    )
    for window in found:
        yield _tried(window, deployments[window.subject], policy)


def _tried(window: Window, deployment: Deployment, policy: Policy) -> Tried:
    try:
        own = tightened(policy, deployment.installation.policy_overrides)
    except PolicyError as error:
        place = deployment.installation
        raise Invalid(f"With this policy {place} could not keep its own:", errors=error.errors) from None
    ended = window.closed_at or window.closes_at
    seen = windows.sampled(window, ended)
    samples = _by(own, seen.samples)
    bake = window.kind == Window.Kind.BAKE
    length = window.closes_at - window.opens_at if bake else timedelta(seconds=own.window)
    checks, left_out = _measured(kept_checks(own.checks), samples)
    past = Past(
        samples,
        Baseline(*(_by(own, part) for part in seen.baseline.parts)),
        tuple(window.endpoints),
        opened_at=seen.opened_at,
        closes_at=window.opens_at + length,
        ended_at=ended,
        superseded=window.verdict == Window.Verdict.SUPERSEDED,
    )
    rules = bake_rules(own, length.total_seconds()) if bake else own.rules
    return Tried(window, deployment, window.verdict, replay(past, kept(rules), checks, own.on_unknown()), left_out)


def _by(policy: Policy, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """Without the sources that this policy does not measure by."""
    return tuple(s for s in samples if s.source in policy.sources or s.source.startswith(windows.CHECK))


def _measured(checks: tuple[Check, ...], samples: tuple[Sample, ...]) -> tuple[tuple[Check, ...], tuple[str, ...]]:
    """The checks that were measured then, and the names of those that were not: of them nothing can be said."""
    seen = {sample.source for sample in samples}
    return (
        tuple(check for check in checks if check.rule in seen),
        tuple(check.name for check in checks if check.rule not in seen),
    )


def summary(tried: list[Tried]) -> dict[str, Any]:
    """How many it would have stopped, of those how many were later good, and how many it would have let go."""
    stopped = [one for one in tried if one.stopped]
    return {
        "windows": len(tried),
        "stopped": len(stopped),
        "stoppedAndLaterGood": sum(one.good for one in stopped),
        "letGo": sum(one.let_go for one in tried),
        "undecided": sum(one.now.result == "undecided" for one in tried),
        "withoutSamples": sum(not one.now.of for one in tried),
    }
