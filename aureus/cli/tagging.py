"""`aureus version tag`: the git tag of a version, as the guide shows it, on the commit that it was made of."""

from __future__ import annotations

import re
import subprocess
from typing import Annotated, Any

import typer

from aureus.cli import client
from aureus.cli.ends import FAILED, USAGE, Ended
from aureus.cli.output import Json, answer, say
from aureus.cli.references import version_id as id_of

COMMIT = re.compile(r"[0-9a-f]{7,64}", re.IGNORECASE)
SECONDS = 120.0
"""For one call of git; a push goes to another machine."""


def tag(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Its id, or WORKFLOW@1.2.3.")],
    commit: Annotated[
        str, typer.Option(help="The commit, where the version names none. Default: the one that is checked out.")
    ] = "",
    push: Annotated[bool, typer.Option("--push", help="Push the tag, too.")] = False,
    remote: Annotated[str, typer.Option(help="Where to.")] = "origin",
    as_json: Json = False,
) -> None:
    """Tag a registered version in the git repository of this folder, and push it with --push.

    The commit is the gitCommit of the version's metadata; without one it is the commit that is checked out.
    """
    api = client.from_environment()
    known = api.get(f"/deployments/versions/{id_of(api, version)}")
    if known["status"] == "withdrawn":
        raise Ended(FAILED, f"{known['workflowId']}@{known['version']} was withdrawn: {known['withdrawnReason']}")
    name = f"v{known['version']}"
    on = _commit(known, commit)
    is_new = _tagged(name, on, known["version"])
    if push:
        _push(name, remote)
    if as_json:
        return answer({"tag": name, "commit": on, "created": is_new, "pushed": push})
    say(f"{name} {'tags' if is_new else 'tagged already'} {on[:12]}{f', pushed to {remote}' if push else ''}")


def _commit(known: dict[str, Any], asked: str) -> str:
    """The whole id of the commit. Raises Ended where it is not in this repository, or is not the version's."""
    if _git("rev-parse", "--git-dir").returncode:
        raise Ended(USAGE, "this folder is no git repository: run it where the version's source is")
    named = known["metadata"].get("gitCommit")
    if named is None:
        return _found(asked or "HEAD")
    if not isinstance(named, str) or not COMMIT.fullmatch(named):
        raise Ended(FAILED, f"the version's gitCommit {named!r} is no id of a commit")
    on = _found(named)
    if asked and _found(asked) != on:
        raise Ended(FAILED, f"the version was made of {on[:12]} by its metadata, not of {asked}")
    return on


def _found(name: str) -> str:
    found = _git("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
    if found.returncode:
        raise Ended(FAILED, f"this repository has no commit {name}: fetch it first, or run it where that commit is")
    return found.stdout.strip()


def _tagged(name: str, on: str, number: str) -> bool:
    """Whether the tag was made; False: it is there on that commit. Raises Ended where it is on another one."""
    there = _git("rev-parse", "--quiet", "--verify", f"refs/tags/{name}^{{commit}}")
    if not there.returncode:
        if there.stdout.strip() == on:
            return False
        raise Ended(FAILED, f"{name} tags {there.stdout.strip()[:12]} already, and the version is {on[:12]}")
    _demand(_git("tag", "-a", name, "-m", f"Release version {number}", on), f"git does not tag {name}")
    return True


def _push(name: str, remote: str) -> None:
    done = _git("push", "--quiet", "--end-of-options", remote, f"refs/tags/{name}:refs/tags/{name}")
    _demand(done, f"{name} is tagged here, and git does not push it to {remote}")


def _demand(done: subprocess.CompletedProcess[str], otherwise: str) -> None:
    if done.returncode:
        raise Ended(FAILED, otherwise, done.stderr.strip().splitlines())


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", *words], capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except FileNotFoundError:
        raise Ended(USAGE, "there is no git on this machine: install it") from None
    except subprocess.TimeoutExpired:
        raise Ended(FAILED, f"git {words[0]} has not ended within {SECONDS:g} s") from None
