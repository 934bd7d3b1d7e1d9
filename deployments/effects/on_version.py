"""Effects that ask whether the new version is well: the bake after a batch, the declared smoke tests."""

from __future__ import annotations

from datetime import timedelta

from aureus import clock
from deployments import smoke as smoke_tests
from deployments.effects.work import Work
from deployments.engine.settle import Answer, failed, passed, pending
from deployments.lifecycle import windows
from deployments.models import Step
from health.models import Window


def watch(work: Work) -> Answer:
    """Open the window of this batch once, then wait until its verdict is a row; `deployments.watching` answers."""
    window = Window.objects.filter(pk=work.step.window_id).first() or _open(work)
    if window.verdict == Window.Verdict.PASS:
        return passed("the bake passed", rule="window")
    if window.verdict == Window.Verdict.FAIL:
        return failed(window.record.get("sentence", "the bake failed"), permanent=True, rule="window")
    if window.verdict:
        return passed(f"the bake ended as {window.verdict}", rule="window")
    why = f"watched until {window.closes_at:%H:%M:%S} UTC"
    # The verdict settles this step by itself; looking again only makes up for one that was lost on the way.
    return pending(why, max(window.closes_at, clock.now()) + timedelta(seconds=30), rule="window")


def _open(work: Work) -> Window:
    window = windows.open_bake(work.deployment, work.step.input["endpoints"], work.step.input["seconds"])
    # Of two workers one keeps its window; the other's has no step and is closed by nobody's verdict.
    if Step.objects.filter(pk=work.step.pk, fence=work.fence, window=None).update(window=window) != 1:
        window.delete()
        return Step.objects.get(pk=work.step.pk).window
    return window


def smoke(work: Work) -> Answer:
    """The tests declared for this installation, against every host and once through the balancer."""
    run = smoke_tests.ask(work.deployment, work.installation.smoke, asked_by="aureus")
    Step.objects.filter(pk=work.step.pk, fence=work.fence).update(smoke_run=run)
    run = smoke_tests.carry_out(run, work.deployment, work.outside)
    if run.verdict == "passed":
        return passed(f"{len(run.results)} smoke tests passed", rule="smoke")
    first = next((r for r in run.results if r["status"] != "passed"), {})
    return failed(f"smoke test {first.get('name')} failed: {first.get('error')}", permanent=True, rule="smoke")
