"""Artifacts: remove what nobody needs any more. Works on the database and the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aureus.cli import group
from aureus.cli.ends import FAILED, USAGE, Ended
from aureus.cli.group import database, operator
from aureus.cli.output import Json, answer, say, size, table

if TYPE_CHECKING:
    from deployments.keeping import Looked, Pruned

app = group.make(no_args_is_help=True, help="Remove the bytes of versions that nobody needs any more.")


@app.callback()
def _group() -> None:
    """Keeps `prune` a command of its own, though it is the only one."""


@app.command()
def prune(
    days: Annotated[int | None, typer.Option(min=1, help="Keep what was sent or used within so many days.")] = None,
    newest: Annotated[int | None, typer.Option(min=0, help="Keep so many newest versions of each.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed, and why not.")] = False,
    as_json: Json = False,
) -> None:
    """Remove artifacts that are old and that no rollback, retry or convergence would need.

    Without options by ARTIFACT_RETENTION_DAYS and ARTIFACT_RETENTION_COUNT. A version whose artifact was removed stays
    registered; sent again (aureus version upload) it can be deployed again.
    """
    with database():
        from django.conf import settings

        from deployments import keeping
        from deployments.outside import artifact_store
        from releases.keeping import Rule

        configured = settings.AUREUS
        days = configured.ARTIFACT_RETENTION_DAYS if days is None else days
        if not days:
            raise Ended(USAGE, "say --days, since ARTIFACT_RETENTION_DAYS is 0: nothing is removed by itself")
        rule = Rule(days, configured.ARTIFACT_RETENTION_COUNT if newest is None else newest)
        found = keeping.look(rule) if dry_run else keeping.prune(rule, artifact_store(), actor=operator())
    if as_json:
        answer(_told(found, dry_run))
    else:
        _show(found, dry_run)
    if found.left:
        raise Ended(FAILED, found.left)


def _show(found: Pruned, dry_run: bool) -> None:
    word = "would be removed" if dry_run else "removed"
    rows = [(*_names(one), word) for one in found.removed] + [(*_names(one), f"kept: {one.kept}") for one in found.kept]
    if rows:
        table(("ARTIFACT", "SIZE", "VERSIONS", "SAID"), rows)
    total = sum(one.artifact.size for one in found.removed)
    say(f"{len(found.removed)} {word} ({size(total)}), {len(found.kept)} old ones are kept")


def _names(one: Looked) -> tuple[str, str, str]:
    return one.artifact.sha256[:12], size(one.artifact.size), ", ".join(one.versions) or "none"


def _told(found: Pruned, dry_run: bool) -> dict[str, Any]:
    def rows(those: list[Looked]) -> list[dict[str, Any]]:
        return [{"sha256": one.artifact.sha256, "size": one.artifact.size, "versions": list(one.versions),
                 **({"why": one.kept} if one.kept else {})} for one in those]  # fmt: skip

    return {"dryRun": dry_run, "removed": rows(found.removed), "kept": rows(found.kept), "deleted": found.deleted,
            "left": found.left}  # fmt: skip
