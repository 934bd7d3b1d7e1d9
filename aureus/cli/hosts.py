"""Hosts: what runs on them by our record and by what was last seen; whose key is trusted."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aureus.cli import group
from aureus.cli.ends import FAILED, Ended
from aureus.cli.group import database, operator
from aureus.cli.output import Json, answer, ask, say, table, when

if TYPE_CHECKING:
    from deployments.fleet.trust import Look

app = group.make(invoke_without_command=True, help="List hosts, with what runs there; trust their keys.")
Environment = Annotated[str, typer.Option("--environment", "-e", help="Only this environment's.")]


@app.callback()
def list_hosts(
    context: typer.Context,
    environment: Environment = "",
    everything: Annotated[bool, typer.Option("--all", help="Retired hosts too.")] = False,
    as_json: Json = False,
) -> None:
    """List hosts: recorded and observed versions, how each stands to the record, whose key is trusted."""
    if context.invoked_subcommand is None:
        _list(environment, everything, as_json)


def _list(environment: str, everything: bool, as_json: bool) -> None:
    with database():
        rows = _rows(environment, everything)
    if as_json:
        return answer(rows)
    cells = ((r["environment"], r["host"], r["address"], r["application"], r["recorded"], r["observed"],
              when(r["observedAt"]), _state(r), "yes" if r["trusted"] else "no") for r in rows)  # fmt: skip
    table(("ENVIRONMENT", "HOST", "ADDRESS", "APPLICATION", "RECORDED", "OBSERVED", "SEEN", "STATE", "TRUSTED"), cells)


def _rows(environment: str, everything: bool) -> list[dict[str, Any]]:
    from deployments.models import Endpoint, Host
    from releases.spec import number_of

    hosts = Host.objects.select_related("environment").order_by("environment__order", "environment__name", "order")
    hosts = hosts.filter(environment__name=environment) if environment else hosts
    hosts = hosts if everything else hosts.filter(state=Host.State.ACTIVE)
    places: dict[int, list[Endpoint]] = {}
    living = Endpoint.objects.filter(host__in=hosts, retired=False).select_related("host", "installation__application")
    for endpoint in living:
        places.setdefault(endpoint.host_id, []).append(endpoint)
    found: list[dict[str, Any]] = []
    for host in hosts:
        about = {"environment": host.environment.name, "host": host.name, "address": f"{host.address}:{host.port}",
                 "state": host.state, "trusted": bool(host.fingerprint), "fingerprint": host.fingerprint}  # fmt: skip
        nothing = {"application": "", "recorded": "", "observed": "", "observedAt": None, "drift": False, "owed": "",
                   "standing": "", "standingSince": None, "why": ""}  # fmt: skip
        found += [
            {**about, "application": e.installation.application.key, "recorded": number_of(e.recorded),
             "observed": number_of(e.observed), "observedAt": e.observed_at,
             "drift": e.observed_at is not None and e.observed != e.recorded, "owed": e.owed,
             "standing": e.standing, "standingSince": e.state_since, "why": e.owed or e.why}
            for e in places.get(host.pk, [])
        ] or [{**about, **nothing}]  # fmt: skip
    return found


def _state(row: dict[str, Any]) -> str:
    if row["owed"]:
        return f"owed: {row['owed']}"
    if row["state"] != "active" or not row["standing"]:
        return row["state"]
    stands = row["standing"].replace("_", " ")
    return f"{stands}: {row['why']}" if row["why"] else stands


@app.command("list")
def list_them(
    environment: Environment = "",
    everything: Annotated[bool, typer.Option("--all", help="Retired hosts too.")] = False,
    as_json: Json = False,
) -> None:
    """List hosts: the same as `aureus hosts` alone."""
    _list(environment, everything, as_json)


@app.command()
def trust(
    name: Annotated[str, typer.Argument(help="The host's name.")],
    environment: Annotated[str, typer.Option("--environment", "-e", help="Where it stands, if several have it.")] = "",
    fingerprint: Annotated[str, typer.Option(help="What you read on the machine; the host must show the same.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Trust a key that has changed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: you have compared it.")] = False,
    as_json: Json = False,
) -> None:
    """Show a host's key and, once you have compared it, trust it. Nobody logs in for this."""
    with database():
        from deployments.fleet import trust as verb

        seen = verb.look(verb.find(name, environment), fingerprint=fingerprint)
        if not as_json:
            _show(seen)
        agreed = seen.changed and not replace and _typed(seen, yes)
        if seen.trusted != seen.shown and not seen.changed and not (yes or fingerprint) and not _compared(name):
            raise Ended(
                FAILED, "nothing was stored: compare the fingerprint on the machine, then answer, or give --yes"
            )
        changed = verb.store(seen, actor=operator(), replace=replace or agreed)
    if as_json:
        return answer({"host": name, "before": seen.trusted, "fingerprint": seen.shown, "changed": changed})
    say(f"{name} is trusted" if changed else f"{name} was trusted with this key already")


def _show(seen: Look) -> None:
    say(f"{seen.host.name} ({seen.host.address}:{seen.host.port}) shows {seen.shown}")
    if seen.changed:
        say(
            f"WARNING: {seen.trusted} was trusted until now. "
            "The machine was set up anew, or somebody stands in between."
        )


def _compared(name: str) -> bool:
    return ask(f"Is that what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on {name}?")


def _typed(seen: Look, yes: bool) -> bool:
    """A changed key is no yes-or-no question: the host's name has to be typed."""
    if yes or not sys.stdin.isatty():
        return False
    return typer.prompt(f"Type {seen.host.name} to trust the new key", default="", show_default=False) == seen.host.name
