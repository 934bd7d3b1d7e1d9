"""The demo's side of the API: what a CI pipeline would send, over HTTP."""

import hashlib
import json
from typing import Any

from aureus.fetch import FetchError, fetch

Said = dict[str, Any]


class Refused(Exception):
    """The API said no, or nothing; the sentence is its own."""


class Client:
    """Signed in with a user's password; every call answers the JSON it got. Raises Refused."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token = ""

    def login(self, user: str, password: str) -> None:
        self.token = self.post("/auth/login", {"username": user, "password": password})["token"]

    def register(self, spec: Said, version: str) -> Said:
        return self.post("/deployments/versions", {"workflowSpec": spec, "version": version, "createdBy": "demo"})

    def attach(self, version_id: str, archive: bytes) -> Said:
        """Send a version's archive, with the sha256 that it must arrive with."""
        digest = hashlib.sha256(archive).hexdigest()
        headers = {"Content-Type": "application/gzip", "X-Artifact-Sha256": digest}
        return self.ask("PUT", f"/deployments/versions/{version_id}/artifact", archive, headers)

    def deploy(self, version_id: str, environment: str) -> Said:
        return self.post(
            "/deployments", {"versionId": version_id, "environment": environment, "deployedBy": "demo"}
        )  # fmt: skip

    def smoke(self, deployment_id: str, tests: list[Said]) -> Said:
        return self.post(f"/deployments/{deployment_id}/smoke-tests", {"tests": tests})

    def promote(self, deployment_id: str) -> Said:
        return self.post(f"/deployments/{deployment_id}/promote", {"promotedBy": "demo"})

    def roll_back(self, deployment_id: str, reason: str) -> Said:
        return self.post("/deployments/rollback", {"deploymentId": deployment_id, "reason": reason})

    def deployment(self, deployment_id: str) -> Said:
        return self.get(f"/deployments/{deployment_id}")

    def events(self, deployment_id: str, after: int) -> list[Said]:
        """What happened since the event numbered `after`, oldest first."""
        said = self.get(f"/deployments/{deployment_id}/events?after={after}")
        return sorted(said, key=lambda event: int(event["seq"]))

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def post(self, path: str, said: Said) -> Any:
        return self.ask("POST", path, json.dumps(said).encode(), {"Content-Type": "application/json"})

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
        known = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            answer = fetch(
                method, f"{self.url}/api{path}", headers=known | (headers or {}), body=body, timeout=60,
                max_bytes=10_485_760, allow_private=True,
            )  # fmt: skip
        except FetchError as error:
            raise Refused(f"{method} {path}: {error.sentence}") from None
        if not answer.ok:
            raise Refused(f"{method} {path} was answered {answer.status}: {answer.text()[:800]}")
        return json.loads(answer.body) if answer.body else {}
