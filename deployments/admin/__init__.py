"""The console of release managers: what is deployed where, why, and the verbs as buttons with a reason."""

from deployments.admin import deployments, fleet, watched, workflow_runs

__all__ = ["deployments", "fleet", "watched", "workflow_runs"]
