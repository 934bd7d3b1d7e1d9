"""Effects on one host: check, look, prepare, activate, verify. Each may be repeated at any time."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from functools import partial

from aureus import clock, lease
from deployments.contents import Brought, brought
from deployments.delivery import NOT_THE_BASE
from deployments.drivers import ActFailed, ActRefused, HostFacts, ReleaseFiles
from deployments.drivers import Answer as HostAnswer
from deployments.effects.work import Work
from deployments.engine.settle import Answer, Observation, failed, passed, pending
from deployments.engine.way_back import way_back
from deployments.fleet_holds import hold_for_future_fence
from deployments.models import Endpoint
from deployments.outside import files_of, variables_of
from deployments.proven import within_reach
from releases.spec import number_of

LOOK_EVERY = 0.2
"""Seconds between two looks at a host that is starting."""


def check(work: Work) -> Answer:
    """Before anything is touched: reachable, tools there, no fence from a future we do not know; what runs is noted."""
    facts = work.outside.hosts.facts(work.address, work.site)
    if facts.missing_tools:
        missing = ", ".join(facts.missing_tools)
        return failed(f"{work.target.name} lacks {missing}: install them", permanent=True, rule="tools")
    if facts.fence > lease.highest_fence():
        hold_for_future_fence(work.installation, work.target.name, facts.fence)
        why = f"{work.target.name} reports fence {facts.fence}, above every one we gave: run aureus recover"
        return failed(why, permanent=True, rule="fence")
    Endpoint.objects.filter(pk=work.endpoint.pk).update(complete=list(facts.releases))
    seen = _seen(work, facts)
    return passed(_says(seen), observed=(seen,), rule="check")


def _seen(work: Work, facts: HostFacts) -> Observation:
    content = facts.current
    health = work.health(work.endpoint, content) if content else None
    healthy = bool(health and health.healthy)
    serving = (_weight(work, work.target.name) > 0 and healthy) if work.balanced else healthy
    return Observation(work.target.name, True, content, healthy, serving, health.why if health else "")


def _weight(work: Work, name: str) -> int:
    pool = getattr(work.installation, "pool", None)
    return pool.weights.get(name, 0) if pool else 0


def look(work: Work) -> Answer:
    """The first act of a rollback: under a new fence, see what the host runs; what a lower act still does is ended."""
    stop = work.outside.hosts.stop(work.address, work.site, fence=work.fence, key=work.key)
    facts = work.outside.hosts.facts(work.address, work.site)
    Endpoint.objects.filter(pk=work.endpoint.pk).update(complete=list(facts.releases))
    seen = _seen(work, facts)
    return passed(_says(seen), observed=(seen,), rule="look", output={"stopped": stop.sentence})


def _says(seen: Observation) -> str:
    if seen.content is None:
        return f"{seen.endpoint} runs nothing yet"
    return f"{seen.endpoint} runs {number_of(seen.content)}: {seen.why}"


def prepare(work: Work) -> Answer:
    """The new content and the way back lie complete and verified on the host before anything is activated anywhere."""
    facts = work.outside.hosts.facts(work.address, work.site)
    sent = []
    for content in filter(None, (work.target.to_content, _way_back(work))):
        # A host that says it holds it is asked all the same: it then proves every file against its manifest.
        answer = _send(work, content, facts)
        sent += [number_of(content)] if answer.state == "done" else []
    complete = sorted({*facts.releases, work.target.to_content} | ({_way_back(work)} - {""}))
    Endpoint.objects.filter(pk=work.endpoint.pk).update(complete=complete)
    what = f"received {', '.join(sent)}" if sent else "held everything already, verified"
    return passed(f"{work.target.name} {what}", rule="prepare")


def _way_back(work: Work) -> str:
    if work.target.back_content:
        return work.target.back_content
    running, to = work.target.from_content or None, work.target.to_content
    return way_back(within_reach(work.installation), from_content=running, to_content=to) or ""


def _send(work: Work, content: str, facts: HostFacts | None = None) -> HostAnswer:
    """Let the host hold a content: by what differs from what it runs, where that is less and comes out right."""
    parts = parts_of(work, content)
    whole = files_of(parts, work.outside.store)
    small = _smaller(work, whole, parts, facts) if facts and content not in facts.releases else None
    if small is not None:
        try:
            return _send_files(work, small, parts)
        except ActRefused as error:
            if error.code not in NOT_THE_BASE:
                raise
    return _send_files(work, whole, parts)


def _smaller(work: Work, whole: ReleaseFiles, parts: Brought, facts: HostFacts) -> ReleaseFiles | None:
    kept, running = work.outside.differences, facts.current
    if kept is None or not running or running not in facts.releases:
        return None
    base = brought(work.installation, running)
    return kept.smaller(whole, parts, base) if base else None


def _send_files(work: Work, release: ReleaseFiles, parts: Brought) -> HostAnswer:
    """Variables that the host has are not made anew: the way back is what ran, with the secrets that it ran with,
    though nobody had them any more.
    """
    send = partial(
        work.outside.hosts.prepare, work.address, work.site, fence=work.fence, key=f"{work.key}:{release.content}",
        deadline=work.step.within,
    )  # fmt: skip
    try:
        return send(release)
    except ActRefused as error:
        if error.code != "no_env":
            raise
    return send(replace(release, env=variables_of(parts)))


def parts_of(work: Work, content: str) -> Brought:
    """The version and the configuration of a content. Raises ActRefused where our record knows none such."""
    parts = brought(work.installation, content)
    if parts is None:
        raise ActRefused(
            f"no version and configuration that we know make {content}: register it again", code="unknown_content"
        )
    return parts


def activate(work: Work) -> Answer:
    """Switch the host to where it belongs, unless it is there and proves it. What runs long is looked at again."""
    to = work.target.to_content
    if not to:
        return failed(f"there is nothing that {work.target.name} could go back to", permanent=True, rule="no way back")
    mends = work.deployment.is_rollback or work.deployment.is_convergence
    if mends:
        if (there := _already_back(work)) is not None:
            return there
        if not _goes_on(work):
            _send(work, to)
    Endpoint.objects.filter(pk=work.endpoint.pk, cooled_at__isnull=False).update(cooled_at=None)
    # A host that was seen to run nothing does so, whatever our record says.
    was = work.target.observed if work.target.observed_at else work.target.from_content
    expected = was or None
    answer = work.outside.hosts.activate(
        work.address, work.site, to, expected=expected, fence=work.fence, key=work.key, deadline=work.step.within,
        again=mends,
    )  # fmt: skip
    if answer.state == "running":
        return pending(f"{work.target.name} is restarting", clock.now() + timedelta(seconds=1), rule="activate")
    if work.endpoint.slot == Endpoint.MAIN:
        # Of two slots the one that traffic is switched to is named then.
        work.outside.hosts.set_live(work.address, work.site, fence=work.fence, key=f"{work.key}:live")
    seen = Observation(work.target.name, True, to, None)
    return passed(f"{work.target.name} was switched to {number_of(to)}", observed=(seen,), rule="activate")


def _already_back(work: Work) -> Answer | None:
    """A rollback changes only what changed: a host that proves to be where it belongs is left alone."""
    seen, health = work.look()
    if seen.content == work.target.to_content and health is not None and health.healthy:
        return passed(f"{work.target.name} was never changed", observed=(seen,), rule="look")
    return None


def _goes_on(work: Work) -> bool:
    """A restart that an earlier look left running: sending again under a later fence would end it."""
    try:
        return work.outside.hosts.status(work.address, work.site, work.key).state == "running"
    except (ActFailed, ActRefused):
        return False


def verify(work: Work) -> Answer:
    """Healthy with the expected version, proven by its own answer: the record alone never is."""
    to = work.target.to_content
    ends = time.monotonic() + min(work.outside.looks_for, work.seconds_left())
    health = work.health(work.endpoint, to)
    while not health.healthy and time.monotonic() < ends and not work.lost():
        time.sleep(LOOK_EVERY)
        health = work.health(work.endpoint, to)
    if not health.healthy:
        why = f"{work.target.name} is not healthy with {number_of(to)} yet: {health.why}"
        return pending(why, clock.now() + timedelta(seconds=1), rule="health")
    serving = None if work.balanced else True
    seen = Observation(work.target.name, True, to, True, serving, health.why)
    return passed(f"{work.target.name}: {health.why}", observed=(seen,), rule="health")
