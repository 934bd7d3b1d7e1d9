"""The rows of deployments, by noun."""

from deployments.models.configuration import Configuration
from deployments.models.deployment import CONVERGENCE, MAY_BE_CURRENT, Approval, Deployment, Stage, Step, Target
from deployments.models.fleet import (
    Balancer,
    BalancerNode,
    Endpoint,
    Environment,
    Freeze,
    Host,
    Installation,
    Pool,
)
from deployments.models.operations import Identity, Incident, Sighting

__all__ = [
    "CONVERGENCE",
    "MAY_BE_CURRENT",
    "Approval",
    "Balancer",
    "BalancerNode",
    "Configuration",
    "Deployment",
    "Endpoint",
    "Environment",
    "Freeze",
    "Host",
    "Identity",
    "Incident",
    "Installation",
    "Pool",
    "Sighting",
    "Stage",
    "Step",
    "Target",
]
