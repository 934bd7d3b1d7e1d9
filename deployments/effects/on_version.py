"""Effects that ask whether the new version is well: the bake after a batch, the declared smoke tests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from aureus import clock
from deployments import smoke as smoke_tests
from deployments.drivers import ActFailed, ActRefused, ActTimedOut
from deployments.drivers.errors import SecretRefused
from deployments.effects.work import Work
from deployments.engine.settle import Answer, failed, passed, pending
from deployments.engine.stages import HOOK_WITHIN
from deployments.engine.status import TargetState
from deployments.lifecycle import windows
from deployments.models import Step
from deployments.outside import address_of, site_of
from deployments.secrets import without_secrets
from health.models import Window


def watch(work: Work) -> Answer:
    """Open the window of this batch once, then wait until its verdict is a row; `deployments.watching` answers."""
    if work.step.window is None and not any(t.state == TargetState.ON_TO for t in work.targets.values()):
        return passed("no host was changed yet: there is nobody to watch", rule="window")
    window = work.step.window or _open(work)
    if window.verdict == Window.Verdict.PASS:
        return passed("the bake passed", rule="window")
    if window.verdict == Window.Verdict.FAIL:
        return failed(window.record.get("sentence", "the bake failed"), permanent=True, rule="window")
    if window.verdict:
        return passed(f"the bake ended as {window.verdict}", rule="window")
    why = f"watched until {window.closes_at:%H:%M:%S} UTC"
    # The verdict settles this step by itself; looking again only makes up for one that was lost on the way.
    return pending(why, max(window.closes_at, clock.now()) + timedelta(seconds=30), rule="window")


def confirm(work: Work) -> Answer:
    """Wait for a person to go on. The new version is watched meanwhile: what fails here goes back all the same."""
    window = work.step.window or _open(work)
    if window.verdict == Window.Verdict.FAIL:
        return failed(window.record.get("sentence", "it failed while it waited"), permanent=True, rule="window")
    if work.step.output.get("asked"):
        # Held steps are let go by people alone.
        windows.close_step(window, "a person has gone on")
        return passed("a person has gone on", rule="confirm")
    why = f"at {work.step.input['weight']} % of the traffic until a person resumes it"
    return pending(why, None, rule="confirm", output={"asked": True})


def rest(work: Work) -> Answer:
    """Let some time pass between two batches."""
    until = (work.step.started_at or clock.now()) + timedelta(seconds=work.step.input["seconds"])
    if clock.now() >= until:
        return passed("rested", rule="rest")
    return pending(f"rests until {until:%H:%M:%S} UTC", until, rule="rest")


def _open(work: Work) -> Window:
    seconds = work.step.input.get("seconds", work.step.within)
    window = windows.open_bake(work.deployment, work.step.input["endpoints"], seconds)
    # Of two workers one keeps its window; the other's has no step and is closed by nobody's verdict.
    if Step.objects.filter(pk=work.step.pk, fence=work.fence, window=None).update(window=window) != 1:
        window.delete()
        raise RuntimeError("another worker has opened the window of this step")
    return window


def backup(work: Work) -> Answer:
    """The installation's backup command, once, before anything is activated."""
    return _once(work, work.installation.backup_command)


def migrate(work: Work) -> Answer:
    """The installation's migration, once, in the folder of the new release. A failure is held for a person."""
    return _once(work, work.installation.migrate_command)


def hook(work: Work) -> Answer:
    """A command of the installation around a step, once on this host. Without a release yet it runs in the root."""
    name, command = work.step.input["hook"], work.installation.options.get("hooks", {}).get(work.step.input["hook"], "")
    if not command:
        return passed("it is not declared any more", rule="hook")
    mends = work.deployment.is_rollback or work.deployment.is_convergence
    if mends and (why := _nothing_to_do(work, name)):
        return passed(why, rule="hook")
    return _once(work, command, in_root=name in ("before_deployment", "before_prepare"), most=HOOK_WITHIN)


def _nothing_to_do(work: Work, name: str) -> str:
    """Why a host that goes back has no use for a hook: it is left as it is, or behind. "" where it has."""
    host = work.step.input["endpoint"]
    target = work.targets[host]
    if target.state == TargetState.OWED or not target.to_content:
        return f"{host} does not go back"
    if name == "before_activate":
        runs, health = work.at(host)
        unchanged = runs == target.to_content and health is not None and health.healthy
    else:
        activation = work.deployment.steps.filter(kind="activate", target=host).first()
        unchanged = activation is None or activation.rule == "look"
    return f"{host} was never changed" if unchanged else ""


ENDED_BADLY = frozenset({"command_failed", "broke_off", "deadline"})
"""What a host says of a command that was begun and whose end a person has to judge."""
KEPT = 2000
"""Bytes of a command's output that a host sends: its end."""


def _once(work: Work, command: str, *, in_root: bool = False, most: float = math.inf) -> Answer:
    """An act of the host like a restart: it outlives this worker, and its name lets it be begun once.

    A person who lets it run again after it ended badly gives it another name. most: seconds it may take.
    """
    name, run = work.step.target or work.step.input["endpoint"], work.step.output.get("run", 1)
    endpoint, content = work.targets[name].endpoint, work.targets[name].to_content
    what = work.step.input.get("hook", work.step.kind).replace("_", " ")
    left = (work.step.deadline_at - clock.now()).total_seconds() if work.step.deadline_at else work.step.within
    try:
        answer = work.outside.hosts.once(
            address_of(endpoint.host), site_of(endpoint), content, command,
            fence=work.fence, key=f"{work.key}:{run}", deadline=max(1.0, min(left - 5, most)), in_root=in_root,
        )  # fmt: skip
    except (ActFailed, ActRefused, ActTimedOut) as error:
        if error.code not in ENDED_BADLY:
            raise
        said = _kept(work, error.detail)
        why = f"{error.sentence}{': ' if said else ''}{said[-1000:]}"
        return failed(why, permanent=True, rule=work.step.kind, output={"run": run + 1, "said": said})
    if answer.state == "running":
        again = clock.now() + timedelta(seconds=1)
        return pending(f"{name}: {what} goes on", again, rule=work.step.kind, output={"run": run})
    said = _kept(work, answer.data)
    return passed(f"{name}: {what} done", rule=work.step.kind, output={"run": run, "said": said})


def _kept(work: Work, told: Mapping[str, Any]) -> str:
    """The end of what a command wrote, without the secrets that it was given."""
    said = str(told.get("said", "")).strip()
    used = work.deployment.configuration
    if not said or used is None:
        return said
    if len(said.encode()) > KEPT - 200:
        said = said.partition("\n")[2]  # only the end was kept, and what is cut within a secret shows a part of it
    try:
        return without_secrets(said, used.variables)
    except SecretRefused:
        return "(not kept: it may hold a secret, and the secrets cannot be read now)"


def smoke(work: Work) -> Answer:
    """The tests declared for this installation, against every host and once through the balancer.

    Against a side that rests they run before it has any traffic, and not through the balancer.
    """
    run = smoke_tests.ask(work.deployment, work.installation.smoke, asked_by="aureus", by_step=True)
    Step.objects.filter(pk=work.step.pk, fence=work.fence).update(smoke_run=run)
    run = smoke_tests.carry_out(run, work.deployment, work.outside, only=work.step.input.get("endpoints"))
    if run.verdict == "passed":
        return passed(f"{len(run.results)} smoke tests passed", rule="smoke")
    first: dict[str, Any] = next((r for r in run.results if r["status"] != "passed"), {})
    return failed(f"smoke test {first.get('name')} failed: {first.get('error')}", permanent=True, rule="smoke")
