"""How a plan stands with people: who said yes and until when that counts, what lets it past, where it would go back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from deployments.holding import KINDS
from deployments.models import Deployment
from deployments.snapshot import policy_of
from releases.spec import number_of


def voices_of(deployment: Deployment, now: datetime) -> dict[str, Any]:
    """How many approvals its plan needs, how many count now, and every voice with whether it does."""
    policy = policy_of(deployment.installation)
    lives = timedelta(seconds=policy.approval_expires)
    over = deployment.started_at or deployment.ended_at
    voices = []
    for voice in deployment.approvals.all():
        current = voice.plan_hash == deployment.plan_hash and voice.renewed_at is None
        # What has started, or ended, did so by what counted then.
        expires = voice.at + lives if voice.yes else None
        counts = current and (expires is None or (over or now) < expires)
        voices.append({
            "by": voice.by, "yes": voice.yes, "comment": voice.comment, "at": voice.at, "expires_at": expires,
            "counts": counts,
        })  # fmt: skip
    asked = not (deployment.is_rollback or deployment.is_convergence)
    given = sum(bool(voice["yes"] and voice["counts"]) for voice in voices)
    return {"needed": policy.needs(deployment.risk) if asked else 0, "given": given, "voices": voices}


def passes_of(deployment: Deployment, now: datetime) -> list[dict[str, Any]]:
    """What people let it past, and asked to."""
    overrides = [
        {"kind": "override", "holds": one.holds, "by": one.by, "reason": one.reason, "at": one.at,
         "counts": one.plan_hash == deployment.plan_hash}
        for one in deployment.overrides.all()
    ]  # fmt: skip
    glasses = [
        {"kind": "break_glass", "holds": ["approvals", "gates", *KINDS], "by": one.asked_by, "reason": one.reason,
         "confirmed_by": one.confirmed_by or None, "at": one.asked_at, "expires_at": one.expires_at,
         "used_at": one.used_at,
         "counts": one.used_at is not None or bool(one.confirmed_by and one.expires_at > now
                                                   and one.plan_hash == deployment.plan_hash)}
        for one in deployment.glasses.all()
    ]  # fmt: skip
    return [*overrides, *glasses]


def way_back_of(deployment: Deployment) -> str:
    """Where its hosts would go if it failed, in one sentence."""
    if deployment.is_rollback:
        return "a rollback is not undone by itself: its window only calls people"
    if deployment.intent.get("one_way"):
        return str(deployment.intent["if_it_fails"])
    changing = [target for target in deployment.targets.all() if not target.resting]
    if not any(target.from_content for target in changing):
        return "nothing runs there yet: there is nothing to go back to"
    back = {target.name: number_of(target.back_content) for target in changing}
    if not any(back.values()):
        return "there is no way back: no earlier version proved good there"
    if len(set(back.values())) == 1:
        return f"every host goes back to {next(iter(back.values()))}"
    return "; ".join(f"{name} goes back to {number}" if number else f"{name} has no way back"
                     for name, number in back.items())  # fmt: skip
