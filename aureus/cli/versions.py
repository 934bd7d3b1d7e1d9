"""Versions: register with their bytes, list, withdraw, and what came with them."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from aureus.cli import client, group, signing, tagging
from aureus.cli.ends import USAGE, Ended
from aureus.cli.output import Json, answer, progress, say, size, table, when
from aureus.cli.references import version_id as id_of

app = group.make(no_args_is_help=True, help="Register versions, list, tag and withdraw them.")


@app.command()
def register(
    spec: Annotated[Path, typer.Argument(help="The workflow spec, a JSON file.")],
    version: Annotated[str, typer.Option(help="Its SemVer number, such as 1.2.3.")],
    artifact: Annotated[Path | None, typer.Option(help="The archive that hosts unpack: .tar.gz, .tar.")] = None,
    created_by: Annotated[str, typer.Option(help="A label that is kept and echoed.")] = "",
    metadata: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, kept with it; may be repeated.")] = None,
    schema_change: Annotated[
        str, typer.Option(help="What it does to its data: none, expand, contract or irreversible.")
    ] = "none",
    key: Annotated[Path | None, typer.Option("--sign", help="Sign the archive with this SSH key.")] = None,
    signature: Annotated[Path | None, typer.Option(help="The signature of the archive that was made before.")] = None,
    as_json: Json = False,
) -> None:
    """Register a version, and send its archive. The same content again is the same version."""
    if (key or signature) and artifact is None:
        raise Ended(USAGE, "only an archive can be signed: name it with --artifact, or run aureus version sign")
    body = {
        "workflowSpec": _json_file(spec),
        "version": version,
        "createdBy": created_by,
        "schemaChange": schema_change,
    }
    api = client.from_environment()
    if artifact is not None and not artifact.is_file():
        raise Ended(USAGE, f"there is no file {artifact}")
    sha256 = signing.sha256_of(artifact) if artifact is not None else ""
    armoured = signing.made(sha256, key, signature)
    made = api.post("/deployments/versions", {**body, "metadata": labels(metadata)})
    if artifact is not None:
        made = send(api, made["id"], artifact, sha256, armoured)
    if as_json:
        return answer(made)
    held = f", artifact sha256 {made['artifact']['sha256'][:12]}…" if made.get("artifact") else ""
    say(f"{made['workflowId']}@{made['version']} is registered as {made['id']}{held}")


@app.command()
def upload(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Its id, or WORKFLOW@1.2.3.")],
    artifact: Annotated[Path, typer.Argument(help="The archive that hosts unpack: .tar.gz, .tar.")],
    as_json: Json = False,
) -> None:
    """Send the archive of a version that was registered without one, or whose archive was removed since."""
    if not artifact.is_file():
        raise Ended(USAGE, f"there is no file {artifact}")
    api = client.from_environment()
    told = send(api, id_of(api, version), artifact, signing.sha256_of(artifact))
    if as_json:
        return answer(told)
    say(f"{told['workflowId']}@{told['version']} has its artifact, sha256 {told['artifact']['sha256'][:12]}…")


@app.command()
def withdraw(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Its id, or WORKFLOW@1.2.3.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept, and said to whoever asks for the version.")],
    as_json: Json = False,
) -> None:
    """Take a version out of use, for good: it is not deployed again, and nothing goes back to it."""
    api = client.from_environment()
    told = api.post(f"/deployments/versions/{id_of(api, version)}/withdraw", {"reason": reason})
    if as_json:
        return answer(told)
    say(f"{told['workflowId']}@{told['version']} was withdrawn: {told['withdrawnReason']}")


@app.command()
def sign(
    version_id: Annotated[str, typer.Argument(metavar="ID", help="The version's id.")],
    key: Annotated[Path | None, typer.Option("--key", help="The SSH key to sign with.")] = None,
    signature: Annotated[Path | None, typer.Option(help="The signature that was made before.")] = None,
    artifact: Annotated[Path | None, typer.Option(help="The archive, to compare with the one that was sent.")] = None,
    as_json: Json = False,
) -> None:
    """Sign the archive of a version, for environments that demand it."""
    if not key and not signature:
        raise Ended(USAGE, "say --key KEY, or --signature FILE")
    api = client.from_environment()
    held = api.get(f"/deployments/versions/{version_id}").get("artifact")
    if held is None:
        raise Ended(USAGE, f"version {version_id} has no archive that could be signed: send it first")
    if artifact is not None and (found := signing.sha256_of(artifact)) != held["sha256"]:
        raise Ended(USAGE, f"{artifact} is not what was sent: it has sha256 {found}, the version's is {held['sha256']}")
    armoured = signing.made(held["sha256"], key, signature)
    headers = {"Content-Type": "application/octet-stream"}
    told = api.put(f"/deployments/versions/{version_id}/artifact/signature", armoured or b"", headers)
    if as_json:
        return answer(told)
    say(f"{told['workflowId']}@{told['version']} has {len(told['signatures'])} signature(s) of {held['sha256'][:12]}…")


@app.command("list")
def list_versions(
    application: Annotated[str, typer.Option("--application", "-a", help="Only those of this workflow id.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """List versions, newest first."""
    query = {"workflowId": application or None}
    rows = list(client.from_environment().pages("/deployments/versions", most=limit, **query))
    if as_json:
        return answer(rows)
    cells = (
        (
            r["workflowId"], r["version"], r["status"], when(r["createdAt"]), r["createdBy"], _size(r),
            r["schemaChange"], r["id"],
        )
        for r in rows
    )  # fmt: skip
    table(("APPLICATION", "VERSION", "STATUS", "REGISTERED", "BY", "ARTIFACT", "SCHEMA", "ID"), cells)


@app.command()
def notes(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Its id, or WORKFLOW@1.2.3.")],
    since: Annotated[str | None, typer.Option(help="A lower version, by number or id.")] = None,
    environment: Annotated[str | None, typer.Option("--environment", "-e", help="Since what it runs.")] = None,
    as_json: Json = False,
) -> None:
    """Write release notes: what came with each version since the release before it, in Markdown."""
    api = client.from_environment()
    told = api.get(f"/deployments/versions/{id_of(api, version)}/notes", since=since, environment=environment)
    if as_json:
        return answer(told)
    for line in told["markdown"].rstrip().splitlines():
        say(line)


app.command()(tagging.tag)


def labels(pairs: list[str] | None) -> dict[str, str]:
    """KEY=VALUE words."""
    for pair in pairs or ():
        if "=" not in pair:
            raise Ended(USAGE, f"{pair} must be KEY=VALUE")
    return dict(pair.split("=", 1) for pair in pairs or ())


def _json_file(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise Ended(USAGE, f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise Ended(USAGE, f"{path} is no JSON: {error}") from None


def _size(row: dict[str, Any]) -> str:
    artifact = row.get("artifact")
    if not artifact:
        return "none"
    return "removed" if row["artifactRemovedAt"] else size(artifact["size"])


class _Counted:
    """A file that tells how much of it was read, with its length for the Content-Length."""

    def __init__(self, stream: BinaryIO, size: int, tell: Callable[[int], object]) -> None:
        self._stream, self._size, self._tell = stream, size, tell

    def __len__(self) -> int:
        return self._size

    def read(self, count: int = -1) -> bytes:
        piece = self._stream.read(count)
        self._tell(len(piece))
        return piece


def send(api: client.Api, version_id: str, path: Path, sha256: str, armoured: bytes | None = None) -> Any:
    """Stream an archive to its version, named by its sha256, unless a version of the application has those bytes."""
    address = f"/deployments/versions/{version_id}/artifact"
    headers = {"X-Artifact-Sha256": sha256, "Content-Type": "application/octet-stream"}
    if armoured is not None:
        headers["X-Artifact-Signature"] = base64.b64encode(armoured).decode()
    size = os.path.getsize(path)
    try:
        if size:
            return api.put(address, b"", headers)
    except client.NotThere:
        pass
    with path.open("rb") as stream, progress(f"sending {path.name}", size) as tell:
        counted: Any = _Counted(stream, size, tell)
        return api.put(address, counted, headers)
