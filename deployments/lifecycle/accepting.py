"""A person's word that code is taken back over a schema change, where the record says that it may not work there."""

from __future__ import annotations

from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, NotAllowed
from deployments.models import Deployment
from deployments.schema import Crossing


def demand(over: Crossing | None, *, accepted: bool, actor: Actor) -> None:
    """Raises Conflict with what can be done instead, and NotAllowed where it is no person who accepts it."""
    if over is None:
        return
    if not accepted:
        raise Conflict(over.sentence, code="schema_changed", errors=[("acceptSchemaChange", "was not said")])
    if actor.kind == "key":
        raise NotAllowed("only people take code back over a schema change, not API keys", code="not_a_person")


def tell(deployment: Deployment, over: Crossing | None, *, actor: Actor) -> None:
    """Keep who accepted it. The caller has demanded it, and this deployment is what came of it."""
    if over is not None:
        about = {"version": over.version, "change": over.change, "back": list(over.back)}
        record(deployment.stream, "deployment.schema_change_accepted", actor, **about)
