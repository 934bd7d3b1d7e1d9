"""What a person may say to a deployment in the console: the buttons, and the form behind each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from aureus.journal.actor import Actor
from deployments import lifecycle
from deployments.engine.status import Status
from deployments.models import Deployment

WAITING = frozenset({Status.PENDING, Status.AWAITING_APPROVAL})
STARTED = frozenset({Status.IN_PROGRESS})
OPEN = WAITING | STARTED


@dataclass(frozen=True, slots=True)
class Verb:
    """A button: what it says, in which statuses it is offered, and what it calls."""

    title: str
    statuses: frozenset[Status]
    call: Callable[..., Any]
    explained: str
    reason: str = "reason"
    demanded: bool = True
    danger: bool = False


def _roll_back(pk: object, *, actor: Actor, reason: str, target: str = "", accept: bool = False) -> Deployment:
    to = target or None
    return lifecycle.roll_back(pk, actor=actor, reason=reason, target_version=to, accept_schema_change=accept)[0]  # type: ignore[arg-type]


def _exclude(pk: object, *, actor: Actor, reason: str, target: str = "") -> Deployment:
    return lifecycle.exclude(pk, actor=actor, reason=reason, host=target)  # type: ignore[arg-type]


def _promote(pk: object, *, actor: Actor, reason: str, target: str = "") -> Deployment:
    wish = lifecycle.Wish(label=actor.name, metadata={"reason": reason} if reason else {})
    return lifecycle.promote(pk, actor=actor, environment=target, wish=wish)[0]  # type: ignore[arg-type]


VERBS = {
    "approve": Verb("Approve", WAITING, lifecycle.approve, "Say yes to the plan as it is now.", "comment", False),
    "reject": Verb(
        "Reject", WAITING, lifecycle.reject, "Say no, and why: the deployment ends.", "comment", danger=True
    ),
    "override": Verb(
        "Override",
        WAITING,
        lifecycle.override,
        "Let this one past the freeze, window or soak that holds it now. Approvals and gates are still asked.",
    ),
    "break-glass": Verb(
        "Break the glass",
        WAITING,
        lifecycle.break_glass,
        "In an emergency, ask to let this one past approvals, gates and time. A second person has to confirm.",
        danger=True,
    ),
    "confirm-break-glass": Verb(
        "Confirm: break the glass",
        WAITING,
        lifecycle.confirm_break_glass,
        "As the second person, let this one past approvals, gates and time. It opens an incident.",
        "comment",
        False,
        True,
    ),
    "pause": Verb("Pause", OPEN, lifecycle.pause, "No new step starts; what runs goes on to its end.", demanded=False),
    "resume": Verb("Resume", OPEN, lifecycle.resume, "Go on where it was paused or held.", demanded=False),
    "retry": Verb(
        "Retry",
        STARTED | {Status.FAILED},
        lifecycle.retry,
        "Run a held step again; of a failed deployment, make a new attempt.",
        demanded=False,
    ),
    "promote-full": Verb(
        "Promote to the full",
        STARTED,
        lifecycle.promote_full,
        "Go on to the end without being watched on the way. Every host is proven healthy still.",
        danger=True,
    ),
    "abort": Verb(
        "Abort",
        OPEN,
        lifecycle.abort,
        "Stop. What was changed goes back, unless its schema change forbids it.",
        danger=True,
    ),
    "abandon": Verb(
        "Abandon",
        OPEN,
        lifecycle.abandon,
        "End it now. Hosts it changed and did not prove are owed, and work on them may go on for a while.",
        danger=True,
    ),
    "exclude": Verb(
        "Exclude a host",
        STARTED,
        _exclude,
        "Go on without a host that holds it up. The host is owed and has to be converged before it serves again.",
        danger=True,
    ),
    "promote": Verb(
        "Promote", frozenset({Status.DEPLOYED}), _promote, "Bring this version to the next environment.", demanded=False
    ),
    "rollback": Verb(
        "Roll back",
        STARTED | {Status.DEPLOYED},
        _roll_back,
        "Bring every host back to the version before, traffic first.",
        danger=True,
    ),
}
TARGETS = {
    "promote": "To environment",
    "exclude": "Host",
    "rollback": "To version (empty: the newest that proved good)",
}


class Say(forms.Form):
    """Why, and for some verbs where to."""

    reason = forms.CharField(widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}), max_length=2000)
    target = forms.CharField(widget=UnfoldAdminTextInputWidget(), max_length=128, required=False)
    accept = forms.BooleanField(required=False, label="Over a schema change too, if one lies between")
    plan_hash = forms.CharField(widget=forms.HiddenInput(), max_length=64, required=False)

    def __init__(self, *args: Any, name: str, verb: Verb, next_up: str = "", saw: str = "", **more: Any) -> None:
        super().__init__(*args, **more)
        if name == "approve":
            self.fields["plan_hash"].initial = saw
        else:
            del self.fields["plan_hash"]
        if name != "rollback":
            del self.fields["accept"]
        self.fields["reason"].required = verb.demanded
        self.fields["reason"].label = verb.reason.capitalize()
        if name not in TARGETS:
            del self.fields["target"]
            return
        self.fields["target"].label = TARGETS[name]
        self.fields["target"].required = name != "rollback"
        self.fields["target"].initial = next_up if name == "promote" else ""
