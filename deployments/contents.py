"""What really runs: a version together with a configuration, and the name that both have on a host."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.models import MAY_BE_CURRENT, Configuration, Deployment, Installation
from releases.models import Version
from releases.spec import configured, number_of


@dataclass(frozen=True, slots=True)
class Brought:
    """The two parts of a content. Without a configuration it is the version alone."""

    version: Version
    configuration: Configuration | None = None

    @property
    def content(self) -> str:
        """Its name."""
        return content_of(self.version, self.configuration)


def content_of(version: Version, configuration: Configuration | None) -> str:
    """The name of a version with a configuration: what hosts, targets and windows know it by."""
    return configured(version.number, version.digest, configuration.digest if configuration else "")


def current_of(installation: Installation) -> Deployment | None:
    """The deployment whose version an installation runs by our record; a rollback that succeeded counts."""
    living = (
        installation.deployments.filter(MAY_BE_CURRENT)
        .select_related("version", "configuration")
        .defer("configuration__variables")
    )
    return living.order_by("-deployed_at", "-created_at").first()


def newest(installation: Installation) -> Configuration | None:
    """The newest revision of its variables; None where it never had any."""
    return installation.configurations.defer("variables").first()


def brought(installation: Installation, content: str) -> Brought | None:
    """The parts of a content that runs or ran here; None where we do not know it."""
    there = Deployment.objects.filter(installation=installation, content=content)
    row = there.select_related("version__artifact", "version__application", "configuration").first()
    if row is not None:
        return Brought(row.version, row.configuration)
    # A restored database may have forgotten the deployment and know both parts of it still.
    versions = Version.objects.filter(application=installation.application_id, number=number_of(content))
    for version in versions.select_related("artifact", "application"):
        for configuration in (None, *installation.configurations.defer("variables")):
            if content_of(version, configuration) == content:
                return Brought(version, configuration)
    return None
