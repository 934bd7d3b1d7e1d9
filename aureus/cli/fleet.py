"""The fleet: apply, adopt, converge, recover. These work on the database and, all but the first, on the hosts."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aureus.cli.adopting import adopt
from aureus.cli.deploying import AcceptSchemaChange
from aureus.cli.ends import FAILED, OK, TIMED_OUT, USAGE, Ended, with_errors
from aureus.cli.group import database, operator
from aureus.cli.output import Json, answer, ask, say, table, warn

if TYPE_CHECKING:
    from deployments.fleet.converge import Convergence
    from deployments.fleet.declaration import Declaration
    from deployments.fleet.difference import Change, Difference
    from deployments.fleet.from_variables import Options
    from deployments.fleet.recover import Recovery

LARGEST = 1_000_001
EVERY = 1.0
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (apply, adopt, converge, recover):
        app.command()(command)


def apply(
    file: Annotated[Path | None, typer.Argument(help="The declaration, a YAML file; - reads standard input.")] = None,
    from_env: Annotated[
        bool, typer.Option("--from-env", help="Declare by STAGING_* and PRODUCTION_* variables.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference, and change nothing.")] = False,
    yes: Yes = False,
    application: Annotated[str, typer.Option(help="With --from-env: the workflow id.")] = "",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="With --from-env: where it listens on each host.")] = 0,
    root: Annotated[str, typer.Option(help="With --from-env: its folder. Default: /srv/APPLICATION")] = "",
    unit: Annotated[str, typer.Option(help="With --from-env: its systemd unit. Default: APPLICATION")] = "",
    restart: Annotated[str, typer.Option(help="With --from-env: a command instead of the unit.")] = "",
    health: Annotated[str, typer.Option(help="With --from-env: its health path.")] = "/health",
    metrics: Annotated[str, typer.Option(help="With --from-env: its metrics path.")] = "",
    approvals: Annotated[
        int | None, typer.Option(min=0, max=10, help="With --from-env: people who must say yes to production.")
    ] = None,
    gates: Annotated[str, typer.Option(help="With --from-env: the preset of gates.")] = "basic",
    as_json: Json = False,
) -> None:
    """Make the fleet what a file says. The difference is shown first; a second time changes nothing."""
    if (file is None) == (not from_env):
        raise Ended(USAGE, "name a file, or --from-env, and not both")
    if from_env and (not application or not port or approvals is None):
        raise Ended(USAGE, "--from-env needs --application, --port and --approvals (0 for none)")
    with database():
        from deployments.fleet.apply import apply as apply_it
        from deployments.fleet.apply import difference
        from deployments.fleet.from_variables import Options

        options = Options(application, port, root, unit, restart, health, metrics, approvals or 0, gates)
        declaration = _from_variables(options) if file is None else _read(file)
        found = difference(declaration, actor=operator())
        if as_json:
            answer({"changes": [c.as_json() for c in found.changes], "refusals": with_errors(found.refusals),
                    "applied": not (dry_run or found.refusals)})  # fmt: skip
        else:
            _show(found)
        if found.refusals:
            raise Ended(FAILED, "nothing was applied:", with_errors(found.refusals))
        if dry_run or not found.changes:
            return
        # Without a terminal nobody can be asked: a script has said what it wants by calling this.
        if not yes and not as_json and sys.stdin.isatty() and not ask("Apply this?"):
            raise Ended(FAILED, "nothing was applied")
        apply_it(declaration, actor=operator())
    if not as_json:
        say("applied")


def _from_variables(options: Options) -> Declaration:
    from deployments.fleet.from_variables import declaration

    return _valid(lambda: declaration(os.environ, options))


def _read(file: Path) -> Declaration:
    from deployments.fleet.declaration import read

    try:
        if str(file) == "-":
            content = sys.stdin.buffer.read(LARGEST)
        else:
            with file.open("rb") as stream:
                content = stream.read(LARGEST)
    except OSError as error:
        raise Ended(USAGE, f"{file} cannot be read: {error.strerror}") from None
    return _valid(lambda: read(content))


def _valid(make: Any) -> Declaration:
    from deployments.fleet.declaration import DeclarationInvalid

    try:
        return make()
    except DeclarationInvalid as error:
        raise Ended(USAGE, "the declaration cannot be applied:", with_errors(error.errors)) from None


def _show(found: Difference) -> None:
    for change in found.changes:
        say(f"{_SIGNS[change.action]} {change.title} {change.action}{_note(change)}")
        for field in change.fields if change.action != "added" else ():
            # By print, since say() takes the space at the front away.
            print(f"    {field.name}: {_word(field.before)} -> {_word(field.after)}")
    if not found.changes:
        say("nothing changes")


_SIGNS = {"added": "+", "changed": "~", "retired": "-", "returned": "+"}


def _note(change: Change) -> str:
    return f" ({change.note})" if change.note else ""


def _word(value: Any) -> str:
    return "nothing" if value in (None, "", [], {}) else str(value)


def converge(
    environment: Annotated[str, typer.Argument(help="The environment.")],
    host: Annotated[str, typer.Option(help="Only this host of it.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look at the hosts, and begin nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait at most.")] = 3600.0,
    accept_schema_change: AcceptSchemaChange = False,
    as_json: Json = False,
) -> None:
    """Bring owed and drifted hosts where they belong. Workers carry it out, and no other host is touched."""
    with database():
        from deployments.fleet import converge as verb
        from deployments.outside import real

        found = verb.look(environment, real(), host=host)
        if not dry_run:
            found = verb.begin(found, actor=operator(), accept_schema_change=accept_schema_change)
        if not as_json:
            _show_convergence(found)
        code = _wait(found, timeout, as_json) if wait else OK
        if as_json:
            answer([_convergence(one) for one in found])
        if code or any(one.why and one.astray for one in found):
            raise Ended(code or FAILED)


def _show_convergence(found: list[Convergence]) -> None:
    rows = [(one.installation.application.key, s.endpoint.name, s.endpoint.recorded or "nothing", _runs(s), s.belongs,
             _stands(s)) for one in found for s in one.seen]  # fmt: skip
    table(("APPLICATION", "HOST", "RECORDED", "RUNS", "BELONGS ON", "STATE"), rows)
    for one in found:
        if one.why:
            say(f"{one.installation}: {one.why}")
        if one.deployment:
            say(f"{one.installation}: the deployment {one.deployment.id} was begun")


def _runs(seen: Any) -> str:
    return seen.error if seen.runs is None else seen.runs or "nothing"


def _stands(seen: Any) -> str:
    if seen.runs is None:
        return "not reached"
    if seen.endpoint.owed:
        return f"owed: {seen.endpoint.owed}"
    return "astray" if seen.astray else "where it belongs"


def _convergence(one: Convergence) -> dict[str, Any]:
    hosts = [{"host": s.endpoint.name, "recorded": s.endpoint.recorded, "runs": s.runs, "belongs": s.belongs,
              "owed": s.endpoint.owed, "astray": s.astray, "error": s.error} for s in one.seen]  # fmt: skip
    deployment = one.deployment
    return {
        "workflowId": one.installation.application.key,
        "environment": one.installation.environment.name,
        "hosts": hosts,
        "why": one.why,
        "deploymentId": str(deployment.id) if deployment else None,
        "status": deployment.status if deployment else None,
    }


def _wait(found: list[Convergence], timeout: float, quiet: bool) -> int:
    """Until each has ended; the exit code."""
    ends, code = time.monotonic() + timeout, OK
    for deployment in (one.deployment for one in found if one.deployment):
        while True:
            deployment.refresh_from_db()
            if deployment.ended_at is not None:
                break
            if time.monotonic() > ends:
                warn(f"{deployment.id} has not ended within {timeout:g} s; it goes on by itself")
                return TIMED_OUT
            time.sleep(EVERY)
        if not quiet:
            say(f"{deployment.id}: {deployment.status}: {deployment.reason}")
        brought = deployment.status == "deployed" and not deployment.targets.filter(state="owed").exists()
        code = code if brought else FAILED
    return code


def recover(
    environment: Annotated[str, typer.Option("--environment", "-e", help="Only this environment.")] = "",
    accept: Annotated[bool, typer.Option("--accept", help="Believe the hosts, and end the hold.")] = False,
    reason: Annotated[str, typer.Option(help="Why; demanded with --accept, and kept.")] = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Compare hosts with a restored database. With --accept, what they run becomes the record."""
    if accept and not reason.strip():
        raise Ended(USAGE, "--accept needs --reason: say which dump was restored, and why")
    with database():
        from deployments.fleet import recover as verb
        from deployments.outside import real

        found = verb.look(real(), environment=environment)
        if not as_json:
            _show_recovery(found)
        if accept:
            if not yes and sys.stdin.isatty() and not ask("Take what the hosts run as the record?"):
                raise Ended(FAILED, "nothing was changed")
            verb.accept(found, actor=operator(), reason=reason)
        if as_json:
            return answer(_recovery(found, accept))
        for line in filter(None, (verb.advice(place) for place in found.places)):
            say(f"next: {line}")
        if accept:
            say("accepted: the fences are above all that was seen, and nothing is held any more")
        elif found.needed:
            say("run it again with --accept --reason once you believe what the hosts run")


def _show_recovery(found: Recovery) -> None:
    rows = [(str(place.installation), s.endpoint.name, s.endpoint.recorded or "nothing", _runs(s), s.fence)
            for place in found.places for s in place.seen]  # fmt: skip
    rows += [(f"balancer {node.balancer.name}", node.host.name, "", error, fence)
             for node, fence, error in found.balancers]  # fmt: skip
    table(("WHERE", "HOST", "RECORDED", "RUNS", "FENCE"), rows)
    ahead = "hosts are ahead of this database" if found.fence > found.known else "no host is ahead of this database"
    say(f"highest fence seen {found.fence}, highest given {found.known}: {ahead}")
    for place in found.places:
        if place.installation.held:
            say(f"{place.installation} is held: {place.installation.held}")
        if place.installation.unproven:
            say(f"{place.installation} is unproven: {place.installation.unproven}")
        for deployment in place.open:
            say(f"{deployment} ({deployment.id}) is {deployment.status} by this database: --accept abandons it")
    if found.unreached:
        say(f"not reached: {', '.join(found.unreached)}; one of them may hold a higher fence yet")


def _recovery(found: Recovery, accepted: bool) -> dict[str, Any]:
    hosts = [{"installation": str(p.installation), "host": s.endpoint.name, "recorded": s.endpoint.recorded,
              "runs": s.runs, "fence": s.fence, "error": s.error} for p in found.places for s in p.seen]  # fmt: skip
    return {"needed": found.needed, "accepted": accepted, "highestSeen": found.fence, "highestGiven": found.known,
            "hosts": hosts, "unreached": found.unreached,
            "open": [str(d.id) for p in found.places for d in p.open]}  # fmt: skip
