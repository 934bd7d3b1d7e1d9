"""Everything outside that effects touch, in one value: tests hand in another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings

from deployments.contents import Brought
from deployments.delivery import Differences
from deployments.drivers import HostAddress, HostError, Hosts, ReleaseFiles, Site, balancers
from deployments.drivers.sites import ConfigInvalid
from deployments.drivers.ssh import SSHHosts
from deployments.drivers.traffic import ShellOnHost, Traffic, TrafficError
from deployments.engine.variables import rendered
from deployments.models import BalancerNode, Endpoint, Host, Installation
from deployments.secrets import resolved
from health.models import Window
from health.sources.probe import HealthAnswer, check_health
from health.sources.shell import CannotRun, Run
from releases.spec import canonical
from releases.store import ArtifactStore
from releases.store.chosen import store_from

Ask = Callable[..., HealthAnswer]


@dataclass(frozen=True)
class Outside:
    """Hosts, balancers, the artifact store, and how a health address is asked.

    looks_for: seconds that one effect waits for a host to become healthy; then its step waits as a row. Without
    differences the whole of a content is sent always.
    """

    hosts: Hosts
    traffic: Callable[[BalancerNode, Installation], Traffic]
    store: ArtifactStore
    ask: Ask = check_health
    looks_for: float = 8.0
    differences: Differences | None = None


@cache
def real() -> Outside:
    """The real one, with one pool of SSH connections in this process."""
    hosts, store = SSHHosts(), artifact_store()
    kept = Differences(settings.AUREUS.home / "differences", store)
    return Outside(hosts, lambda node, installation: traffic_on(hosts, node, installation), store, differences=kept)


def artifact_store() -> ArtifactStore:
    """Where versions' bytes are kept."""
    return store_from(settings.AUREUS)


def address_of(host: Host) -> HostAddress:
    """A host row as the driver takes it."""
    return HostAddress(
        host.name,
        host.address,
        host.port,
        host.user,
        host.fingerprint,
        host.credential,
        address_of(host.bastion) if host.bastion else None,
    )


def reach_of(windows: Iterable[Window], hosts: Hosts | None) -> Callable[[int], Run]:
    """How health runs commands on the hosts that these windows read logs and journals on. It never sees SSH."""
    spots = [spot for window in windows for spot in {**window.baseline, **window.endpoints}.values()]
    return reach_places(spots, hosts)


def reach_places(spots: Iterable[Mapping[str, Any]], hosts: Hosts | None) -> Callable[[int], Run]:
    """The same for the places of single endpoints. Addresses are read now: threads that ask use no database."""
    places = {place for spot in spots for place in (spot.get("log") or {}).get("places", ())}
    places |= {spot["journal"]["place"] for spot in spots if spot.get("journal")}
    rows = Host.objects.filter(pk__in=places, state=Host.State.ACTIVE).select_related("bastion") if places else []
    addresses = {host.pk: address_of(host) for host in rows}

    def reach(place: int) -> Run:
        def run(words: Sequence[str], stdin: bytes, timeout: float) -> tuple[int, bytes, bytes]:
            if hosts is None or place not in addresses:
                raise CannotRun("The host cannot be reached from here, or was retired.")
            try:
                return hosts.run(addresses[place], words, stdin, timeout)
            except HostError as error:
                raise CannotRun(error.sentence) from None

        return run

    return reach


def site_of(endpoint: Endpoint) -> Site:
    """An application's place on a host as the driver takes it."""
    installation = endpoint.installation
    # Hosts that share one machine need a folder each.
    root = installation.root.replace("{host}", endpoint.host.name)
    commands = (installation.unit, installation.restart, installation.options.get("halt", ""))
    unit, restart, halt = (text.replace("{slot}", endpoint.slot) for text in commands)
    return Site(root, endpoint.slot, unit=unit, restart=restart, halt=halt, port=endpoint.port)


def files_of(parts: Brought, store: ArtifactStore) -> ReleaseFiles:
    """What a host needs to hold a content: its bytes are opened in the store when they are sent.

    The file of its variables is not among them: see `variables_of`.
    """
    artifact, workflow, configured = parts.version.artifact, canonical(parts.version.spec), bool(parts.configuration)
    if artifact is None:
        return ReleaseFiles(parts.content, None, "", 0, 0, 0, workflow, configured)
    key, size = artifact.store_key, artifact.size
    return ReleaseFiles(
        parts.content,
        lambda: store.open(key),
        artifact.sha256,
        size,
        artifact.unpacked_size,
        artifact.files,
        workflow,
        configured,
    )


def variables_of(parts: Brought) -> bytes:
    """The file of a content's variables, with every secret in it. Raises SecretRefused."""
    if parts.configuration is None:
        return b""
    return rendered(parts.content, resolved(parts.configuration.variables))


def is_lossless(installation: Installation) -> bool:
    """Whether moving its traffic loses no request: without a balancer, each restart is felt by that host's users."""
    nodes = list(installation.balancer.nodes.all()) if installation.balancer else []
    return bool(nodes) and all(balancers.is_lossless(node.kind, node.options) for node in nodes)


def traffic_on(hosts: Hosts, node: BalancerNode, installation: Installation) -> Traffic:
    """The driver of one installation's traffic on one machine of its balancer. Raises TrafficError."""
    name = f"{installation.application.key}-{installation.environment.name}"
    try:
        site = balancers.site(
            node.kind, name, installation.listen, node.root, node.options, installation.health_path,
            sticky=installation.options.get("sticky", ""),
        )  # fmt: skip
    except ConfigInvalid as error:
        raise TrafficError(str(error), code="declaration") from None
    return balancers.driver(ShellOnHost(hosts, address_of(node.host), node.root), site)
