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
from deployments.models.passing import BreakGlass, Override

__all__ = [
    "CONVERGENCE",
    "MAY_BE_CURRENT",
    "Approval",
    "Balancer",
    "BalancerNode",
    "BreakGlass",
    "Configuration",
    "Deployment",
    "Endpoint",
    "Environment",
    "Freeze",
    "Host",
    "Identity",
    "Incident",
    "Installation",
    "Override",
    "Pool",
    "Sighting",
    "Stage",
    "Step",
    "Target",
]
