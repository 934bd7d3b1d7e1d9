"""Who may come in: login for people, and keys, users and grants made on the database."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Annotated, Any

import typer

from aureus.cli import client, credentials, group
from aureus.cli.ends import USAGE, Ended
from aureus.cli.group import database, operator
from aureus.cli.output import Json, answer, say, table, when

keys = group.make(no_args_is_help=True, help="API keys for machines: create, list, revoke.")
users = group.make(no_args_is_help=True, help="People: create.")
ROLES = "viewer, ci, release_manager, approver, admin"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(login)
    app.add_typer(keys, name="keys")
    app.add_typer(users, name="users")
    app.command()(grant)


def login(
    username: Annotated[str, typer.Option("--username", "-u", help="Asked for where it is not given.")] = "",
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read it from standard input.")] = False,
) -> None:
    """Log in and keep the token. For AUREUS_URL, in ~/.config/aureus/credentials, until it runs out."""
    if not username and not sys.stdin.isatty():
        raise Ended(USAGE, "give --username, and the password with --password-stdin")
    name = username or typer.prompt("User name")
    password = _from_stdin() if password_stdin else _asked_password()
    api = client.Api(client.base_url())
    said = api.post("/auth/login", {"username": name, "password": password})
    place = credentials.keep(api.url, said["token"], said["expiresIn"])
    say(f"logged in to {api.url} as {name} for {said['expiresIn'] // 60} minutes; kept in {place}")


def _from_stdin() -> str:
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise Ended(USAGE, "standard input holds no password")
    return password


def _asked_password(*, confirm: bool = False) -> str:
    if not sys.stdin.isatty():
        raise Ended(USAGE, "give the password with --password-stdin")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=confirm))


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What it is for, such as github.")],
    role: Annotated[list[str], typer.Option(help=f"ROLE or ROLE:ENVIRONMENT; may be repeated. Roles: {ROLES}.")],
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it lives.")] = 90,
    as_json: Json = False,
) -> None:
    """Make an API key. It is shown this once; only its hash is kept."""
    with database():
        from aureus.accounts.keys import issue

        key, text = issue(name, by=operator(), lives=timedelta(days=days), roles=[_role(one) for one in role])
    if as_json:
        return answer({"name": key.name, "key": text, "expiresAt": key.expires_at})
    say(f"{key.name}, until {when(key.expires_at)} UTC. Keep it now, it is not shown again:")
    print(text)


@keys.command("list")
def list_keys(as_json: Json = False) -> None:
    """List API keys, with their roles and when they were last used."""
    with database():
        from aureus.accounts.models import ApiKey

        rows: list[dict[str, Any]] = [
            {"name": k.name, "roles": [f"{g.role}:{g.environment}" for g in k.grants.all()], "createdBy": k.created_by,
             "expiresAt": k.expires_at, "lastUsedAt": k.last_used_at, "revokedAt": k.revoked_at}
            for k in ApiKey.objects.prefetch_related("grants").order_by("name")
        ]  # fmt: skip
    if as_json:
        return answer(rows)
    cells = ((r["name"], " ".join(r["roles"]), r["createdBy"], when(r["expiresAt"]), when(r["lastUsedAt"]),
              when(r["revokedAt"])) for r in rows)  # fmt: skip
    table(("NAME", "ROLES", "BY", "EXPIRES", "LAST USED", "REVOKED"), cells)


@keys.command("revoke")
def revoke_key(name: Annotated[str, typer.Argument(help="The key's name.")], as_json: Json = False) -> None:
    """Take a key out of use, for good."""
    with database():
        from aureus.accounts.keys import revoke

        key = revoke(name, by=operator())
    if as_json:
        return answer({"name": key.name, "revokedAt": key.revoked_at})
    say(f"{key.name} is revoked")


@users.command("create")
def create_user(
    name: Annotated[str, typer.Argument(help="The user name.")],
    role: Annotated[list[str] | None, typer.Option(help=f"ROLE or ROLE:ENVIRONMENT; may be repeated: {ROLES}.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read it from standard input.")] = False,
    as_json: Json = False,
) -> None:
    """Make a user. Without --password-stdin a password is asked for, or made up and shown once."""
    with database():
        from aureus.cli.accounts_rows import add_user

        roles = [_role(one) for one in role or ()]
        given = _from_stdin() if password_stdin else _asked_password(confirm=True) if sys.stdin.isatty() else ""
        password = add_user(name, given, roles, by=operator())
    if as_json:
        return answer({"name": name, "password": password or None})
    say(f"{name} may log in" + ("; the password, shown this once:" if password else ""))
    if password:
        print(password)


def grant(
    who: Annotated[str, typer.Argument(help="A user's name, or key:NAME for an API key.")],
    role: Annotated[str, typer.Argument(help=f"ROLE or ROLE:ENVIRONMENT. Roles: {ROLES}.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the role away instead.")] = False,
    as_json: Json = False,
) -> None:
    """Give a user or a key a role. It counts from the next request on."""
    with database():
        from aureus.cli.accounts_rows import set_grant

        chosen, environment = _role(role)
        changed = set_grant(who, chosen, environment, held=not remove, by=operator())
    if as_json:
        return answer({"who": who, "role": chosen, "environment": environment, "held": not remove, "changed": changed})
    verb = "no longer has" if remove else "has"
    say(f"{who} {verb} {chosen} in {'every environment' if environment == '*' else environment}")


def _role(text: str) -> tuple[Any, str]:
    from aureus.journal.actor import EVERYWHERE, Role

    name, _, environment = text.partition(":")
    try:
        return Role(name.replace("-", "_")), environment or EVERYWHERE
    except ValueError:
        raise Ended(USAGE, f"there is no role {name}; there is: {ROLES}") from None
