"""What our own rows say: environments, installations, and what waits for a person."""

from __future__ import annotations

from collections.abc import Iterator

from aureus import clock
from deployments.doctor.findings import Finding, ok, warning, wrong
from deployments.engine.risk import Risk
from deployments.engine.status import OPEN
from deployments.lifecycle import current_of
from deployments.models import Environment, Incident, Installation, Step
from deployments.policy import Policy, PolicyError, parse
from deployments.proven import within_reach
from releases import signing


def environments() -> Iterator[Finding]:
    """Policies that would surprise on a bad day."""
    found = list(Environment.objects.all())
    if not found:
        yield warning("fleet", "no environment is declared", "write a declaration and run aureus apply FILE")
    for environment in found:
        about = f"environment {environment.name}"
        try:
            policy = parse(environment.policy)
        except PolicyError as error:
            yield wrong(about, f"its policy cannot be read: {error}", "correct the declaration and apply it")
            continue
        yield from _policy(about, environment.name, policy)
        yield from _signers(about, policy)


def _signers(about: str, policy: Policy) -> Iterator[Finding]:
    if not policy.signed:
        return
    try:
        signing.judge("0" * 64, [], policy.signers, clock.now())
    except signing.CannotVerify as error:
        yield wrong(about, f"it demands signatures: {error}", "until then nothing is deployed there")
        return
    if not signing.is_here():
        yield wrong(about, "it demands signatures, and ssh-keygen is not here to verify one", "install openssh-client")
    else:
        yield ok(about, "signatures are demanded, and can be verified here")


def _policy(about: str, name: str, policy: Policy) -> Iterator[Finding]:
    if name == "production" and not policy.needs(Risk.CRITICAL):
        yield warning(about, "nobody has to approve", "approvals: 1 in its declaration")
    if name == "production" and (policy.promote_from is None or policy.direct):
        yield warning(about, "a version may come here without having been anywhere else", "promote_from: staging")
    if not policy.automatic_rollback:
        yield warning(about, "a failed window undoes nothing", "automatic_rollback: true")
    if not policy.window:
        yield warning(about, "nothing is watched after a deployment", "window: 1800")


def installations() -> Iterator[Finding]:
    """Places that cannot go back, are held, or owe something."""
    for installation in Installation.objects.select_related("application", "environment", "balancer"):
        about = str(installation)
        if installation.unproven:
            yield wrong(about, installation.unproven, "run aureus recover")
        if installation.held:
            yield wrong(about, f"it is held: {installation.held}", "run aureus recover")
        living = installation.endpoints.filter(retired=False, host__state="active")
        for endpoint in living.exclude(owed="").select_related("host"):
            why = f"{endpoint.host.name} is owed: {endpoint.owed}"
            yield wrong(about, why, f"aureus converge {installation.environment.name} --host {endpoint.host.name}")
        yield from _way_back(about, installation)
        if living.count() > 1 and installation.balancer is None:
            yield warning(about, "several hosts and no balancer: a restart is felt by whoever uses that host",
                          "declare its balancer")  # fmt: skip


def _way_back(about: str, installation: Installation) -> Iterator[Finding]:
    current = current_of(installation)
    others = [good for good in within_reach(installation) if current is None or good != current.content]
    if current is None:
        yield ok(about, "nothing is deployed yet")
    elif not others:
        yield warning(about, f"{current.version.number} has no way back: no other version proved good here",
                      "the first versions have none; let one more pass its window")  # fmt: skip
    else:
        yield ok(about, f"{current.version.number} runs; {len(others)} good version(s) to go back to")


def waiting() -> Iterator[Finding]:
    """What a person must look at."""
    held = Step.objects.filter(held=True, deployment__status__in=list(OPEN)).count()
    if held:
        yield warning("deployments", f"{held} step(s) wait for a person", "aureus status, then retry or abandon")
    open_ones = Incident.objects.filter(resolved_at=None).count()
    if open_ones:
        yield warning("incidents", f"{open_ones} open", "look at them in the console and resolve them")
