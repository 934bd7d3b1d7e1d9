"""Rolling back with the web and Redis down, from the database alone."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aureus.cli.ends import DEPLOYED, FAILED, TIMED_OUT, USAGE, Ended
from aureus.cli.group import database
from aureus.cli.output import answer, say, table, when
from aureus.cli.references import deployment_id

if TYPE_CHECKING:
    from deployments.models import Deployment, Step


def roll_back(
    deployment: str, *, reason: str, to: str, timeout: float, accept_schema_change: bool, as_json: bool
) -> None:
    """Begin the rollback and carry it here to its end. Without a deployment: list what can be undone."""
    name = deployment_id(deployment) if deployment else ""
    with _postgres(), database():
        from aureus.journal.actor import Actor
        from deployments import lifecycle, offline
        from deployments.outside import real

        if not name:
            return _list(offline.current(), as_json)
        actor = Actor(f"offline:{getpass.getuser()}"[:150], "system")
        rollback, _ = lifecycle.roll_back(
            name, actor=actor, reason=reason, target_version=to or None, accept_schema_change=accept_schema_change
        )
        if not as_json:
            say(f"{rollback.id}: back to {rollback.version.number}")
        try:
            ended = offline.carry(rollback, real(), _quiet if as_json else _tell, seconds=timeout)
        except offline.NotEnded as error:
            raise Ended(TIMED_OUT, f"{error}; run it again to go on, or let the workers") from None
        _finish(ended, as_json)


@contextmanager
def _postgres() -> Iterator[None]:
    """Before Django reads where the database is: starting it may change its port."""
    from aureus import conf
    from aureus.embedded.postgres import PostgresError
    from aureus.up import alone
    from aureus.up.home import HomeError

    try:
        configuration = conf.read()
    except conf.ConfigurationError as error:
        raise Ended(USAGE, str(error)) from None
    try:
        with alone.postgres(configuration, lambda who, what: say(f"{who}: {what}")):
            yield
    except (HomeError, PostgresError) as error:
        raise Ended(FAILED, str(error)) from None


def _list(found: list[Deployment], as_json: bool) -> None:
    if not found and not as_json:
        return say("nothing runs anywhere, by this record")
    rows = [
        {
            "environment": d.installation.environment.name,
            "workflowId": d.installation.application.key,
            "version": d.version.number,
            "deployedAt": d.deployed_at,
            "id": str(d.id),
        }
        for d in found
    ]
    if as_json:
        return answer(rows)
    cells = ((r["environment"], r["workflowId"], r["version"], when(r["deployedAt"]), r["id"]) for r in rows)
    table(("ENVIRONMENT", "APPLICATION", "VERSION", "DEPLOYED", "ID"), cells)
    raise Ended(USAGE, "name one of these: aureus rollback ID --offline --reason WHY")


def _tell(step: Step) -> None:
    where = f" {step.target}" if step.target else ""
    say(f"{step.kind.replace('_', ' ')}{where}: {step.status}{': ' + step.reason if step.reason else ''}")


def _quiet(step: Step) -> None:
    """A script reads the answer at the end."""


def _finish(rollback: Deployment, as_json: bool) -> None:
    owed = list(rollback.targets.filter(state="owed").values_list("name", flat=True))
    if as_json:
        told: dict[str, Any] = {"id": str(rollback.id), "version": rollback.version.number, "status": rollback.status}
        answer({**told, "reason": rollback.reason, "owed": owed})
    else:
        say(f"{rollback.status}: {rollback.reason}")
    raise Ended(DEPLOYED if rollback.status == "deployed" and not owed else FAILED)
