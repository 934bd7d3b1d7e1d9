"""Adapters to the outside. Here are the names shared by all; the SSH driver itself is in `deployments.drivers.ssh`."""

from deployments.drivers.errors import (
    ActFailed,
    ActRefused,
    ActTimedOut,
    AuthRefused,
    HostError,
    KeyRefused,
    Unreachable,
)
from deployments.drivers.hosts import Answer, Base, HostAddress, HostFacts, Hosts, ReleaseFiles, Site
from deployments.drivers.quoting import quote

__all__ = [
    "ActFailed",
    "ActRefused",
    "ActTimedOut",
    "Answer",
    "AuthRefused",
    "Base",
    "HostAddress",
    "HostError",
    "HostFacts",
    "Hosts",
    "KeyRefused",
    "ReleaseFiles",
    "Site",
    "Unreachable",
    "quote",
]
