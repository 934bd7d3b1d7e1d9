"""The one permission table: which roles may do what, and in which environment they must hold them. Deny by default.

The matrix in docs/reference/permissions.md and the tests are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from aureus.journal.actor import Role


class Where(Enum):
    """The environment in which a role must be held."""

    ANYWHERE = "any environment"
    OF_DEPLOYMENT = "the deployment's environment"
    OF_BODY_DEPLOYMENT = "the environment of the deployment named in the body"
    NAMED = "the environment named in the address"
    BODY = "the environment named in the body"
    BODY_IF_NAMED = "the environment named in the body, where one is"
    OF_RUN = "the run's environment, where it has one"
    TARGET = "the target environment"
    WHERE_USED = "every environment where the version was deployed"


@dataclass(frozen=True, slots=True)
class Cell:
    """One method of one route. No roles: it is public."""

    route: str
    method: str
    roles: frozenset[Role]
    where: Where = Where.ANYWHERE
    note: str = ""

    @property
    def public(self) -> bool:
        return not self.roles


ANYONE = frozenset(Role)
SHIPS = frozenset({Role.CI, Role.RELEASE_MANAGER})
RUNS = frozenset({Role.RELEASE_MANAGER})
JUDGES = frozenset({Role.APPROVER})
STOPS = RUNS | JUDGES
ATTESTS = SHIPS | JUDGES
CONFIGURES = RUNS | {Role.ADMIN}
NOBODY: frozenset[Role] = frozenset()

TABLE: tuple[Cell, ...] = (
    Cell("login", "POST", NOBODY, note="five wrong tries per 15 minutes for a name and for an address"),
    Cell("schema", "GET", NOBODY),
    Cell("versions", "GET", ANYONE),
    Cell("versions", "POST", SHIPS),
    Cell("version", "GET", ANYONE),
    Cell("version-artifact", "PUT", SHIPS),
    Cell("version-artifact-signature", "PUT", ATTESTS, note="who sends it decides nothing: who signed it does"),
    Cell("version-evidence", "GET", ANYONE),
    Cell("version-evidence", "POST", ATTESTS, note="reports: ci and release_manager; attestations: people, not ci"),
    Cell("version-evidence-raw", "GET", ANYONE),
    Cell("version-waivers", "GET", ANYONE),
    Cell("version-waivers", "POST", JUDGES, Where.BODY, "people only, and never who registered the version"),
    Cell("version-unwaive", "POST", JUDGES, Where.BODY, "people only"),
    Cell("version-notes", "GET", ANYONE, note="since what an environment runs: with a role there"),
    Cell("version-withdraw", "POST", RUNS, Where.WHERE_USED),
    Cell("deployments", "GET", ANYONE, note="shows the environments in which one holds a role"),
    Cell("deployments", "POST", SHIPS, Where.BODY),
    Cell("deployment-rollback-by-body", "POST", SHIPS, Where.OF_BODY_DEPLOYMENT),
    Cell("deployment", "GET", ANYONE, Where.OF_DEPLOYMENT),
    Cell("deployment-smoke-tests", "POST", SHIPS, Where.OF_DEPLOYMENT),
    Cell("deployment-smoke-tests", "GET", ANYONE, Where.OF_DEPLOYMENT),
    Cell("deployment-smoke-run", "GET", ANYONE, Where.OF_DEPLOYMENT),
    Cell("deployment-promote", "POST", SHIPS, Where.TARGET, "and any role in the deployment's own environment"),
    Cell("deployment-rollback", "POST", SHIPS, Where.OF_DEPLOYMENT),
    Cell("deployment-approve", "POST", JUDGES, Where.OF_DEPLOYMENT, "people only, and never who asked for it"),
    Cell("deployment-reject", "POST", JUDGES, Where.OF_DEPLOYMENT, "people only, and never who asked for it"),
    Cell("deployment-override", "POST", RUNS, Where.OF_DEPLOYMENT, "people only"),
    Cell("deployment-break-glass", "POST", STOPS, Where.OF_DEPLOYMENT, "people only"),
    Cell("deployment-confirm-break-glass", "POST", STOPS, Where.OF_DEPLOYMENT, "people only, never who asked for it"),
    Cell("deployment-pause", "POST", RUNS, Where.OF_DEPLOYMENT),
    Cell("deployment-resume", "POST", RUNS, Where.OF_DEPLOYMENT),
    Cell("deployment-abort", "POST", STOPS, Where.OF_DEPLOYMENT),
    Cell("deployment-abandon", "POST", RUNS, Where.OF_DEPLOYMENT),
    Cell("deployment-retry", "POST", RUNS, Where.OF_DEPLOYMENT),
    Cell("deployment-promote-full", "POST", RUNS, Where.OF_DEPLOYMENT),
    Cell("deployment-exclude", "POST", RUNS, Where.OF_DEPLOYMENT),
    Cell("deployment-events", "GET", ANYONE, Where.OF_DEPLOYMENT),
    Cell("deployment-steps", "GET", ANYONE, Where.OF_DEPLOYMENT),
    Cell("deployment-samples", "GET", ANYONE, Where.OF_DEPLOYMENT),
    Cell("deployment-picture", "GET", ANYONE, Where.OF_DEPLOYMENT),
    Cell("deployment-logs", "GET", ANYONE, Where.OF_DEPLOYMENT),
    Cell("deployment-gate-checks", "GET", ANYONE, Where.OF_DEPLOYMENT),
    Cell("deployment-can-promote", "GET", ANYONE, Where.OF_DEPLOYMENT),
    Cell("deployment-explain", "GET", ANYONE, Where.OF_DEPLOYMENT),
    Cell(
        "workflow-runs",
        "GET",
        ANYONE,
        note="shows those of no environment, and of environments in which one holds a role",
    ),
    Cell("workflow-runs", "POST", SHIPS, Where.BODY_IF_NAMED),
    Cell("workflow-run", "GET", ANYONE, Where.OF_RUN),
    Cell("workflow-run-cancel", "POST", SHIPS, Where.OF_RUN),
    Cell("environments", "GET", ANYONE, note="shows the environments in which one holds a role"),
    Cell("environment", "GET", ANYONE, Where.NAMED),
    Cell("environment-hosts", "GET", ANYONE, Where.NAMED),
    Cell("environment-lock", "POST", CONFIGURES, Where.NAMED),
    Cell("environment-unlock", "POST", CONFIGURES, Where.NAMED),
    Cell("freezes", "GET", ANYONE, Where.NAMED, "those of every environment too"),
    Cell("freezes", "POST", CONFIGURES, Where.NAMED),
    Cell("freeze", "DELETE", CONFIGURES, Where.NAMED),
    Cell("configurations", "GET", ANYONE, Where.NAMED, "names and digests"),
    Cell("configurations", "POST", CONFIGURES, Where.NAMED),
    Cell("configuration", "GET", CONFIGURES, Where.NAMED, "plain values; of a secret its reference"),
    Cell("health", "GET", NOBODY, note="not below /api"),
    Cell("ready", "GET", NOBODY, note="not below /api"),
    Cell("live", "GET", NOBODY, note="not below /api"),
    Cell("metrics", "GET", NOBODY, note="not below /api; off with ENABLE_METRICS=false"),
)
BY_ROUTE: dict[tuple[str, str], Cell] = {(cell.route, cell.method): cell for cell in TABLE}


def cell_of(route: str, method: str) -> Cell | None:
    """The cell of a request; None where nothing is allowed."""
    return BY_ROUTE.get((route, "GET" if method == "HEAD" else method))
