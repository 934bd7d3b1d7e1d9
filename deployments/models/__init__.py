"""The rows of deployments, by noun."""

from deployments.models.deployment import Approval, Deployment, Stage, Step, Target
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
from deployments.models.operations import Incident

__all__ = [
    "Approval",
    "Balancer",
    "BalancerNode",
    "Deployment",
    "Endpoint",
    "Environment",
    "Freeze",
    "Host",
    "Incident",
    "Installation",
    "Pool",
    "Stage",
    "Step",
    "Target",
]
