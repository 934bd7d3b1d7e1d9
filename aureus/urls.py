"""Every route on one page."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path

from aureus.accounts.api import Login
from aureus.api import metering, problems
from aureus.api.door import door
from aureus.api.schema import Schema
from deployments.api import (
    configurations,
    deployments,
    environments,
    freezes,
    people,
    reading,
    smoke,
    versions,
    workflows,
)
from health import endpoints
from releases import api as releases
from releases import evidence_api as evidence

DEPLOYMENT = "api/deployments/<uuid:deployment_id>"
CONFIGURATIONS = "api/environments/<str:name>/installations/<str:application>/configurations"
VERSION = "api/deployments/versions/<uuid:version_id>"

urlpatterns: list[URLPattern | URLResolver] = [
    path("health", endpoints.health, name="health"),
    path("ready", endpoints.ready, name="ready"),
    path("live", endpoints.live, name="live"),
    path("metrics", metering.metrics, name="metrics"),
    path("api/schema", door(Schema), name="schema"),
    path("api/auth/login", door(Login, repeatable=False), name="login"),
    path("api/deployments/versions", door(releases.Versions), name="versions"),
    path(VERSION, door(releases.OneVersion), name="version"),
    path(f"{VERSION}/artifact", door(releases.VersionArtifact), name="version-artifact"),
    path(f"{VERSION}/artifact/signature", door(releases.VersionSignature), name="version-artifact-signature"),
    path(f"{VERSION}/evidence", door(evidence.VersionEvidence), name="version-evidence"),
    path(f"{VERSION}/evidence/<int:evidence_id>/raw", door(evidence.EvidenceFile), name="version-evidence-raw"),
    path(f"{VERSION}/waivers", door(evidence.Waivers), name="version-waivers"),
    path(f"{VERSION}/unwaive", door(evidence.Unwaive), name="version-unwaive"),
    path(f"{VERSION}/notes", door(versions.VersionNotes), name="version-notes"),
    path(f"{VERSION}/withdraw", door(releases.WithdrawVersion), name="version-withdraw"),
    path("api/deployments", door(deployments.Deployments), name="deployments"),
    path("api/deployments/rollback", door(deployments.RollbackNamedInBody), name="deployment-rollback-by-body"),
    path(DEPLOYMENT, door(deployments.OneDeployment), name="deployment"),
    path(f"{DEPLOYMENT}/smoke-tests", door(smoke.SmokeTests), name="deployment-smoke-tests"),
    path(f"{DEPLOYMENT}/smoke-tests/<uuid:run_id>", door(smoke.OneSmokeRun), name="deployment-smoke-run"),
    path(f"{DEPLOYMENT}/promote", door(deployments.Promote), name="deployment-promote"),
    path(f"{DEPLOYMENT}/rollback", door(deployments.Rollback), name="deployment-rollback"),
    path(f"{DEPLOYMENT}/approve", door(people.Approve), name="deployment-approve"),
    path(f"{DEPLOYMENT}/reject", door(people.Reject), name="deployment-reject"),
    path(f"{DEPLOYMENT}/override", door(people.Override), name="deployment-override"),
    path(f"{DEPLOYMENT}/break-glass", door(people.BreakGlass), name="deployment-break-glass"),
    path(f"{DEPLOYMENT}/break-glass/confirm", door(people.ConfirmBreakGlass), name="deployment-confirm-break-glass"),
    path(f"{DEPLOYMENT}/pause", door(people.Pause), name="deployment-pause"),
    path(f"{DEPLOYMENT}/resume", door(people.Resume), name="deployment-resume"),
    path(f"{DEPLOYMENT}/abort", door(people.Abort), name="deployment-abort"),
    path(f"{DEPLOYMENT}/abandon", door(people.Abandon), name="deployment-abandon"),
    path(f"{DEPLOYMENT}/retry", door(people.Retry), name="deployment-retry"),
    path(f"{DEPLOYMENT}/promote-full", door(people.PromoteFull), name="deployment-promote-full"),
    path(f"{DEPLOYMENT}/exclude", door(people.Exclude), name="deployment-exclude"),
    path(f"{DEPLOYMENT}/events", door(reading.Events), name="deployment-events"),
    path(f"{DEPLOYMENT}/steps", door(reading.Steps), name="deployment-steps"),
    path(f"{DEPLOYMENT}/samples", door(reading.Samples), name="deployment-samples"),
    path(f"{DEPLOYMENT}/picture", door(reading.SeenOverTime), name="deployment-picture"),
    path(f"{DEPLOYMENT}/logs", door(reading.Logs), name="deployment-logs"),
    path(f"{DEPLOYMENT}/gate-checks", door(reading.GateChecks), name="deployment-gate-checks"),
    path(f"{DEPLOYMENT}/can-promote", door(reading.CanPromote), name="deployment-can-promote"),
    path(f"{DEPLOYMENT}/explain", door(reading.Explain), name="deployment-explain"),
    path("api/workflows/runs", door(workflows.Runs), name="workflow-runs"),
    path("api/workflows/runs/<uuid:run_id>", door(workflows.OneRun), name="workflow-run"),
    path("api/workflows/runs/<uuid:run_id>/cancel", door(workflows.CancelRun), name="workflow-run-cancel"),
    path("api/environments", door(environments.Environments), name="environments"),
    path("api/environments/<str:name>", door(environments.OneEnvironment), name="environment"),
    path("api/environments/<str:name>/hosts", door(environments.EnvironmentHosts), name="environment-hosts"),
    path("api/environments/<str:name>/lock", door(environments.Lock), name="environment-lock"),
    path("api/environments/<str:name>/unlock", door(environments.Unlock), name="environment-unlock"),
    path("api/environments/<str:name>/freezes", door(freezes.Freezes), name="freezes"),
    path("api/environments/<str:name>/freezes/<int:freeze>", door(freezes.OneFreeze), name="freeze"),
    path(CONFIGURATIONS, door(configurations.Configurations), name="configurations"),
    path(f"{CONFIGURATIONS}/<int:number>", door(configurations.OneConfiguration), name="configuration"),
    path("admin/", admin.site.urls),
]

handler400 = problems.bad_request
handler404 = problems.not_found
handler500 = problems.fault
