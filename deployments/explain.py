"""Why a deployment is where it is, in one sentence, with what the sentence was read from; and what comes next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aureus import clock
from deployments.engine.facts import OnFailure
from deployments.engine.status import Status, StepStatus, TargetState
from deployments.holding import SAID
from deployments.lifecycle.ending import over_schema_change
from deployments.models import Deployment, Stage, Step, Target
from deployments.policy import ASTRAY
from deployments.schema import no_return
from deployments.standing import passes_of, voices_of
from health.models import Window

AFTER_FAILURE = {
    OnFailure.ROLL_BACK: "the deployment stops, and every host it changed goes back",
    OnFailure.GO_ON: "the others go on without this host",
    OnFailure.HOLD: "it is held until a person decides",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """One sentence, what happens next, and the rows behind both."""

    sentence: str
    next: str
    evidence: list[dict[str, Any]] = field(default_factory=list)


def explain(deployment: Deployment) -> Explanation:
    """The whole explanation of a deployment as it is recorded now."""
    steps = list(deployment.steps.select_related("stage"))
    targets = list(deployment.targets.select_related("endpoint"))
    windows = list(Window.objects.filter(subject=deployment.id))
    window = windows[0] if windows else None
    evidence = [
        *_of_configuration(deployment),
        *_of_risk(deployment),
        *_of_approvals(deployment),
        *_of_passes(deployment),
        *(_of_step(step) for step in steps if _tells(step)),
        *(_of_target(target) for target in targets if target.state == TargetState.OWED),
        *(_of_window(one) for one in windows),
        *_of_hosts(deployment, targets),
    ]
    return Explanation(_sentence(deployment, steps, targets, window), _next(deployment, steps, window), evidence)


def _sentence(d: Deployment, steps: Sequence[Step], targets: Sequence[Target], window: Window | None) -> str:
    what = f"{d.brings} to {d.installation.environment}"
    if d.is_rollback:
        what = f"The rollback of {d.installation.environment} to {d.brings}"
    match Status(d.status):
        case Status.PENDING:
            said = d.reason or "nobody has looked at it yet"
            return f"{what} has not started: {said}."
        case Status.AWAITING_APPROVAL:
            return f"{what} has not started: {d.reason or 'it waits for approval'}."
        case Status.IN_PROGRESS:
            return _under_way(d, what, steps)
        case Status.DEPLOYED:
            owed = [t.name for t in targets if t.state == TargetState.OWED]
            without = f"; owed: {', '.join(owed)}" if owed else ""
            hosts = sum(t.claimed_at is not None for t in targets) - len(owed)
            return f"{what} was deployed on {hosts} host{'s' * (hosts != 1)} at {_time(d.deployed_at)}{without}."
        case Status.ROLLED_BACK:
            return f"{what} was deployed and then {d.reason}."
        case Status.FAILED:
            return f"{what} failed ({d.outcome}): {d.reason}."
    raise AssertionError(d.status)


def _under_way(d: Deployment, what: str, steps: Sequence[Step]) -> str:
    if d.installation.unproven:
        return f"{what} does nothing now: {d.installation.unproven}."
    if d.abort_reason:
        return f"{what} is being stopped: {d.abort_reason}."
    if d.paused_by:
        why = f": {d.pause_reason}" if d.pause_reason else ""
        return f"{what} is paused by {d.paused_by}{why}."
    step = _speaking(steps)
    if step is None:
        return f"{what} is under way: every step has passed."
    where = f" on {step.target}" if step.target else ""
    said = f": {step.reason}" if step.reason else ""
    return f"{what} is at “{step.stage.name}”{where}{said}."


def _speaking(steps: Sequence[Step]) -> Step | None:
    """The step that says most about now: held, failing, running, else the first that is left."""
    left = [s for s in steps if s.status in (StepStatus.PENDING, StepStatus.RUNNING)]
    first = [s for s in left if s.stage.position == min(x.stage.position for x in left)]
    ranked = sorted(first, key=lambda s: (not s.held, not s.failures, s.status != StepStatus.RUNNING, not s.reason))
    return ranked[0] if ranked else None


def _next(d: Deployment, steps: Sequence[Step], window: Window | None) -> str:
    match Status(d.status):
        case Status.PENDING | Status.AWAITING_APPROVAL:
            return _before_start(d)
        case Status.IN_PROGRESS:
            if d.abort_reason:
                stays = over_schema_change(d) if no_return(d) else None
                then = f"nothing goes back by itself: {stays.sentence}" if stays else "then what was changed goes back"
                return f"what runs on hosts is ended, {then}"
            if d.paused_by:
                return "nothing new starts until somebody resumes it"
            step = _speaking(steps)
            if step is not None and step.held and (over := over_schema_change(d)):
                return f"{next_of(step)}; nothing goes back by itself: {over.sentence}"
            return next_of(step) if step else "it ends as deployed"
        case Status.DEPLOYED:
            return _while_watched(d, window)
        case Status.FAILED:
            rollback = d.rollbacks.order_by("-created_at").first()
            if rollback is not None:
                return f"its rollback {rollback.id} is {_words(rollback.status)}"
            if over := None if d.is_rollback else over_schema_change(d):
                return f"nothing by itself: {over.sentence}"
            return "nothing: retry it, or deploy a mended version"
    return "nothing: it has been undone"


def _before_start(d: Deployment) -> str:
    if d.status == Status.AWAITING_APPROVAL:
        voices = voices_of(d, clock.now())
        needed, missing = voices["needed"], max(voices["needed"] - voices["given"], 0)
        return f"{missing} more of {needed} approvals, by others than {d.requested_by}, and it starts"
    if d.reason.startswith(tuple(SAID.values())):
        return f"looked at again at {_time(d.wake_at)}; a release manager may override it, with a reason"
    return f"looked at again at {_time(d.wake_at)}" if d.wake_at else "it starts when what it waits for has ended"


def _while_watched(d: Deployment, window: Window | None) -> str:
    if window is None or window.kind != Window.Kind.AFTER:
        return "nothing: nothing is watched"
    if window.closed_at is None:
        over = over_schema_change(d) if window.armed else None
        then = "a failure undoes it by itself" if window.armed and not over else "a failure only calls people"
        then += f": {over.sentence}" if over else ""
        held = f" (held since {_time(window.held_since)}: {window.cause})" if window.held_since else ""
        return f"watched until {_time(window.closes_at)}{held}; {then}"
    if window.verdict == Window.Verdict.FAIL and not d.is_rollback and (over := over_schema_change(d)):
        return f"nothing by itself, though its monitoring window failed: {over.sentence}"
    return f"nothing: its monitoring window ended as {window.verdict}"


def next_of(step: Step) -> str:
    """What happens next with one step."""
    status = StepStatus(step.status)
    if status is StepStatus.PASSED or status is StepStatus.SKIPPED:
        return ""
    if status is StepStatus.FAILED:
        return AFTER_FAILURE[OnFailure(step.stage.on_failure)] if not _borne(step) else "the others go on without it"
    if step.held:
        return "nothing until a person retries, resumes or aborts"
    if status is StepStatus.RUNNING:
        return f"it has to be done by {_time(step.deadline_at)}"
    if not step.attempts:
        return "starts after the steps before it"
    left = max(step.stage.retries - step.failures + 1, 0)
    if step.failures:
        return f"tried again at {_time(step.not_before)}; {_tries(left)}, then {_after(step.stage)}"
    return f"looked at again until {_time(step.deadline_at)}, then {_after(step.stage)}"


def _borne(step: Step) -> bool:
    return bool(step.target) and step.stage.max_failures > 0


def _after(stage: Stage) -> str:
    return AFTER_FAILURE[OnFailure(stage.on_failure)]


def _tries(left: int) -> str:
    return f"{left} {'tries' if left != 1 else 'try'} left" if left else "no try left"


def _tells(step: Step) -> bool:
    return step.status in (StepStatus.FAILED, StepStatus.RUNNING) or bool(step.failures) or step.held


def _of_step(step: Step) -> dict[str, Any]:
    return {
        "kind": "step",
        "id": step.pk,
        "step": step.kind,
        "stage": step.stage.name,
        "host": step.target or None,
        "status": step.status,
        "seen": step.reason,
        "rule": step.rule,
        "at": step.ended_at or step.started_at,
        "next": next_of(step),
    }


def _of_target(target: Target) -> dict[str, Any]:
    return {"kind": "target", "host": target.name, "status": target.state, "seen": target.why, "at": target.observed_at}


def _of_hosts(deployment: Deployment, targets: Sequence[Target]) -> Iterator[dict[str, Any]]:
    """Hosts of what is deployed that do not stand as recorded any more, by the looks since."""
    if deployment.status != Status.DEPLOYED:
        return
    for target in targets:
        endpoint = target.endpoint
        if endpoint.recorded == target.to_content and endpoint.state in ASTRAY:
            yield {"kind": "host", "host": target.name, "status": endpoint.state, "seen": endpoint.why,
                   "at": endpoint.state_since}  # fmt: skip


def _of_window(window: Window) -> dict[str, Any]:
    return {
        "kind": "window",
        "id": window.pk,
        "window": window.kind,
        "status": window.verdict or ("held" if window.held_since else "open"),
        "cause": window.cause,
        "seen": window.record.get("sentence", ""),
        "rule": window.record.get("rule", ""),
        "figures": window.record.get("figures"),
        "at": window.record.get("at"),
    }


def _of_configuration(deployment: Deployment) -> Iterator[dict[str, Any]]:
    if (used := deployment.configuration) is not None:
        yield {"kind": "configuration", "revision": used.number, "digest": used.digest, "by": used.by,
               "status": "shipped with it", "seen": used.note, "at": used.at}  # fmt: skip


def _of_risk(deployment: Deployment) -> Iterator[dict[str, Any]]:
    for level, why in deployment.risk_reasons:
        yield {"kind": "risk", "status": level, "seen": why}


def _of_approvals(deployment: Deployment) -> Iterator[dict[str, Any]]:
    for voice in voices_of(deployment, clock.now())["voices"]:
        yield {
            "kind": "approval",
            "by": voice["by"],
            "status": "approved" if voice["yes"] else "rejected",
            "seen": voice["comment"],
            "counts": voice["counts"],
            "at": voice["at"],
            "expires": voice["expires_at"],
        }


def _of_passes(deployment: Deployment) -> Iterator[dict[str, Any]]:
    for one in passes_of(deployment, clock.now()):
        who = f"{one['by']} and {one['confirmed_by']}" if one.get("confirmed_by") else one["by"]
        yield {"kind": one["kind"], "by": who, "status": ", ".join(one["holds"]), "seen": one["reason"],
               "counts": one["counts"], "at": one["at"]}  # fmt: skip


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "an open time"


def _words(status: str) -> str:
    return status.replace("_", " ")
